"""The ten questions of docs/sql.md, run as they stand there, against numpy over the arrays of `export -f npy`."""

import json
import os
import re
import subprocess
import tempfile
import unittest
from collections import Counter
from itertools import combinations

import numpy as np

MOESCOPE = os.environ["MOESCOPE_BIN"]
SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
RUNS = {"mean": "def mean(values):", "hamlet": "To be, or not to be"}
LAYERS, EXPERTS = range(6), 32


def run(*arguments):
    return subprocess.run([MOESCOPE, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


class Run:
    """One run as arrays."""

    def __init__(self, folder):
        load = lambda name: np.load(os.path.join(folder, name))
        self.position, self.phase, self.token = load("position.npy"), load("phase.npy"), load("token.npy")
        with open(os.path.join(folder, "tokens.json")) as f:
            self.text = json.load(f)
        layer = lambda l, name: load("layer-%03d/%s.npy" % (l, name))
        self.ids = [layer(l, "ids").astype(int) for l in LAYERS]
        self.weights = [layer(l, "weights").astype("f8") for l in LAYERS]
        self.index = [layer(l, "token_index") for l in LAYERS]

    def counts(self, layer, where=slice(None)):
        return np.bincount(self.ids[layer][where].ravel(), minlength=EXPERTS)


class Questions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        at = lambda name: os.path.join(cls.folder.name, name)
        cls.traces, cls.runs = [], {}
        for name, prompt in RUNS.items():
            cls.traces.append(at(name + ".moetrace"))
            model = os.path.join(SOURCE, "models", "demo.gguf")
            run("run", "-m", model, "-p", prompt, "-n", 24, "-o", cls.traces[-1])
            run("export", cls.traces[-1], "-f", "npy", "-o", at(name))
            cls.runs[name] = Run(at(name))
        with open(os.path.join(SOURCE, "docs", "sql.md")) as f:
            cls.queries = re.findall(r"^\*\*(\d+)\. .*?```sql\n(.*?)```", f.read(), re.MULTILINE | re.DOTALL)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def answer(self, number):
        return json.loads(run("sql", *self.traces, dict(self.queries)[str(number)], "--json"))

    def test_there_are_ten(self):
        self.assertEqual([number for number, _ in self.queries], [str(n) for n in range(1, 11)])

    def test_1_busiest(self):
        for row, layer in zip(self.answer(1), LAYERS):
            counts = self.runs["mean"].counts(layer)
            want = {"layer": layer, "expert": int(counts.argmax()), "n": int(counts.max())}
            self.assertEqual({k: row[k] for k in want}, want)
            self.assertAlmostEqual(row["share"], counts.max() / counts.sum(), places=12)

    def test_2_unused(self):
        want = [
            {"run": name, "layer": l, "unused": int((self.runs[name].counts(l) == 0).sum()), "all_experts": EXPERTS}
            for name in sorted(RUNS)
            for l in LAYERS
        ]
        self.assertEqual(self.answer(2), want)

    def test_3_text_of_an_expert(self):
        want = Counter()
        for r in self.runs.values():
            for row, index in zip(r.ids[3], r.index[3]):
                if 27 in row:
                    want[r.text[str(r.token[index])]] += 1
        self.assertEqual({r["text"]: r["n"] for r in self.answer(3)}, dict(want))
        self.assertGreater(len(want), 0)

    def test_4_pairs(self):
        pairs = Counter()
        for r in self.runs.values():
            for l in LAYERS:
                for row in r.ids[l]:
                    pairs.update((l, *pair) for pair in combinations(sorted(row.tolist()), 2))
        want = sorted(pairs.items(), key=lambda p: (-p[1], p[0]))[:10]
        self.assertEqual([((r["layer"], r["first"], r["second"]), r["n"]) for r in self.answer(4)], want)

    def test_5_next_layer(self):
        pairs = Counter()
        for r in self.runs.values():
            for l in LAYERS[:-1]:
                later = dict(zip(r.index[l + 1].tolist(), r.ids[l + 1][:, 0].tolist()))
                pairs.update((l, int(e), later[i]) for i, e in zip(r.index[l].tolist(), r.ids[l][:, 0]) if i in later)
        want = sorted(pairs.items(), key=lambda p: (-p[1], p[0]))[:10]
        self.assertEqual([((r["layer"], r["here"], r["in_next_layer"]), r["n"]) for r in self.answer(5)], want)

    def test_6_phases(self):
        r = self.runs["mean"]
        answers = self.answer(6)
        self.assertEqual([a["layer"] for a in answers], list(LAYERS))
        for answer, l in zip(answers, LAYERS):
            shares = [(c / c.sum()) for c in (r.counts(l, r.phase[r.index[l]] == p) for p in (0, 1))]
            self.assertAlmostEqual(answer["distance"], abs(shares[0] - shares[1]).sum() / 2, places=12)

    def test_7_first_weights(self):
        for answer, l in zip(self.answer(7), LAYERS):
            first = np.concatenate([r.weights[l][:, 0] for r in self.runs.values()])
            self.assertAlmostEqual(answer["first_weight"], first.mean(), places=9)
            self.assertEqual(np.float32(answer["least"]), np.float32(first.min()))
            self.assertEqual(np.float32(answer["most"]), np.float32(first.max()))

    def test_8_shared_with_the_token_before(self):
        for answer, l in zip(self.answer(8), LAYERS):
            shared = []
            for r in self.runs.values():
                by_position = {int(r.position[i]): set(row.tolist()) for i, row in zip(r.index[l], r.ids[l])}
                shared += [len(by_position[p] & by_position.get(p - 1, set())) for p in by_position if p > 0]
            self.assertAlmostEqual(answer["shared"], np.mean(shared), places=12)

    def test_9_experts_needed(self):
        want = []
        for l in LAYERS:
            counts = np.sort(self.runs["mean"].counts(l))[::-1]
            before = np.cumsum(counts) - counts
            want.append({"layer": l, "experts_needed": int((before * 10 < counts.sum() * 9).sum())})
        self.assertEqual(self.answer(9), want)

    def test_10_difference_of_runs(self):
        want = []
        for l in LAYERS:
            mean, hamlet = (self.runs[name].counts(l) for name in ("mean", "hamlet"))
            want += [(l, e, mean[e] / mean.sum() - hamlet[e] / hamlet.sum()) for e in range(EXPERTS)]
        largest = sorted((abs(d) for _, _, d in want), reverse=True)[:10]
        by_expert = {(l, e): d for l, e, d in want}
        answers = self.answer(10)
        for answer, size in zip(answers, largest):
            self.assertAlmostEqual(answer["difference"], by_expert[answer["layer"], answer["expert"]], places=12)
            self.assertAlmostEqual(abs(answer["difference"]), size, places=12)
        self.assertEqual(len(answers), 10)


if __name__ == "__main__":
    unittest.main()
