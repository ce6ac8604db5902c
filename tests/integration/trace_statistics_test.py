"""prune and evaluate take a trace wherever they take a profile: every criterion that its columns allow, and no other. Sums
are those that numpy adds up of the exported rows; what `moescope profile` computes of the same prompts says the same."""

import json
import os
import subprocess
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from tool_case import ToolCase  # noqa: E402

MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
N_LAYER, N_EXPERT, K, KEEP = 3, 12, 3, 7
PROMPTS = (("code", "def gcd(a, b):\n    while b:"), ("prose", "Once upon a time there lived"), ("code", "return x"))
EVERYTHING = "ids,weights,weights-raw,probs,norms,gram,runner-up,peaks"


class TraceStatistics(ToolCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_model("m.gguf", N_LAYER, N_EXPERT, K)
        cls.write_prompts("prompts.jsonl", PROMPTS, "domain")
        for name, columns in (
            ("all", EVERYTHING),
            ("gram", "ids,weights,norms,gram"),
            ("norms", "ids,weights,norms"),
            ("plain", "ids,weights"),
        ):
            cls.record(name, "--capture", columns)
        cls.record("counts", "--counts-only")
        # One prompt a batch, as `run` computes them.
        cls.done(*cls.corpus("profile"), "--sums", "all", "-np", "1", "-o", "p.json")

    @classmethod
    def corpus(cls, verb):
        return [verb, "-m", "m.gguf", "-q", "-t", "1", "--jsonl", "prompts.jsonl", "--label-key", "domain"]

    @classmethod
    def record(cls, name, *options):
        cls.done(*cls.corpus("run"), "-n", "0", *options, "-o", f"{name}.moetrace")

    def plan(self, stats, *options):
        args = ["prune", "m.gguf", "--stats", stats, "--keep", str(KEEP), "--dry-run", "--json", *options]
        return json.loads(self.done(*args).stdout)

    def kept(self, plan):
        return {int(il): layer["kept"] for il, layer in plan["layers"].items()}

    def rows(self, name):
        return self.exported_rows(f"{name}.moetrace")

    def sums(self, rows, value):
        """Of value(row), one number per selection: {layer: [n_expert]}."""
        sums = {il: np.zeros(N_EXPERT) for il in range(N_LAYER)}
        for row in rows:
            for e, v in zip(row["ids"], value(row)):
                sums[row["layer"]][e] += v
        return sums

    def best(self, sums):
        return {il: sorted(sorted(range(N_EXPERT), key=lambda e, s=s: (-s[e], e))[:KEEP]) for il, s in sums.items()}

    @staticmethod
    def removal(row):
        """What the block's output would be without each expert: the runner-up moves in, and gates add up to 1 again."""
        m = K + 3
        gram = np.array(row["gram"]).reshape(m, m)
        gates = np.array([*row["weights"], 0])
        raw = np.array([*row["weights_raw"], row["runner_up"][1]])
        errors = []
        for i in range(K):
            after = np.where(np.arange(K + 1) == i, 0, raw)
            after = after / max(after.sum(), 2**-14)
            change = gates - after
            errors.append(change @ gram[: K + 1, : K + 1] @ change / gram[m - 1, m - 1])
        return errors

    @staticmethod
    def easy_ep(row):
        m = int(np.sqrt(len(row["gram"])))
        gram = np.array(row["gram"]).reshape(m, m)
        cosine = gram[m - 2, m - 1] / np.sqrt(gram[m - 2, m - 2] * gram[m - 1, m - 1])
        return [g * f * max(0, 1 - cosine) for g, f in zip(row["weights"], row["norms"])]

    def test_criteria_are_those_of_the_rows(self):
        rows = self.rows("all")
        for criterion, value in (
            ("removal", self.removal),
            ("easy-ep", self.easy_ep),
            ("reap-sum", lambda r: [g * f for g, f in zip(r["weights"], r["norms"])]),
            ("ean-sum", lambda r: r["norms"]),
            ("seer", lambda r: r["weights"]),
            ("frequency", lambda r: [1] * K),
        ):
            got = self.plan("all.moetrace", "--criterion", criterion, "--balance", "rows")
            self.assertEqual(self.kept(got), self.best(self.sums(rows, value)), criterion)

    def test_the_share_of_removal_errors_is_that_of_the_rows(self):
        got = self.plan("all.moetrace", "--criterion", "frequency")
        sums, kept = self.sums(self.rows("all"), self.removal), self.kept(got)
        gone = sum(s[e] for il, s in sums.items() for e in range(N_EXPERT) if e not in kept[il])
        self.assertAlmostEqual(got["measures"]["removal_share"], gone / sum(s.sum() for s in sums.values()), places=5)

    def test_every_criterion_is_as_of_a_profile_of_the_same_prompts(self):
        trace, profile = self.plan("all.moetrace"), self.plan("p.moestats")
        self.assertEqual(trace["criterion"], "removal, balance labels")  # the default, as of a profile
        self.assertEqual(self.kept(trace), self.kept(profile))
        self.assertEqual(set(trace["others"]), set(profile["others"]))
        for criterion, other in profile["others"].items():
            self.assertEqual(trace["others"][criterion]["displaced_by_label"], other["displaced_by_label"], criterion)
            for measure in ("removal_share", "hope_objective"):
                got, want = trace["others"][criterion][measure], other[measure]
                self.assertLess(abs(got - want), 1e-4 * abs(want), (criterion, measure))

    def test_gram_without_a_runner_up(self):
        got = self.plan("gram.moetrace", "--criterion", "easy-ep")
        self.assertEqual(self.kept(got), self.best(self.sums(self.rows("gram"), self.easy_ep)))
        default = self.plan("gram.moetrace")
        self.assertEqual(default["criterion"], "reap-sum")
        self.assertNotIn("removal", default["others"])
        refused = self.refused("gram.moetrace", "removal")
        self.assertIn("has no removal error", refused)

    def refused(self, stats, criterion):
        got = self.tool("prune", "m.gguf", "--stats", stats, "--keep", str(KEEP), "--dry-run", "--criterion", criterion)
        self.assertEqual((got.returncode, got.stderr.count("\n"), got.stdout), (2, 1, ""))
        return got.stderr

    def test_what_a_trace_lacks_is_refused_with_what_to_record(self):
        self.assertIn("does not know the residual stream", self.refused("norms.moetrace", "easy-ep"))
        for name in ("plain", "counts"):
            for criterion in ("reap", "reap-sum", "man", "msan", "hope"):
                self.assertIn("record with --capture ids,weights,norms", self.refused(f"{name}.moetrace", criterion))
        self.assertIn("has no gate weights", self.refused("counts.moetrace", "gate"))

    def test_counts_alone_serve_frequency(self):
        best = self.best(self.sums(self.rows("plain"), lambda r: [1] * K))
        for name in ("counts", "plain"):
            done = self.tool(
                "prune", "m.gguf", "--stats", f"{name}.moetrace", "--keep", str(KEEP), "--dry-run", "--json"
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"by frequency: {name}.moetrace has no norms", done.stderr)
            got = json.loads(done.stdout)
            self.assertEqual((got["criterion"], self.kept(got)), ("frequency", best))
        seer = self.plan("plain.moetrace", "--criterion", "seer")  # gate weights are there
        self.assertEqual(self.kept(seer), self.best(self.sums(self.rows("plain"), lambda r: r["weights"])))
        self.assertEqual(set(self.plan("counts.moetrace").get("others", {})), set())

    def test_a_trace_that_was_cut_or_is_empty(self):
        with open(self.path("norms.moetrace"), "rb") as file:
            whole = file.read()
        args = ["prune", "m.gguf", "--keep", str(KEEP), "--dry-run", "--stats"]
        for size, code, said in (
            (len(whole) - 300, 0, "was cut: "),
            (whole.index(b"CHNK" + (3).to_bytes(4, "little")), 1, "the trace is empty"),  # in front of its layout
        ):
            with open(self.path("cut.moetrace"), "wb") as file:
                file.write(whole[:size])
            done = self.tool(*args, "cut.moetrace")
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(said, done.stderr)

    def test_a_written_model_names_the_trace(self):
        self.done("prune", "m.gguf", "--stats", "norms.moetrace", "--keep", str(KEEP), "-o", "small.gguf", "-q")
        info = json.loads(self.done("info", "small.gguf", "--json").stdout)
        self.assertEqual(info["n_expert"], KEEP)
        with open(self.path("small.gguf"), "rb") as file:
            self.assertIn(b"norms.moetrace", file.read(1 << 16))  # moescope.prune.statistics

    def test_evaluate_takes_what_prune_names(self):
        """The command that prune ends with, and the same of the trace's own profile."""
        self.done("profile", "--from-trace", "gram.moetrace", "-o", "g.json", "-q")
        plan = ["evaluate", "-m", "m.gguf", "-t", "1", "--jsonl", "prompts.jsonl", "--criterion", "easy-ep"]
        got = [
            json.loads(self.done(*plan, "--keep", str(KEEP), "--json", "--stats", stats).stdout)["plans"]
            for stats in ("gram.moetrace", "g.moestats")
        ]
        self.assertEqual(*got)
        self.assertIn("--stats gram.moetrace", self.plan("gram.moetrace")["evaluate"])

    def test_a_trace_whose_model_moved(self):
        """Its size is all that is known of the model then: the same size is noted, another is warned of."""
        os.rename(self.path("m.gguf"), self.path("elsewhere.gguf"))
        self.addCleanup(os.rename, self.path("elsewhere.gguf"), self.path("m.gguf"))
        args = ["prune", "elsewhere.gguf", "--stats", "norms.moetrace", "--keep", str(KEEP), "--dry-run", "--json"]
        done = self.done(*args)
        self.assertIn("its size fits", done.stderr)
        self.assertFalse([w for w in json.loads(done.stdout)["warnings"] if "measured on another file" in w])
        subprocess.run(
            [MAKE_MODEL, "random", "--arch", "qwen3moe", "--layers", str(N_LAYER), "--experts", str(N_EXPERT)]
            + ["--top-k", str(K), "--type", "q8_0", "-o", self.path("other.gguf")],
            check=True,
            capture_output=True,
        )
        args[1] = "other.gguf"
        self.assertTrue([w for w in json.loads(self.done(*args).stdout)["warnings"] if "on another file" in w])


if __name__ == "__main__":
    unittest.main()
