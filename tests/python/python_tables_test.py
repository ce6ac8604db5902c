"""Data frames of the Python package, and profiles against what `moescope profile` writes for people."""

import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import types
import unittest
from importlib.util import find_spec
from unittest import mock

import numpy as np
import pandas
import xxhash

import moescope
from moescope import profile as profile_module

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from package_reader import GOLDEN, run  # noqa: E402


def selections():
    """Of the golden trace, from the export that has an object for each row."""
    for line in run("export", GOLDEN, "-f", "jsonl").splitlines():
        row = json.loads(line)
        for rank, expert in enumerate(row["ids"]):
            selection = {
                name: row[name] for name in ("sequence", "position", "phase", "token", "text", "layer", "block")
            }
            selection.update(rank=rank, expert=expert, weight=row["weights"][rank])
            for column, name in (("weights_raw", "weight_raw"), ("norms", "norm")):
                selection[name] = row[column][rank] if column in row else None
            selection["taken_back"] = False
            yield selection


class Tables(unittest.TestCase):
    def test_selections_with_pandas(self):
        order = ["layer", "block", "position", "rank"]
        want = pandas.DataFrame(selections()).sort_values(order, ignore_index=True)
        trace = moescope.open(GOLDEN)
        got = trace.to_pandas().sort_values(order, ignore_index=True)
        np.testing.assert_array_equal(trace.tokens.position[got.pop("token_index")], got["position"])
        pandas.testing.assert_frame_equal(got, want, check_dtype=False, check_like=True)
        layer = trace.layers[2].to_pandas()
        pandas.testing.assert_frame_equal(
            layer.drop(columns="token_index"),
            want[want["layer"] == 2].reset_index(drop=True),
            check_dtype=False,
            check_like=True,
        )

    def test_tokens_with_pandas(self):
        tokens = moescope.open(GOLDEN).tokens.to_pandas()
        self.assertEqual(tokens["text"].tolist(), [f" t{100 + 10 * p}" for p in range(8)])
        self.assertEqual(tokens["phase"].tolist(), ["prefill"] * 5 + ["decode"] * 3)
        self.assertEqual(tokens["ubatch"].tolist(), [0, 0, 0, 1, 1, 2, 3, 4])

    def test_what_was_taken_back(self):
        """The golden file of version 2 is that of version 1, and its first generated token was a draft."""
        trace = moescope.open(GOLDEN.replace("v1", "v2"))
        self.assertEqual(trace.tokens.position[trace.tokens.taken_back].tolist(), [5])
        frame = trace.to_pandas()
        self.assertEqual(set(frame["position"][frame["taken_back"]]), {5})
        text = frame[~frame["taken_back"]].drop(columns="token_index").reset_index(drop=True)
        want = moescope.open(GOLDEN).to_pandas()
        want = want[want["position"] != 5].drop(columns="token_index").reset_index(drop=True)
        pandas.testing.assert_frame_equal(text, want)
        events = [(e.kind, e.why, e.ubatches, e.sequence, e.p0, e.p1, e.delta, e.last) for e in trace.memory]
        removed, copied, shifted = events
        self.assertEqual(removed, ("remove", "rejected", 3, 0, 5, -1, 0, 5))
        self.assertEqual((copied[0], trace.memory[1].to), ("copy", 1))
        self.assertEqual(shifted, ("shift", "", 4, 0, 2, 7, -2, -1))
        self.assertEqual(moescope.open(GOLDEN).tokens.taken_back.sum(), 0)

    def test_a_package_that_is_missing_is_named(self):
        trace = moescope.open(GOLDEN)
        for package in ("pandas", "pyarrow", "polars"):
            method = f"to_{package.replace('py', '')}"
            for table in (trace, trace.layers[1], trace.tokens):
                with mock.patch.dict(sys.modules, {package: None}):
                    with self.assertRaisesRegex(ImportError, f"needs the package {package}"):
                        getattr(table, method)()

    def test_what_arrow_and_polars_are_given(self):
        """Stand-ins, since neither is in Debian 12: columns of one length that hold what pandas gets."""
        trace = moescope.open(GOLDEN)
        want = trace.to_pandas()
        given = {}
        modules = {
            "pyarrow": types.SimpleNamespace(table=given.update),
            "polars": types.SimpleNamespace(DataFrame=given.update),
        }
        for method in ("to_arrow", "to_polars"):
            given.clear()
            with mock.patch.dict(sys.modules, modules):
                getattr(trace, method)()
            pandas.testing.assert_frame_equal(pandas.DataFrame(dict(given)), want)

    @unittest.skipUnless(find_spec("pyarrow"), "pyarrow is not installed")
    def test_arrow(self):
        trace = moescope.open(GOLDEN)
        pandas.testing.assert_frame_equal(trace.to_arrow().to_pandas(), trace.to_pandas(), check_dtype=False)

    @unittest.skipUnless(find_spec("polars"), "polars is not installed")
    def test_polars(self):
        trace = moescope.open(GOLDEN)
        want = trace.to_pandas()
        got = trace.to_polars()
        self.assertEqual(
            {n: got[n].to_list() for n in want.columns if n != "norm"},
            {n: want[n].tolist() for n in want.columns if n != "norm"},
        )


class Profiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        model, corpus, out = (os.path.join(folder.name, n) for n in ("m.gguf", "c.jsonl", "stats.json"))
        make = [os.environ["MAKE_MODEL_BIN"], "variant", "grovemoe-pairs", "-o", model]
        subprocess.run(make, check=True, capture_output=True)
        with open(corpus, "w") as file:
            for i, text in enumerate(["alpha beta", "gamma", "delta epsilon zeta", "eta"]):
                file.write(json.dumps({"text": text, "topic": "ab"[i % 2]}) + "\n")
        run("profile", "-m", model, "--jsonl", corpus, "--label-key", "topic", "-o", out, "-t", "1")
        cls.path = os.path.join(folder.name, "stats.moestats")
        cls.profile = moescope.open_profile(cls.path)
        with open(out) as file:
            cls.json = json.load(file)
        with open(cls.path, "rb") as file:
            cls.bytes = file.read()

    def test_scores_are_those_of_the_json(self):
        names = {
            "activation_counts": "count",
            "activation_frequency": "frequency",
            "avg_gate_weight": "mean_gate",
            "ean_mean": "ean",
            "reap": "reap",
        }
        self.assertEqual({str(layer) for layer in self.profile.layers}, set(self.json))
        for layer, block in self.profile.layers.items():
            want = self.json[str(layer)]
            self.assertEqual(block.rows, want["total_tokens"])
            for key, name in names.items():
                self.assertEqual(getattr(block, name).tolist(), want[key], (layer, name))
            self.assertEqual((block.count == 0).tolist(), want["never_activated"])

    def test_what_else_it_holds(self):
        p = self.profile
        self.assertEqual((p.model.architecture, p.gate, p.complete, p.samples), ("grovemoe", "final", True, 4))
        self.assertEqual((sorted(p.labels), p.corpora[0].name, p.corpora[0].tokens), (["a", "b"], "c.jsonl", p.tokens))
        self.assertEqual({b.block for b in p.blocks}, {0, 1})
        for b in p.blocks:
            self.assertEqual(b.count.sum(), b.n_expert_used * b.rows)
            np.testing.assert_array_equal(b.label_count.sum(axis=0), b.count)
            self.assertEqual(b.label_rows.sum(), b.rows)
            self.assertTrue((b.ean <= b.max_norm * (1 + 1e-6)).all())
        self.assertIs(p.block(p.blocks[-1].layer, p.blocks[-1].block), p.blocks[-1])

    def test_as_a_table(self):
        table = self.profile.to_pandas()
        self.assertEqual(len(table), sum(b.n_expert for b in self.profile.blocks))
        for (layer, block), rows in table.groupby(["layer", "block"]):
            np.testing.assert_array_equal(rows["reap"], self.profile.block(layer, block).reap)
            self.assertEqual(rows["expert"].tolist(), list(range(len(rows))))

    def read(self, data):
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            try:
                return moescope.open_profile(file.name)
            except moescope.TraceError as e:
                self.assertIn(file.name, str(e))
                return None

    def test_damage(self):
        for at in range(0, len(self.bytes), 11):
            self.assertIsNone(self.read(self.bytes[:at]), at)
            self.assertIsNone(
                self.read(self.bytes[:at] + bytes([self.bytes[at] ^ 1 << at % 8]) + self.bytes[at + 1 :]), at
            )
        self.assertIsNone(self.read(self.bytes + bytes(8)))
        self.assertIsNotNone(self.read(self.bytes))

    def test_nonsense_under_a_hash_that_fits(self):
        random.seed(4)
        n_read = 0
        for _ in range(2000):
            data = bytearray(self.bytes[:-8])
            at = random.randrange(len(data))
            data[at] ^= 1 << random.randrange(8)
            n_read += self.read(bytes(data) + struct.pack("<Q", xxhash.xxh3_64_intdigest(bytes(data)))) is not None
        self.assertTrue(0 < n_read < 2000)

    def test_without_xxhash_it_reads_the_same(self):
        with mock.patch.object(profile_module, "payload_hash", None):
            for a, b in zip(self.read(self.bytes).blocks, self.profile.blocks):
                np.testing.assert_array_equal(a.reap, b.reap)
            self.assertIsNone(self.read(self.bytes[:-9]))


if __name__ == "__main__":
    unittest.main()
