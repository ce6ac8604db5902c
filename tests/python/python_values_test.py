"""The Python package against the formulas behind the golden trace (tests/support/planted_trace.hpp), and against
`moescope export -f npy` on traces of four architectures."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np

import moescope

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from package_reader import GOLDEN, SOURCE, assert_same, exported, gathered, run, walked  # noqa: E402

E, K, EMBD = 16, 4, 6
UBATCHES = [[0, 1, 2], [3, 4], [5], [6], [7]]  # positions; the first two are the prompt
POSITIONS = sum(UBATCHES, [])
ARCHITECTURES = ("grovemoe-pairs", "hash-deepseek4", "nemotron-h-moe-per-layer", "qwen3next-512x10")


def rows_of(layer):
    """Positions of the layer's rows: the last one computes a prompt's last row of each ubatch alone."""
    return POSITIONS if layer != 3 else [p[-1] for p in UBATCHES]


class GoldenTrace(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.trace = moescope.open(GOLDEN)

    def test_what_it_says_of_itself(self):
        info, model = self.trace.info, self.trace.model
        self.assertEqual(
            (info.program, info.pid, info.started_unix_ns, info.trace_id), ("make-golden", 4242, 17 * 10**17, 7)
        )
        self.assertEqual((info.ended, info.end_reason, info.run_ns, info.capture_ns), (True, "finished", 8000000, 1000))
        self.assertEqual((info.lost_bytes, info.n_parts, info.bytes), (0, 1, os.path.getsize(GOLDEN)))
        self.assertEqual(
            (model.architecture, model.n_expert, model.n_expert_used, model.n_embd), ("planted", E, K, EMBD)
        )
        self.assertEqual(model.metadata, {"planted.expert_count": "16"})
        self.assertEqual(self.trace.notes, ["made by formula"])
        self.assertIsNone(self.trace.counts)

    def test_tokens(self):
        tokens = self.trace.tokens
        self.assertEqual(len(tokens), 8)
        np.testing.assert_array_equal(tokens.position, POSITIONS)
        np.testing.assert_array_equal(tokens.token, [100 + 10 * p for p in POSITIONS])
        np.testing.assert_array_equal(tokens.sequence, 0)
        np.testing.assert_array_equal(tokens.phase, [0] * 5 + [1] * 3)
        np.testing.assert_array_equal(tokens.ubatch, np.repeat(range(5), [3, 2, 1, 1, 1]))
        np.testing.assert_array_equal(tokens.batch, np.repeat([0, 0, 1, 2, 3], [3, 2, 1, 1, 1]))
        self.assertEqual(self.trace.text, {t: f" t{t}" for t in range(100, 180, 10)})

    def test_ids_and_k_wide_columns(self):
        for layer, block in self.trace.layers.items():
            want = np.array([[(7 * p + 3 * layer + r) % E for r in range(K)] for p in rows_of(layer)])
            np.testing.assert_array_equal(block.ids, want)
            self.assertEqual(block.ids.dtype, np.uint8)
            halves = np.float32(2.0) ** -np.arange(1, K + 1, dtype=np.float32)
            np.testing.assert_array_equal(block.weights_raw, np.tile(halves, (len(want), 1)))
            np.testing.assert_array_equal(
                block.weights, np.tile((halves / (1 - 2.0**-K)).astype("f4"), (len(want), 1))
            )
            np.testing.assert_array_equal(block.norms, 1 + layer + 0.125 * want)
        np.testing.assert_array_equal(self.trace.block(1, 1).ids, self.trace.layers[1].ids // 2)

    def test_wide_columns(self):
        for layer, block in self.trace.layers.items():
            pos = np.array(rows_of(layer))[:, None]
            rank = (np.arange(E) - 7 * pos - 3 * layer) % E
            np.testing.assert_array_equal(block.logits, 2 - 0.25 * rank)
            np.testing.assert_array_equal(block.probs, 2.0 ** (-1 - rank))
            np.testing.assert_array_equal(block.selection, block.probs)
            np.testing.assert_array_equal(block.gate_input, (pos + 1) * (np.arange(EMBD) - EMBD / 2) / 16 + layer)
            np.testing.assert_array_equal(self.trace.tokens.position[block.token_index], pos[:, 0])

    def test_accesses(self):
        (accesses,) = self.trace.access_lists
        self.assertEqual([a.op for a in accesses], ["MUL_MAT", "MUL_MAT_ID", "MUL_MAT"])
        self.assertEqual((accesses[1].layer, accesses[1].block), (1, 0))
        self.assertEqual(accesses[1].sources, ("blk.1.ffn_gate_exps.weight",))
        self.assertTrue(all(u.access == accesses for u in self.trace.ubatches()))

    def test_a_column_that_is_missing_says_how_to_record_it(self):
        second = self.trace.block(1, 1)
        self.assertEqual(second.columns, ("ids", "weights"))
        self.assertFalse(hasattr(second, "gate_input"))
        with self.assertRaisesRegex(AttributeError, "--capture gate-input.*ids, weights"):
            second.gate_input
        with self.assertRaises(KeyError):
            self.trace.layers[4]

    def test_arrays_cannot_be_changed(self):
        with self.assertRaises(ValueError):
            self.trace.layers[1].ids[0, 0] = 1
        with self.assertRaises(ValueError):
            self.trace.tokens.token[0] = 1
        with self.assertRaises(ValueError):
            next(self.trace.ubatches()).blocks[0].weights[0, 0] = 1

    def test_equals_the_export(self):
        want = exported(GOLDEN)
        assert_same(self, gathered(self.trace), want)
        assert_same(self, walked(self.trace), want)


class FourArchitectures(unittest.TestCase):
    def trace(self, folder, variant, *options):
        model, trace = os.path.join(folder, variant + ".gguf"), os.path.join(folder, variant + ".moetrace")
        if not os.path.exists(model):
            subprocess.run(
                [os.environ["MAKE_MODEL_BIN"], "variant", variant, "-o", model], check=True, capture_output=True
            )
        run("run", "-m", model, "-p", "Hello, world. This is", "-n", "9", "--temp", "0", "-t", "1", "-ub", "7", "-q",
            "-o", trace, "--force", *options)  # fmt: skip
        return trace

    def test_every_column_equals_the_export(self):
        for variant in ARCHITECTURES:
            with self.subTest(variant), tempfile.TemporaryDirectory() as folder:
                path = self.trace(folder, variant, "--capture", "all", "--last-layer", "requested")
                trace, want = moescope.open(path), exported(path)
                self.assertGreater(len(want), 6 + 2 * 8)
                assert_same(self, gathered(trace), want)
                assert_same(self, walked(trace), want)

    def test_half_precision_and_several_parts_equal_the_export(self):
        for variant in ARCHITECTURES:
            with self.subTest(variant), tempfile.TemporaryDirectory() as folder:
                path = self.trace(folder, variant, "--capture", "all", "--f16", "--max-size", "20000")
                trace, want = moescope.open(path), exported(path)
                self.assertGreater(trace.info.n_parts, 1)
                assert_same(self, gathered(trace), want)
                assert_same(self, walked(trace), want)

    def test_counts_only_counts_what_the_rows_say(self):
        with tempfile.TemporaryDirectory() as folder:
            rows = moescope.open(self.trace(folder, ARCHITECTURES[0]))
            want = {(b.layer, b.block): np.bincount(b.ids.ravel(), minlength=b.n_expert) for b in rows.blocks}
            n_tokens, n_decoded = len(rows.tokens), int(rows.tokens.phase.sum())
            counted = moescope.open(self.trace(folder, ARCHITECTURES[0], "--counts-only"))
            self.assertEqual((counted.counts.tokens, counted.counts.decoded), (n_tokens, n_decoded))
            self.assertEqual(set(counted.counts.blocks), set(want))
            for key, count in want.items():
                np.testing.assert_array_equal(counted.counts.blocks[key].count, count)
            self.assertEqual(counted.layers[next(iter(counted.layers))].ids.shape[0], 0)


class Frequency(unittest.TestCase):
    def test_three_lines_of_numpy_equal_analyze_frequency(self):
        answer = json.loads(run("analyze", "frequency", GOLDEN, "--json"))
        want = {(e["layer"], e["block"], e["expert"]): (e["count"], e["frequency"]) for e in answer["experts"]}
        got = {}
        for block in moescope.open(GOLDEN).blocks:
            count = np.bincount(block.ids.ravel(), minlength=block.n_expert)
            frequency = count / len(block)
            got.update({(block.layer, block.block, e): (count[e], frequency[e]) for e in range(block.n_expert)})
        self.assertEqual(got, want)


class Example(unittest.TestCase):
    def test_specialisation_of_the_demo_model(self):
        """Its distances and shares are those of `analyze specialization`."""
        with tempfile.TemporaryDirectory() as folder:
            trace, models = os.path.join(folder, "demo.moetrace"), os.path.join(SOURCE, "models")
            run("run", "-m", os.path.join(models, "demo.gguf"), "--jsonl", os.path.join(models, "prompts.jsonl"),
                "--label-key", "domain", "-n", "4", "--temp", "0", "-t", "1", "-q", "-o", trace)  # fmt: skip
            example = os.path.join(SOURCE, "examples", "specialisation.py")
            text = subprocess.run([sys.executable, example, trace], capture_output=True, check=True, text=True).stdout
            answer = json.loads(run("analyze", "specialization", trace, "--json"))
        for pair in answer["distances"]:
            self.assertRegex(text, rf"(?m)^{pair['domain_a']} +{pair['domain_b']} +{pair['distance']:.3f}$")
        want = {(e["domain"], e["layer"], e["expert"]): (e["frequency"], e["elsewhere"]) for e in answer["experts"]}
        found = re.findall(r"(?m)^(\w+): layer (\d+), expert (\d+): (\S+) (\S+)$", text)
        self.assertEqual(len(found), 3 * len({e["domain"] for e in answer["experts"]}))
        for domain, layer, expert, *percent in found:
            self.assertEqual(percent, [f"{100 * share:.2f}" for share in want[domain, int(layer), int(expert)]])


if __name__ == "__main__":
    unittest.main()
