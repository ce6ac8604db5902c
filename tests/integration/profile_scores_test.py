"""Every sum of a profile, and every score that prune makes of it, against numpy on exported columns of the same tokens.

One text per model and one ubatch, so that `run` and `profile` compute the same rows; routers of each kind.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "python"))
import moescope  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
TEXTS = {"a": "Wer reitet so spaet durch Nacht und Wind? " * 6, "b": "3 * (14 + 15) - 92 / 65 = 35; " * 8}
CAPTURE = "weights-raw,norms,probs,gram,peaks,runner-up"

# architecture -> how its gates form: (softmax over all, softmax over the selected, what they add up to)
ROUTERS = {
    "qwen3moe": (True, False, 1.0),
    "olmoe": (True, False, None),
    "gpt-oss": (False, True, 1.0),
    "dots1": (False, False, None),
    "glm4moe": (False, False, None),
}


def run(*args):
    done = subprocess.run([MOESCOPE, *args], capture_output=True, timeout=600)
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    return done.stdout


class Rows:
    """One layer's exported columns, all texts."""

    def __init__(self, folder, layer, texts):
        self.label = np.concatenate([np.full(n, i) for i, n in enumerate(texts)])
        parts = [self.load(os.path.join(folder, str(i), f"layer-{layer:03}")) for i in range(len(texts))]
        for name in parts[0]:
            setattr(self, name, np.concatenate([p[name] for p in parts]).astype(np.float64))
        self.ids = self.ids.astype(int)
        m = self.ids.shape[1] + 3
        self.gram = self.gram.reshape(-1, m, m)

    @staticmethod
    def load(folder):
        names = ("ids", "weights", "weights_raw", "norms", "probs", "gram", "peaks", "runner_up")
        return {name: np.load(os.path.join(folder, name + ".npy")) for name in names}


def removal_errors(rows, router):
    softmax_of_all, softmax_of_selected, _ = router
    k = rows.ids.shape[1]
    raw = np.concatenate([rows.weights_raw, rows.runner_up[:, 1:]], axis=1)
    total = rows.weights.sum(1)
    normalised = np.allclose(total, total[0], rtol=1e-4) and not np.allclose(rows.weights, rows.weights_raw, rtol=1e-3)
    factor = (rows.weights / np.where(rows.weights_raw == 0, np.nan, rows.weights_raw))[:, 0]
    errors = np.zeros(rows.ids.shape)
    for i in range(k):
        others = [j for j in range(k + 1) if j != i]
        if softmax_of_selected:
            e = np.exp(raw[:, others] - raw[:, others].max(1, keepdims=True))
            formed = e / e.sum(1, keepdims=True) * total[:, None]
        else:
            grown = 1 / (1 - raw[:, i : i + 1]) if softmax_of_all else 1.0
            formed = raw[:, others] * grown
            formed = formed / formed.sum(1, keepdims=True) * total[:, None] if normalised else formed * factor[:, None]
        change = np.concatenate([rows.weights, np.zeros((len(raw), 1))], axis=1)
        change[:, others] -= formed
        outputs = rows.gram[:, : k + 1, : k + 1]
        errors[:, i] = np.einsum("ri,rij,rj->r", change, outputs, change) / rows.gram[:, -1, -1]
    return errors


def sums(rows, router, n_expert, chosen):
    """What a profile of the chosen rows holds, each [n_expert]."""
    g, f, ids = rows.weights, rows.norms, rows.ids
    before, after, both = (rows.gram[:, -2, -2], rows.gram[:, -1, -1], rows.gram[:, -2, -1])
    shift = np.maximum(0, 1 - both / np.sqrt(before * after))[:, None]
    per_selection = {
        "count": np.ones(ids.shape),
        "gate": g,
        "norm": f,
        "gated_norm": g * f,
        "norm_squared": f * f,
        "gated_squared": (g * f) ** 2,
        "easy_ep": g * f * shift,
        "removal": removal_errors(rows, router),
    }
    found = {
        name: np.bincount(ids[chosen].ravel(), values[chosen].ravel(), minlength=n_expert)
        for name, values in per_selection.items()
    }
    if router[2] is None and router[0]:  # gates as they are: rows that do not select an expert change without it, too
        y = np.einsum("ri,rij,rj->r", g, rows.gram[:, : g.shape[1], : g.shape[1]], g) / after
        others = (rows.probs / (1 - rows.probs)) ** 2 * y[:, None]
        np.put_along_axis(others, ids, 0, axis=1)
        found["removal"] = found["removal"] + others[chosen].sum(0)
    return found


def pairs(rows, n_expert):
    a = rows.weights * rows.norms
    count, product = np.zeros((n_expert, n_expert)), np.zeros((n_expert, n_expert))
    for ids, values in zip(rows.ids, a):
        count[np.ix_(ids, ids)] += 1
        product[np.ix_(ids, ids)] += np.outer(values, values)
    return count, product


def mean(total, count):
    return np.divide(total, count, out=np.zeros(len(total)), where=count > 0)


def scores(s, criterion):
    return {
        "reap": lambda: mean(s["gated_norm"], s["count"]),
        "man": lambda: mean(s["norm"], s["count"]),
        "msan": lambda: mean(s["norm_squared"], s["count"]),
        "reap-sum": lambda: s["gated_norm"],
        "ean-sum": lambda: s["norm"],
        "seer": lambda: s["gate"],
        "easy-ep": lambda: s["easy_ep"],
        "removal": lambda: s["removal"],
        "frequency": lambda: s["count"],
    }[criterion]()


def best(values, n):
    return sorted(np.argsort(-values, kind="stable")[:n].tolist())


class ProfileScores(unittest.TestCase):
    def make(self, arch):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.model = self.path("m.gguf")
        subprocess.run(
            [MAKE_MODEL, "random", "--arch", arch, "--experts", "8", "--top-k", "3", "-o", self.model], check=True
        )
        self.n_tokens = []
        for i, text in enumerate(TEXTS.values()):
            trace, options = self.path(f"{i}.moetrace"), ["-n", "0", "-t", "1", "-ub", "512", "-q"]
            run("run", "-m", self.model, "-p", text, "-o", trace, "--capture", CAPTURE, *options)
            run("export", trace, "-f", "npy", "-o", self.path(str(i)))
            self.n_tokens.append(
                len(
                    np.load(self.path(f"{i}/tokens/token.npy"))
                    if os.path.exists(self.path(f"{i}/tokens/token.npy"))
                    else np.load(self.path(f"{i}/token.npy"))
                )
            )
        with open(self.path("c.jsonl"), "w") as f:
            f.writelines(json.dumps({"text": t, "label": l}) + "\n" for l, t in TEXTS.items())
        options = ["--label-key", "label", "-np", "1", "-t", "1", "-ub", "512", "-c", "512", "-q"]
        run("profile", "-m", self.model, "--jsonl", self.path("c.jsonl"), "-o", self.path("s.json"), *options)
        return moescope.open_profile(self.path("s.moestats"))

    def path(self, name):
        return os.path.join(self.folder, name)

    def assert_close(self, got, want, what):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-7 * max(1.0, np.abs(want).max()), err_msg=what)

    def kept(self, criterion, *options):
        args = ["--stats", self.path("s.moestats"), "--criterion", criterion, "--keep", "5", "--dry-run", "--json"]
        plan = json.loads(run("prune", self.model, *args, *options))
        return {int(layer): p["kept"] for layer, p in plan["layers"].items()}

    def check(self, arch):
        profile, router = self.make(arch), ROUTERS[arch]
        rows = {layer: Rows(self.folder, layer, self.n_tokens) for layer in profile.layers}
        for layer, block in profile.layers.items():
            r, n = rows[layer], block.n_expert
            want = sums(r, router, n, slice(None))
            for name, values in want.items():
                self.assert_close(getattr(block, name), values, f"{arch} layer {layer} {name}")
            for i in range(2):
                of_label = sums(r, router, n, r.label == i)
                for name in ("gate", "norm", "gated_norm", "norm_squared", "gated_squared", "easy_ep", "removal"):
                    self.assert_close(block.label_sums[name][i], of_label[name], f"{arch} layer {layer} {name} {i}")
            count, product = pairs(r, n)
            self.assert_close(block.pair_count, count * (1 - np.eye(n)), "pairs")
            self.assert_close(block.pair_product, product * (1 - np.eye(n)), "products of pairs")
            peak = np.zeros(n)
            np.maximum.at(peak, r.ids.ravel(), r.peaks.ravel())
            self.assert_close(block.peak, peak, "peaks")
        self.check_choices(arch, rows, router, next(iter(profile.layers.values())).n_expert)

    def check_choices(self, arch, rows, router, n):
        for criterion in ("reap", "man", "msan", "reap-sum", "ean-sum", "seer", "easy-ep", "removal", "frequency"):
            kept = self.kept(criterion, "--balance", "rows")
            balanced = self.kept(criterion, "--balance", "labels")
            for layer, r in rows.items():
                self.assertEqual(kept[layer], best(scores(sums(r, router, n, slice(None)), criterion), 5), criterion)
                by_label = [scores(sums(r, router, n, r.label == i), criterion) for i in range(2)]
                self.assertEqual(balanced[layer], best(sum(s / s.sum() for s in by_label), 5), criterion)

    def test_softmax_over_all_normalised(self):
        self.check("qwen3moe")

    def test_softmax_over_all_as_it_is(self):
        self.check("olmoe")

    def test_softmax_over_the_selected(self):
        self.check("gpt-oss")

    def test_sigmoid_with_bias(self):
        self.check("dots1")
        self.check("glm4moe")


if __name__ == "__main__":
    unittest.main()
