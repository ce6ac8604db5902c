"""`moescope reorder` as a user has it: the reordered demo model routes to the same experts under their new numbers, what is
carried along equals what is measured anew, the reads are those of a count by hand, and nothing is lost on the way back."""

import csv
import filecmp
import io
import json
import lzma
import os
import subprocess
import tempfile
import unittest

import moescope
import numpy as np

MOESCOPE = os.environ["MOESCOPE_BIN"]
SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
DEMO = os.path.join(SOURCE, "models", "demo.gguf")
GOLDEN = os.path.join(SOURCE, "tests", "golden", "answers", "inputs")


def run(*args, code=0):
    done = subprocess.run([MOESCOPE, *map(str, args)], capture_output=True, text=True, errors="replace", timeout=600)
    assert done.returncode == code, f"{args}: exit {done.returncode}, {done.stderr}"
    return done


class Reorder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.corpus = cls.path("corpus.jsonl")
        with open(os.path.join(SOURCE, "models", "prompts.jsonl"), encoding="utf-8") as f:
            lines = f.readlines()
        with open(cls.corpus, "w", encoding="utf-8") as out:
            out.writelines(lines[::12])
        cls.trace = cls.record(DEMO, "before")
        run("profile", "-q", "-m", DEMO, "--jsonl", cls.corpus, "--output", cls.path("p.json"), "-t", 1)
        cls.model = cls.path("new.gguf")
        options = ["--trace", cls.trace, "--stats", cls.path("p.moestats"), "--page", 512, "--readahead", "32K"]
        cls.said = json.loads(run("reorder", DEMO, *options, "-o", cls.model, "--json").stdout)
        cls.orders = {int(il): order for il, order in cls.said["orders"].items()}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def record(cls, model, name):
        path = cls.path(name + ".moetrace")
        run("run", "-q", "-m", model, "--jsonl", cls.corpus, "-n", 8, "--temp", 0, "-t", 1, "--ignore-eos", "-o", path)
        return path

    def unpacked(self, name):
        with lzma.open(os.path.join(GOLDEN, name + ".xz")) as f, open(self.path(name), "wb") as out:
            out.write(f.read())
        return self.path(name)

    def planted(self):
        model, trace = self.unpacked("planted.gguf"), self.path("planted.moetrace")
        prompt = "every expert has its turn 0123456789"
        run("run", "-q", "-m", model, "-p", prompt, "-n", 30, "-t", 1, "--force", "-o", trace)
        return model, trace

    def test_experts_are_in_another_order_each_once(self):
        self.assertEqual(len(self.orders), 6)
        for order in self.orders.values():
            self.assertEqual(sorted(order), list(range(32)))
            self.assertNotEqual(order, sorted(order))

    def test_traces_are_equal_under_the_permutation(self):
        before, after = moescope.open(self.trace), moescope.open(self.record(self.model, "after"))
        self.assertTrue((before.tokens.token == after.tokens.token).all())
        for il, order in self.orders.items():
            old, new = before.layers[il], after.layers[il]
            self.assertTrue((np.asarray(order)[new.ids] == old.ids).all(), il)
            # The softmax over all experts is summed in their order: its last bit, which F16 keys turn into 1e-3 further on.
            tolerance = 4e-7 if il == 0 else 5e-3
            self.assertTrue(np.allclose(new.weights, old.weights, rtol=tolerance, atol=0), il)

    def test_evaluate_tells_experts_by_their_first_ids(self):
        run("prune", self.model, "--criterion", "random", "--keep", 31, "-o", self.path("less.gguf"))
        shares = []
        for other in (self.model, self.path("less.gguf")):
            said = run(
                "evaluate",
                "-m",
                DEMO,
                "--jsonl",
                os.path.join(SOURCE, "models", "prompts.jsonl"),
                "--limit",
                6,
                "--against",
                other,
                "--json",
                "-q",
            )
            shares.append(json.loads(said.stdout)["plans"][0]["displaced"])
        self.assertLess(shares[0], 0.005)  # the last bit of a gate, which F16 keys turn into more
        self.assertGreater(shares[1], 0.005)
        self.assertLess(shares[1], 0.2)

    def test_the_way_back_gives_the_first_file(self):
        back = self.path("back.gguf")
        run("reorder", self.model, "--inverse", "-o", back)
        self.assertTrue(filecmp.cmp(back, DEMO, shallow=False))

    def test_twice_reordered_still_goes_back_to_the_first(self):
        twice, back = self.path("twice.gguf"), self.path("back2.gguf")
        run("reorder", self.model, "--trace", self.record(self.model, "again"), "-o", twice)
        self.assertFalse(filecmp.cmp(twice, self.model, shallow=False))
        run("reorder", twice, "--inverse", "-o", back)
        self.assertTrue(filecmp.cmp(back, DEMO, shallow=False))

    def test_a_pruned_model_keeps_its_provenance(self):
        small, new, back = self.path("small.gguf"), self.path("small-new.gguf"), self.path("small-back.gguf")
        run("prune", DEMO, "--stats", self.path("p.moestats"), "--keep", 20, "-o", small)
        run("reorder", small, "--trace", self.record(small, "small"), "-o", new)
        run("reorder", new, "--inverse", "-o", back)
        self.assertTrue(filecmp.cmp(back, small, shallow=False))
        # Traces know which experts of the full model theirs are: beside it, both route layer 0 alike.
        full, overlaps = self.record(DEMO, "full"), []
        for name in (small, new):
            trace = self.record(name, "of-" + os.path.basename(name))
            os.rename(name, name + ".gone")
            got = json.loads(run("analyze", "compare", full, trace, "--json").stdout)
            overlaps.append(next(l["overlap"] for l in got["layers"] if l["layer"] == 0))
            self.assertEqual(got["layers"][0]["overlap_chance"], 4 / 32)
        self.assertEqual(*overlaps)
        self.assertGreater(overlaps[0], 0.5)

    def test_a_carried_profile_is_what_profiling_anew_gives(self):
        run("profile", "-q", "-m", self.model, "--jsonl", self.corpus, "--output", self.path("anew.json"), "-t", 1)
        carried, anew = moescope.open_profile(self.path("new.moestats")), moescope.open_profile(
            self.path("anew.moestats")
        )
        first = moescope.open_profile(self.path("p.moestats"))
        for il, order in self.orders.items():
            a, b = carried.layers[il], anew.layers[il]
            self.assertTrue((a.count == b.count).all(), il)
            self.assertTrue((a.count == first.layers[il].count[order]).all(), il)
            for name in ("reap", "ean", "mean_gate"):
                self.assertTrue(np.allclose(getattr(a, name), getattr(b, name), rtol=5e-3), (il, name))
        said = run("prune", self.model, "--stats", self.path("new.moestats"), "--keep", 20, "--dry-run")
        self.assertNotIn("measured on", said.stderr)  # prune knows it for this file's

    def test_a_carried_imatrix_counts_the_same_experts(self):
        planted, trace = self.planted()
        imatrix, new = self.unpacked("planted.imatrix.gguf"), self.path("planted-new.gguf")
        said = run("reorder", planted, "--trace", trace, "--imatrix", imatrix, "-o", new, "--json").stdout
        orders = json.loads(said)["orders"]

        def counts(path):
            rows = json.loads(run("analyze", "frequency", path, "--json").stdout)["experts"]
            return {(r["layer"], r["expert"]): r["count"] for r in rows}

        old, moved = counts(imatrix), counts(self.path("planted-new.imatrix.gguf"))
        for (il, e), n in moved.items():
            self.assertEqual(n, old[il, orders[str(il)][e]])
        self.assertEqual(len(moved), len(old))

    def test_reads_are_those_of_a_count_by_hand(self):
        """Slices of every decoded token, as the map has them, in pages of 512 bytes, joined over gaps of up to 32 KiB."""
        trace = moescope.open(self.trace)
        decoded = set(np.flatnonzero(trace.tokens.phase == 1))
        place = {il: {old: new for new, old in enumerate(order)} for il, order in self.orders.items()}
        matrices = {}
        for row in csv.DictReader(io.StringIO(run("map", DEMO, "--absolute").stdout)):
            if row["tensor_name"].endswith("_exps.weight[0]"):
                matrices.setdefault(int(row["layer_id"]), []).append((int(row["file_offset"]), int(row["size_bytes"])))

        def count(readahead, place_of):
            reads = bytes_ = 0
            for il in self.orders:
                block = trace.layers[il]
                for t, ids in zip(block.token_index, block.ids):
                    if t not in decoded:
                        continue
                    for begin, size in matrices[il]:
                        pages = sorted(
                            ((begin + p * size) // 512, -(-(begin + (p + 1) * size) // 512))
                            for p in (place_of(il, int(e)) for e in ids)
                        )
                        end = None
                        for a, b in pages:
                            joined = end is not None and 512 * a <= 512 * end + readahead
                            reads += not joined
                            bytes_ += 512 * (b - (end if joined else a))
                            end = b
            return reads / len(decoded), bytes_ / len(decoded)

        for said in self.said["reads"]:
            for key, place_of in (("before", lambda il, e: e), ("after", lambda il, e: place[il][e])):
                reads, bytes_ = count(said["readahead"], place_of)
                self.assertAlmostEqual(said[key]["reads_per_token"], reads, places=9, msg=(key, said["readahead"]))
                self.assertAlmostEqual(said[key]["bytes_per_token"], bytes_, places=6, msg=(key, said["readahead"]))
            self.assertLess(said["after"]["reads_per_token"], said["before"]["reads_per_token"])
        self.assertEqual([r["readahead"] for r in self.said["reads"]], [0, 32768])

    def test_a_dry_run_writes_nothing(self):
        before = sorted(os.listdir(self.folder.name))
        said = run("reorder", DEMO, "--trace", self.trace, "--dry-run").stdout
        self.assertIn("reads/token", said)
        self.assertEqual(sorted(os.listdir(self.folder.name)), before)

    def test_bad_input_is_one_line_and_leaves_nothing(self):
        out = self.path("never.gguf")
        wrong = os.path.join(GOLDEN, "pruned.moetrace")
        for options, code, words in (
            (["--trace", self.trace], 2, "-o OUT.gguf"),
            (["-o", out], 2, "--trace"),
            (["--trace", self.trace, "--inverse", "-o", out], 2, "--trace"),
            (["--inverse", "-o", out], 1, "never reordered"),
            (["--trace", wrong, "-o", out], 1, "experts"),
            (["--trace", os.path.join(GOLDEN, "counts.moetrace"), "-o", out], 1, "counts"),
            (["--trace", self.trace, "-o", DEMO, "--force"], 2, ""),
            (["--trace", self.trace, "--page", "0", "-o", out], 2, "--page"),
        ):
            done = run("reorder", DEMO, *options, code=code)
            errors = [line for line in done.stderr.splitlines() if "note" not in line and "warning" not in line]
            self.assertIn(words, " ".join(errors), options)
            self.assertFalse(os.path.exists(out), options)

    def test_a_profile_of_another_model_is_refused_before_anything_is_written(self):
        planted, trace = self.planted()
        out = self.path("refused.gguf")
        options = ["--trace", trace, "--stats", self.path("p.moestats"), "-o", out]
        self.assertIn("another model", run("reorder", planted, *options, code=1).stderr)
        self.assertFalse(os.path.exists(out))


if __name__ == "__main__":
    unittest.main(verbosity=2)
