"""`moescope analyze` against numpy and scipy on the same data."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import scipy.spatial.distance
import scipy.special
import scipy.stats

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from trace_writer import GATE_INPUT, IDS, PROBS, TraceWriter  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]


def run(*args):
    return subprocess.run([MOESCOPE, "analyze", *args], capture_output=True, text=True)


def answer(*args):
    done = run(*args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def route(rng, n, n_expert, k, skew=1.0):
    scores = rng.gumbel(size=(n, n_expert)) - skew * np.arange(n_expert) / n_expert * 4
    return np.argsort(-scores, axis=1)[:, :k]


class Analyses(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        rng = np.random.default_rng(1)
        cls.shape = [
            dict(layer=1, n_expert=16, k=4, n_embd=24, columns=IDS | PROBS | GATE_INPUT),
            dict(layer=2, n_expert=16, k=4, n_embd=24, columns=IDS | PROBS | GATE_INPUT),
            dict(layer=4, n_expert=300, k=3, n_embd=24, columns=IDS | PROBS | GATE_INPUT),
        ]
        cls.n_prompt, cls.n_decode = 150, 90
        n = cls.n_prompt + cls.n_decode
        cls.ids = [route(rng, n, l["n_expert"], l["k"]) for l in cls.shape]
        cls.probs = [scipy.special.softmax(rng.normal(size=(n, l["n_expert"])), axis=1).astype("f4") for l in cls.shape]
        drift = rng.normal(size=(n, 24))
        cls.gate = []
        for _ in cls.shape:
            drift = drift * 1.1 + rng.normal(size=drift.shape) * 0.4
            cls.gate.append(drift.astype("f4"))
        cls.token = rng.integers(0, 9, size=n)
        cls.path = cls.write("run.moetrace", cls.ids)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def write(cls, name, ids, first=0, last=None):
        path = os.path.join(cls.folder.name, name)
        w = TraceWriter(path, cls.shape)
        last = cls.n_prompt + cls.n_decode if last is None else last
        at = first
        while at < last:
            decode = at >= cls.n_prompt
            end = at + 1 if decode else min(at + 64, cls.n_prompt, last)
            rows = slice(at, end)
            w.ubatch(
                [{"ids": i[rows], PROBS: p[rows], GATE_INPUT: g[rows]} for i, p, g in zip(ids, cls.probs, cls.gate)],
                pos=np.arange(at, end),
                token=cls.token[rows],
                decode=decode,
            )
            at = end
        w.close()
        return path

    def counts(self, layer, rows=slice(None)):
        return np.bincount(self.ids[layer][rows].ravel(), minlength=self.shape[layer]["n_expert"])

    def test_frequency(self):
        got = answer("frequency", self.path)
        for i, layer in enumerate(got["layers"]):
            c = self.counts(i)
            p = c / c.sum()
            self.assertAlmostEqual(layer["entropy"], scipy.stats.entropy(p) / np.log(len(c)), places=12)
            self.assertAlmostEqual(
                layer["gini"], np.abs(c[:, None] - c[None, :]).sum() / (2 * len(c) * c.sum()), places=12
            )
            self.assertAlmostEqual(layer["max_vio"], c.max() / c.mean() - 1, places=12)
            self.assertEqual(layer["dead"], (c == 0).sum())
            held = np.cumsum(np.sort(c)[::-1]) / c.sum()
            for level in (50, 80, 90, 95):
                self.assertEqual(layer["coverage_%d" % level], np.argmax(held >= level / 100 - 1e-12) + 1)
            mine = {e["expert"]: e["count"] for e in got["experts"] if e["layer"] == self.shape[i]["layer"]}
            self.assertEqual([mine[e] for e in range(len(c))], c.tolist())
        for i, r in enumerate(got["router"]):
            entropy = scipy.stats.entropy(self.probs[i].astype("f8"), axis=1) / np.log(self.probs[i].shape[1])
            top = np.sort(self.probs[i].astype("f8"), axis=1)
            margin = (top[:, -1] - top[:, -2]) / top.sum(axis=1)
            self.assertAlmostEqual(r["entropy"], entropy.mean(), places=9)
            self.assertAlmostEqual(r["entropy_sd"], entropy.std(ddof=1), places=9)
            self.assertAlmostEqual(r["top1_margin"], margin.mean(), places=9)
        total = sum(e["share"] for e in got["experts"])
        self.assertAlmostEqual(total, len(self.shape), places=9)

    def test_wilson(self):
        got = answer("frequency", self.path)
        n, k = len(self.ids[0]), self.shape[0]["k"]
        for e in [e for e in got["experts"] if e["layer"] == self.shape[0]["layer"]]:
            expected = scipy.stats.binomtest(e["count"], n).proportion_ci(method="wilson")
            self.assertAlmostEqual(e["share_low"] * k, expected.low, places=9)
            self.assertAlmostEqual(e["share_high"] * k, expected.high, places=9)

    def test_frequency_of_decoded_rows(self):
        got = answer("frequency", self.path, "--phase", "decode", "--layers", "2")
        c = self.counts(1, slice(self.n_prompt, None))
        self.assertEqual([e["count"] for e in got["experts"]], c.tolist())
        self.assertEqual(len(got["layers"]), 1)

    def test_gate_drift(self):
        rows = {}
        for every, first in (((), self.n_prompt), (("--all",), 0)):
            got = answer("gate-drift", self.path, "--values", *every)
            total = {t["measure"]: t for t in got["total"]}
            values = {name: [] for name in total}
            for i in range(2):
                for a, b in zip(self.gate[i][first:].astype("f8"), self.gate[i + 1][first:].astype("f8")):
                    na, nb = np.linalg.norm(a), np.linalg.norm(b)
                    rows = {
                        "cosine_distance": scipy.spatial.distance.cosine(a, b),
                        "cosine": 1 - scipy.spatial.distance.cosine(a, b),
                        "euclidean": scipy.spatial.distance.euclidean(a, b),
                        "l2_normalised": np.linalg.norm(a / na - b / nb),
                        "pearson": scipy.stats.pearsonr(a, b)[0],
                        "mean_abs_difference": np.abs(a - b).mean(),
                    }
                    for name, v in rows.items():
                        values[name].append(v)
            for name, v in values.items():
                self.assertEqual(total[name]["n"], len(v))
                for key, expected in (
                    ("mean", np.mean(v)),
                    ("sd", np.std(v, ddof=1)),
                    ("min", np.min(v)),
                    ("max", np.max(v)),
                    ("median", np.median(v)),
                ):
                    self.assertAlmostEqual(total[name][key], expected, places=5, msg=name + " " + key)
            self.assertEqual(len(got["values"]), len(values["cosine"]))
            self.assertAlmostEqual(got["values"][0]["cosine"], values["cosine"][0], places=6)

    def test_coactivation(self):
        got = answer("coactivation", self.path, "--all-pairs")
        one = np.zeros((len(self.ids[0]), 16))
        np.put_along_axis(one, self.ids[0], 1, axis=1)
        two = np.zeros((len(self.ids[1]), 16))
        np.put_along_axis(two, self.ids[1], 1, axis=1)
        within, between = one.T @ one, one.T @ two
        for row in got["all"]:
            if (row["from_layer"], row["to_layer"]) == (1, 1):
                self.assertEqual(row["both"], within[row["a"], row["b"]])
                self.assertAlmostEqual(
                    row["lift"],
                    within[row["a"], row["b"]] * len(one) / (one[:, row["a"]].sum() * one[:, row["b"]].sum()),
                    places=9,
                )
            if (row["from_layer"], row["to_layer"]) == (1, 2):
                self.assertEqual(row["both"], between[row["a"], row["b"]])

    def test_temporal(self):
        got = answer("temporal", self.path)
        for i, layer in enumerate(got["layers"]):
            for lag in (1, 4, 64):
                expected = [len(set(a) & set(b)) / len(a) for a, b in zip(self.ids[i], self.ids[i][lag:])]
                self.assertAlmostEqual(layer["overlap_%d" % lag], np.mean(expected), places=9)
            c, n = self.counts(i), len(self.ids[i])
            pairs = (c * (c - 1)).sum() / (n * (n - 1) * self.shape[i]["k"])
            self.assertAlmostEqual(layer["by_popularity"], pairs, places=9)

    def test_compare(self):
        other = [i.copy() for i in self.ids]
        rng = np.random.default_rng(3)
        for i, l in enumerate(self.shape):
            changed = rng.random(len(other[i])) < 0.3
            other[i][changed] = route(rng, changed.sum(), l["n_expert"], l["k"], 0)
        got = answer("compare", self.path, self.write("other.moetrace", other))
        for i, layer in enumerate(got["layers"]):
            shared = [len(set(a) & set(b)) / len(a) for a, b in zip(self.ids[i], other[i])]
            self.assertAlmostEqual(layer["overlap"], np.mean(shared), places=9)
            n = self.shape[i]["n_expert"]
            a, b = (np.bincount(x[i].ravel(), minlength=n) for x in (self.ids, other))
            self.assertAlmostEqual(layer["rank_correlation"], scipy.stats.spearmanr(a, b)[0], places=9)
            self.assertAlmostEqual(layer["distance"], scipy.spatial.distance.jensenshannon(a, b, base=2), places=9)
        same = answer("stability", self.path, self.path, self.path)
        self.assertEqual([p["overlap"] for p in same["pairs"]], [1.0] * 3)

    def test_specialization(self):
        first, second = self.write("a.moetrace", self.ids, 0, 150), self.write("b.moetrace", self.ids, 150)
        got = answer("specialization", first, second)
        for i, layer in enumerate(got["layers"]):
            self.assertAlmostEqual(
                layer["distance"],
                scipy.spatial.distance.jensenshannon(
                    self.counts(i, slice(0, 150)), self.counts(i, slice(150, None)), base=2
                ),
                places=9,
            )
        e = got["experts"][0]
        self.assertAlmostEqual(e["frequency"], self.counts(0, slice(0, 150))[e["expert"]] / 150, places=12)

    def test_vocabulary(self):
        got = answer("vocabulary", self.path, "--min", "5")
        row = got["tokens"][0]
        layer = [l["layer"] for l in self.shape].index(row["layer"])
        mine = self.ids[layer][self.token == row["token"]]
        self.assertEqual(row["count"], len(mine))
        self.assertAlmostEqual(row["frequency"], (mine == row["expert"]).any(axis=1).mean(), places=12)
        halves = [np.bincount(mine[h::2].ravel(), minlength=self.shape[layer]["n_expert"]) for h in (0, 1)]
        expected = np.mean([halves[1 - h][halves[h].argmax()] / len(mine[1 - h :: 2]) for h in (0, 1)])
        self.assertAlmostEqual(row["specialization"], expected, places=12)

    def test_cache(self):
        got = answer("cache", self.path, "--slots", "4,300")
        decoded = [i[self.n_prompt :] for i in self.ids]
        hits = warm = 0
        for ids in decoded:  # an LRU of four slots, written as plainly as possible
            for half in (ids[:45], ids[45:]):
                held, seen = [], set()
                for row in half:
                    for e in sorted(row):
                        warm += e in seen
                        hits += e in seen and e in held
                        seen.add(e)
                        held = [e] + [h for h in held if h != e]
                        held = held[:4]
        lru = [p for p in got["policies"] if p["policy"] == "LRU"]
        self.assertAlmostEqual(lru[0]["hit_rate"], hits / warm, places=12)
        self.assertEqual(lru[1]["hit_rate"], 1)


if __name__ == "__main__":
    unittest.main()
