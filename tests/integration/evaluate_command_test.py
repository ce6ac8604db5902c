"""`moescope evaluate` as a user meets it: no change is no damage, the figures are those of numpy and of llama-perplexity, it goes
on after a kill, and bad input ends in one line."""

import json
import math
import os
import re
import signal
import shutil
import subprocess
import sys
import time
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from tool_case import ToolCase  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
PERPLEXITY = os.path.join(os.environ["LLAMA_CPP_BIN"], "llama-perplexity")
N_EXPERT = 8
THREADS = ("-t", "2")


def words(seed, n):
    """Text whose tokens depend on the seed alone."""
    rng = np.random.default_rng(seed)
    return " ".join("".join(chr(97 + c) for c in rng.integers(0, 26, rng.integers(1, 9))) for _ in range(n))


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


class Evaluate(ToolCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = cls.path("model.gguf")
        cls.planted = cls.path("planted.gguf")
        cls.pruned = cls.path("pruned.gguf")
        subprocess.run([MAKE_MODEL, "random", "--experts", str(N_EXPERT), "-o", cls.model], check=True)
        subprocess.run([MAKE_MODEL, "planted", "-o", cls.planted], check=True)
        cls.run_tool("prune", cls.model, "--criterion", "random", "--keep", 5, "-o", cls.pruned, "-q")
        cls.text = cls.path("text.txt")
        with open(cls.text, "w") as out:
            out.write(words(1, 700))
        cls.corpus = cls.path("corpus.jsonl")
        with open(cls.corpus, "w") as out:
            for i in range(24):
                label = ("code", "prose", "sums")[i % 3]
                out.write(json.dumps({"text": words(100 + i, 6 + i % 7), "domain": label}) + "\n")

    @classmethod
    def run_tool(cls, *args, code=0, **options):
        done = subprocess.run([MOESCOPE, *map(str, args)], capture_output=True, text=True, timeout=600, **options)
        assert done.returncode == code, f"{args}: exit {done.returncode}, {done.stderr}"
        return done

    @classmethod
    def evaluate(cls, *args, code=0, model=None, **options):
        return cls.run_tool("evaluate", "-m", model or cls.model, *THREADS, *args, code=code, **options)

    @staticmethod
    def read(path):
        with open(path) as f:
            return json.load(f)

    def figures(self, *args, **options):
        return json.loads(self.evaluate(*args, "--json", "-q", **options).stdout)

    # ---- what the figures are

    def assert_nothing(self, row):
        self.assertGreater(row["tokens"], 0)
        for key in ("kl", "delta_nll", "displaced"):
            for bound in ("", "_low", "_high"):
                self.assertEqual(row[key + bound], 0, key + bound)
        self.assertEqual((row["same_top"], row["top5"]), (1, 1))
        self.assertEqual(row["bits_before"], row["bits_after"])

    def test_no_change_is_no_damage(self):
        corpus = ("--jsonl", self.corpus, "--label-key", "domain")
        for plan in (("--against", self.model), ("--only", f"*:0-{N_EXPERT - 1}")):
            found = self.figures(*corpus, *plan)
            for row in found["plans"] + found["plan_labels"]:
                self.assert_nothing(row)
            self.assertEqual([r["label"] for r in found["plan_labels"]], ["code", "prose", "sums"])

    def compare_with_numpy(self, row, folder, skip, *, model):
        shape = self.read(os.path.join(folder, "shape.json"))
        full, changed = (
            np.fromfile(os.path.join(folder, name), "<f4").reshape(shape["rows"], shape["n_vocab"]).astype(np.float64)
            for name in ("full.f32", "changed.f32")
        )
        sample, position, target = np.fromfile(os.path.join(folder, "rows.i32"), "<i4").reshape(-1, 3).T
        p, q, i = log_softmax(full), log_softmax(changed), np.arange(len(target))
        before, after = -p[i, target], -q[i, target]
        best = [np.argsort(-x, axis=1, kind="stable")[:, :5] for x in (full, changed)]
        want = {
            "tokens": len(target),
            "kl": (np.exp(p) * (p - q)).sum(axis=1).mean(),
            "delta_nll": (after - before).mean(),
            "bits_before": before.mean() / math.log(2),
            "bits_after": after.mean() / math.log(2),
            "same_top": (best[0][:, 0] == best[1][:, 0]).mean(),
            "top5": np.mean([len(set(a) & set(b)) / 5 for a, b in zip(*best)]),
        }
        for key, value in want.items():
            self.assertAlmostEqual(row[key], value, delta=1e-6 * max(1, abs(value)), msg=key)
        self.assertEqual(position.min(), skip)
        # Each position of a sample is there once, and what it predicts is the token at the next one.
        places = dict(zip(zip(sample, position), target))
        self.assertEqual(len(places), len(target))
        # The full model's likeliest guesses are no worse than chance would have it: the logits belong to these rows.
        self.assertGreater(row["kl"], 0)

    def test_figures_are_those_of_numpy(self):
        for plan in (("--against", self.pruned), ("--omit", "0:1-2,1:3"), ("--router-bias", self.bias_file())):
            folder = self.path("dump")
            found = self.figures("--jsonl", self.corpus, *plan, "--dump-logits", folder)
            self.compare_with_numpy(found["plans"][0], folder, 0, model=self.model)
            shutil.rmtree(folder)
        found = self.figures("--text", self.text, "-c", 64, "--omit", "0:1", "--dump-logits", self.path("dump"))
        self.compare_with_numpy(found["plans"][0], self.path("dump"), 32, model=self.model)
        self.assertEqual(found["plans"][0]["tokens"], found["samples"] * 31)

    def bias_file(self):
        path = self.path("bias.json")
        with open(path, "w") as out:
            json.dump({"0": {"2": -1.5, "3": 0.5}}, out)
        return path

    def test_a_mask_costs_what_the_pruned_file_costs(self):
        corpus = ("--jsonl", self.corpus, "--label-key", "domain")
        kept = self.path("ids.json")
        plan = json.loads(
            self.run_tool("prune", self.model, "--criterion", "random", "--keep", 5, "--dry-run", "--json").stdout
        )
        with open(kept, "w") as out:
            json.dump({il: layer["kept"] for il, layer in plan["layers"].items()}, out)
        file = self.figures(*corpus, "--against", self.pruned)
        for options in (("--keep-ids", kept), ("--criterion", "random", "--keep", "5")):
            mask = self.figures(*corpus, *options)
            for a, b in zip(file["plans"] + file["plan_labels"], mask["plans"] + mask["plan_labels"]):
                for key in ("kl", "delta_nll", "bits_after", "same_top", "displaced"):
                    self.assertAlmostEqual(a[key], b[key], delta=2e-4 * max(1, abs(a[key])), msg=key)
        self.assertGreater(file["plans"][0]["displaced"], 0)
        self.assertAlmostEqual(mask["plans"][0]["displaced_by_chance"], 3 / N_EXPERT)

    def test_displaced_selections_of_a_planted_model(self):
        # What the planted model selects depends on the text alone, so an omitted expert displaces exactly the
        # selections that a profile counts for it, and no others.
        profile = self.path("profile.json")
        self.run_tool("profile", "-m", self.planted, "--jsonl", self.corpus, "-q", "-o", profile, "--force", *THREADS)
        counts = self.read(profile)
        layers = sorted(counts, key=int)
        omitted = int(np.argmax(counts[layers[0]]["activation_counts"]))
        gone = counts[layers[0]]["activation_counts"][omitted]
        found = self.figures("--jsonl", self.corpus, "--omit", f"{layers[0]}:{omitted}", model=self.planted)
        selections = sum(sum(counts[layer]["activation_counts"]) for layer in layers[:-1])
        # The last layer computes only the rows whose logits are asked for: all but each sample's last.
        last = counts[layers[-1]]
        k = sum(last["activation_counts"]) / last["total_tokens"]
        selections += k * found["plans"][0]["tokens"]
        self.assertGreater(gone, 0)
        self.assertAlmostEqual(found["plans"][0]["displaced"], gone / selections, delta=1e-9)

    def test_equals_llama_perplexity(self):
        if not os.path.exists(PERPLEXITY):
            self.skipTest("no llama-perplexity: build the target llama_programs")
        base = self.path("base.kld")
        common = ["-c", "64", "-b", "256", "-ub", "256", "--kl-divergence-base", base, *THREADS]
        subprocess.run([PERPLEXITY, "-m", self.model, "-f", self.text, *common], check=True, capture_output=True)
        command = [PERPLEXITY, "-m", self.pruned, *common, "--kl-divergence"]
        for _ in range(3):  # its log thread has been seen to end before the last lines were written
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            said = done.stdout + done.stderr
            if "Same top p:" in said:
                break

        def mean(name):
            return float(re.search(re.escape(name) + r"\s*:\s*(-?[0-9.]+)", said).group(1))

        row = self.figures("--text", self.text, "-c", 64, "--against", self.pruned)["plans"][0]
        # It prints six digits, and keeps the base's log-probabilities in 16 bits: 16/65535 apart.
        after, before = (math.exp(row[k] * math.log(2)) for k in ("bits_after", "bits_before"))
        self.assertAlmostEqual(after, mean("Mean PPL(Q)"), delta=1e-5 * after)
        self.assertAlmostEqual(before, mean("Mean PPL(base)"), delta=2e-4 * before)
        self.assertAlmostEqual(row["delta_nll"], mean("Mean ln(PPL(Q)/PPL(base))"), delta=2e-4)
        self.assertAlmostEqual(row["kl"], mean("Mean    KLD"), delta=2e-4)
        same = float(re.search(r"Same top p:\s*([0-9.]+)", said).group(1)) / 100
        self.assertAlmostEqual(row["same_top"], same, delta=0.01)

    def test_a_sweep_is_what_its_plans_are_alone(self):
        stats = self.path("stats.json")
        self.run_tool("profile", "-m", self.model, "--jsonl", self.corpus, "-q", "-o", stats, "--force", *THREADS)
        options = ("--jsonl", self.corpus, "--stats", self.path("stats.moestats"))
        sweep = self.figures(*options, "--criterion", "reap,frequency", "--keep", "7,6")["plans"]
        self.assertEqual(
            [(r["criterion"], r["keep"]) for r in sweep], [("reap", 7), ("reap", 6), ("frequency", 7), ("frequency", 6)]
        )
        for row in sweep:
            alone = self.figures(*options, "--criterion", row["criterion"], "--keep", row["keep"])["plans"][0]
            for key in ("kl", "bits_after", "same_top", "displaced", "kl_low"):
                self.assertAlmostEqual(row[key], alone[key], delta=1e-6, msg=key)

    def test_a_sweep_of_prune_costs_what_evaluate_says(self):
        stats = self.path("sweep.json")
        self.run_tool("profile", "-m", self.model, "--jsonl", self.corpus, *THREADS, "-q", "-o", stats)
        text = ["--jsonl", self.corpus, "--label-key", "domain"]
        plans = ["--stats", stats.replace(".json", ".moestats"), "--criterion", "reap-sum"]
        want = json.loads(self.evaluate(*text, *plans, "--keep", "4,6", "--json", "-q").stdout)["plans"]
        sweep = [
            "prune",
            self.model,
            *plans,
            "--sweep",
            "4,6",
            "--evaluate",
            self.corpus,
            *text[2:],
            *THREADS,
            "--json",
        ]
        budget = (want[0]["delta_nll_high"] + want[1]["delta_nll_high"]) / 2
        got = json.loads(self.run_tool(*sweep, "--budget-nll", max(budget, 1e-9)).stdout)
        for plan, other in zip(got["plans"], want):
            for key in ("delta_nll", "kl"):
                found = [plan["cost"][key][bound] for bound in ("value", "low", "high")]
                self.assertEqual(found, [other[key], other[key + "_low"], other[key + "_high"]])
        within = [p["n_keep"] for p in got["plans"] if p["cost"]["delta_nll"]["high"] <= max(budget, 1e-9)]
        self.assertEqual(got["recommended"], min(within) if within else None)
        none = json.loads(self.run_tool(*sweep, "--budget-kl", 1e-12).stdout)
        self.assertIsNone(none["recommended"])
        for wrong in (["--keep", "4"], ["--sweep", "4", "--protect", "1"], ["--sweep", "4", "--budget-nll", "-1"]):
            refused = ["prune", self.model, *plans, *wrong, "--evaluate", self.corpus, "--dry-run"]
            self.assertEqual(len(self.run_tool(*refused, code=2).stderr.strip().splitlines()), 1)

    def test_samples_longer_than_a_ubatch(self):
        # The planted model's routing has a margin, so that what a ubatch rounds does not change it.
        options = ("--jsonl", self.corpus, "--omit", "0:1")
        one = self.figures(*options, model=self.planted)["plans"][0]
        for plans in (
            (),
            ("--keep-ids", self.ids_of_all(self.planted)),
        ):  # one plan computes in step, several keep logits
            many = self.figures(*options, "-ub", "16", *plans, model=self.planted)["plans"][0]
            for key in ("tokens", "kl", "delta_nll", "displaced"):
                self.assertAlmostEqual(one[key], many[key], delta=1e-5, msg=key)

    def ids_of_all(self, model):
        path = self.path("all.json")
        plan = json.loads(
            self.run_tool(
                "prune", model, "--criterion", "random", "--keep", self.n_expert(model), "--dry-run", "--json"
            ).stdout
        )
        with open(path, "w") as out:
            json.dump({il: layer["kept"] for il, layer in plan["layers"].items()}, out)
        return path

    def n_expert(self, model):
        return json.loads(self.run_tool("info", model, "--json").stdout)["n_expert"]

    # ---- how it goes on, and is divided

    def each(self, name, *options, **how):
        path = self.path(name)
        return path, ["--jsonl", self.corpus, "--label-key", "domain", "--each", "-o", path, "-q", *options]

    def same_document(self, a, b):
        x, y = (self.read(path) for path in (a, b))
        self.assertEqual(x.keys(), y.keys())
        self.assertEqual(len(x["experts"]), len(y["experts"]))
        for r, s in zip(x["experts"] + x["expert_labels"], y["experts"] + y["expert_labels"]):
            self.assertEqual(r, s)

    def test_each_goes_on_after_a_kill(self):
        whole, options = self.each("whole.json")
        self.evaluate(*options)
        cut, options = self.each("cut.json", "-ub", "64", "--save-every", "0")
        reference, same = self.each("reference.json", "-ub", "64")
        self.evaluate(*same)
        command = [MOESCOPE, "evaluate", "-m", self.model, *THREADS, *options]
        kills = 0
        for _ in range(40):
            running = subprocess.Popen(command + ["--resume"], stderr=subprocess.DEVNULL)
            begin, sums = time.monotonic(), self.path("cut.moeval")
            before = os.stat(sums).st_mtime_ns if os.path.exists(sums) else 0
            while running.poll() is None and time.monotonic() - begin < 60:
                if os.path.exists(sums) and os.stat(sums).st_mtime_ns != before:
                    break
                time.sleep(0.002)
            if running.poll() is not None:
                break
            running.send_signal(signal.SIGKILL)
            running.wait()
            kills += 1
            if kills == 3:
                break
        self.assertGreater(kills, 0)
        self.evaluate(*options, "--resume")
        self.same_document(reference, cut)
        self.assertEqual(len(self.read(whole)["experts"]), len(self.read(cut)["experts"]))

    def test_a_checkpoint_of_something_else_is_refused(self):
        path, options = self.each("other.json")
        self.evaluate(*options)
        for change in (("--limit", "5"), ("-c", "512"), ("--layers", "0")):
            said = self.evaluate(*options, "--resume", *change, code=1).stderr
            self.assertIn("cannot be resumed", said)
            self.assertEqual(len(said.strip().splitlines()), 1)

    def big_corpus(self):
        path = self.path("big.jsonl")
        with open(path, "w") as out:
            for i in range(600):  # three stretches of 256 samples
                out.write(json.dumps({"text": words(i, 3), "domain": "ab"[i % 2]}) + "\n")
        return path

    def assert_sums_match(self, a, b):
        x, y = (self.read(path) for path in (a, b))
        for r, s in zip(x["plans"] + x["plan_labels"], y["plans"] + y["plan_labels"]):
            for key in ("samples", "tokens", "kl", "kl_low", "kl_high", "delta_nll", "displaced"):
                self.assertAlmostEqual(r[key], s[key], delta=1e-9, msg=key)

    def test_shards_and_ranks_add_up_to_one_run(self):
        options = ("--jsonl", self.big_corpus(), "--label-key", "domain", "--omit", "0:1", "-q")
        self.evaluate(*options, "-o", self.path("one.json"))
        for i in range(2):
            self.evaluate(*options, "-o", self.path(f"part{i}.json"), "--shard", f"{i}/2")
        parts = [self.path(f"part{i}.moeval") for i in range(2)]
        self.run_tool("merge", *parts, "-o", self.path("merged.moeval"), "-q")
        self.assert_sums_match(self.path("one.json"), self.path("merged.json"))
        self.run_tool("merge", parts[0], parts[0], "-o", self.path("twice.moeval"), code=1)

        linked = subprocess.run(["ldd", MOESCOPE], capture_output=True, text=True, check=True).stdout
        if "libmpi" not in linked or shutil.which("mpirun") is None:
            self.skipTest("this build has no MPI")
        command = [
            "mpirun",
            "--allow-run-as-root",
            "--oversubscribe",
            "-n",
            "2",
            MOESCOPE,
            "evaluate",
            "-m",
            self.model,
        ]
        subprocess.run([*command, "-t", "1", *options, "-o", self.path("ranks.json")], check=True, timeout=300)
        self.assert_sums_match(self.path("one.json"), self.path("ranks.json"))
        self.assertEqual([n for n in os.listdir(self.folder) if ".rank" in n], [])

    def test_a_budget_ends_it_with_what_is_known(self):
        options = (
            "--jsonl",
            self.big_corpus(),
            "--each",
            "-o",
            self.path("budget.json"),
            "--budget",
            "3s",
            "-ub",
            "64",
        )
        done = self.run_tool("evaluate", "-m", self.model, *THREADS, *options)
        found = self.read(self.path("budget.json"))
        self.assertEqual(found["complete"], 0)
        self.assertLess(found["samples"], 600)
        self.assertIn("not finished", done.stdout)

    def test_a_shard_without_samples_is_no_failure(self):
        parts = []
        for i in range(2):
            parts.append(self.path(f"few{i}.moeval"))
            options = ("--jsonl", self.corpus, "--omit", "0:1", "--shard", f"{i}/2", "-o", self.path(f"few{i}.json"))
            said = self.evaluate(*options, "--force").stderr
        self.assertIn("no samples are in this shard", said)
        self.run_tool("merge", *parts, "-o", self.path("few.moeval"))
        whole = self.figures("--jsonl", self.corpus, "--omit", "0:1")
        self.assertEqual(self.read(self.path("few.json"))["plans"], whole["plans"])

    def test_says_when_all_is_skipped(self):
        options = ("--jsonl", self.corpus, "--omit", "0:1", "--skip", "5000")
        self.assertIn("longer than what is skipped", self.evaluate(*options, code=1).stderr)

    def test_a_context_shorter_than_the_sequences_at_once(self):
        found = self.figures("--jsonl", self.corpus, "--omit", "0:1", "-c", "8")
        self.assertEqual(found["samples"], 24)

    def test_a_label_without_predictions_is_not_the_worst(self):
        path = self.path("short-labels.jsonl")
        with open(path, "w") as out:
            for label, n in (("a", 30), ("b", 1), ("c", 30)):
                out.write(json.dumps({"text": words(n, n), "domain": label}) + "\n")
        options = ("--jsonl", path, "--label-key", "domain", "--skip", "20", "-t", "1")
        said = self.evaluate(*options, "--omit", "0:1").stdout
        self.assertRegex(" ".join(said.split()), r"It hurts [ac] most \(KL [0-9]")
        self.assertIn("1 sample no longer than what is skipped", " ".join(said.split()))
        for row in self.figures(*options, "--each", "--layers", "0")["most_damage"]:
            self.assertIn(row["worst_label"], ("a", "c"))

    def test_a_long_label_is_cut_rather_than_its_column_left_out(self):
        path = self.path("long-labels.jsonl")
        with open(path, "w") as out:
            for label in ("a" * 200, "b" * 200):
                out.write(json.dumps({"text": words(3, 9), "domain": label}) + "\n")
        said = self.evaluate("--jsonl", path, "--label-key", "domain", "--omit", "0:1").stdout
        heading, first = said[said.index("By label\n") :].splitlines()[1:3]
        self.assertEqual(heading.split()[:3], ["plan", "label", "tokens"])
        self.assertIn("a" * 39 + "… ", first)

    # ---- bad input

    def test_bad_input_ends_in_one_line(self):
        corpus = ("--jsonl", self.corpus)
        short = self.path("short.txt")
        open(short, "w").close()
        short_jsonl = self.path("short.jsonl")
        with open(short_jsonl, "w") as out:
            out.write('{"text": ""}\n')
        other = os.path.join(
            os.environ["MOESCOPE_SOURCE_DIR"], "models", "demo.gguf"
        )  # with a vocabulary of 1024 tokens
        cases = [
            ((*corpus,), 2),
            (("--omit", "0:1"), 2),
            ((*corpus, "--text", self.text, "--omit", "0:1"), 2),
            ((*corpus, "--omit", "0:8"), 2),
            ((*corpus, "--omit", "99:0"), 2),
            ((*corpus, "--omit", "zero"), 2),
            ((*corpus, "--omit", "0:0-7"), 2),
            ((*corpus, "--omit", "0:0-6"), 2),
            ((*corpus, "--omit", "0:1", "--against", self.pruned), 2),
            ((*corpus, "--each", "--layers", "77"), 2),
            ((*corpus, "--layers", "0", "--omit", "0:1"), 2),
            ((*corpus, "--criterion", "reap"), 2),
            ((*corpus, "--criterion", "reap", "--keep", "4"), 2),
            ((*corpus, "--criterion", "best", "--keep", "4"), 2),
            ((*corpus, "--criterion", "random", "--keep", "1"), 1),
            ((*corpus, "--keep-ids", self.path("missing.json")), 1),
            ((*corpus, "--against", self.path("missing.gguf")), 1),
            ((*corpus, "--against", other), 1),
            (("--jsonl", self.path("missing.jsonl"), "--omit", "0:1"), 1),
            (("--jsonl", short_jsonl, "--omit", "0:1"), 1),
            (("--text", short, "--omit", "0:1"), 1),
            ((*corpus, "--omit", "0:1", "--skip", "5000"), 1),
            ((*corpus, "--omit", "0:1", "--budget", "soon"), 2),
            ((*corpus, "--omit", "0:1", "--resume"), 2),
            ((*corpus, "--omit", "0:1", "--shard", "2/2", "-o", self.path("x.json")), 2),
            ((*corpus, "--each", "--dump-logits", self.path("x")), 2),
            ((*corpus, "--omit", "0:1", "-o", self.corpus, "--force"), 2),
        ]
        before = sorted(os.listdir(self.folder))
        for args, code in cases:
            said = self.evaluate(*args, code=code).stderr
            self.assertEqual(len(said.strip().splitlines()), 1, f"{args}: {said}")
            self.assertTrue(said.startswith("moescope: "), said)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def test_a_result_is_not_overwritten(self):
        path = self.path("there.json")
        self.evaluate("--jsonl", self.corpus, "--omit", "0:1", "-o", path, "-q")
        self.assertIn("exists", self.evaluate("--jsonl", self.corpus, "--omit", "0:1", "-o", path, code=1).stderr)

    # ---- what is shown

    def test_charts(self):
        folder = self.path("charts")
        options = ("--jsonl", self.corpus, "--label-key", "domain", "--charts", folder, "-q")
        self.evaluate(*options, "--each", "--criterion", "random", "--keep", "6,4")
        for name in ("damage_curves", "damage_experts"):
            with open(os.path.join(folder, name + ".svg")) as f:
                self.assertTrue(f.read().lstrip().startswith("<?xml"))
            with open(os.path.join(folder, name + ".png"), "rb") as f:
                self.assertEqual(f.read(4), b"\x89PNG")
        there = self.evaluate(*options[:-1], "--criterion", "random", "--keep", "6", code=1)
        self.assertIn("exists", there.stderr)
        self.assertIn("random, 6 kept: predictions move", there.stdout)


if __name__ == "__main__":
    unittest.main()
