"""moescope map and moescope prune, as a user sees them: what is printed, what is written, and the exit codes."""

import csv
import io
import json
import os
import subprocess
import tempfile
import unittest

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
N_EXPERT, TOP_K = 8, 2


def run(*args, code=0):
    done = subprocess.run([MOESCOPE, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == code, f"{args}: exit {done.returncode}, {done.stderr}"
    return done


class Command(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.model = cls.path("model.gguf")
        subprocess.run(
            [MAKE_MODEL, "random", "--experts", str(N_EXPERT), "--top-k", str(TOP_K), "-o", cls.model], check=True
        )
        cls.layers = sorted({int(row["layer_id"]) for row in cls.map_rows(cls.model) if "_exps" in row["tensor_name"]})
        # Layer il loves expert il most and its right neighbours less and less.
        stats = {str(il): {"reap": [(il - e) % N_EXPERT for e in range(N_EXPERT)]} for il in cls.layers}
        cls.stats = cls.path("expert_stats.json")
        with open(cls.stats, "w") as out:
            json.dump(stats, out)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def map_rows(cls, model, *options):
        return list(csv.DictReader(io.StringIO(run("map", model, *options).stdout)))


class Map(Command):
    def test_whole_tensors_and_experts_hold_the_same_bytes(self):
        split, whole = self.map_rows(self.model), self.map_rows(self.model, "--no-split-experts")
        self.assertEqual(sum(int(r["size_bytes"]) for r in split), sum(int(r["size_bytes"]) for r in whole))
        n_matrix = sum(r["tensor_name"].endswith("_exps.weight") for r in whole)
        self.assertEqual(len(split) - len(whole), n_matrix * (N_EXPERT - 1))

    def test_a_slice_holds_the_bytes_it_says(self):
        row = next(
            r for r in self.map_rows(self.model, "--absolute") if r["tensor_name"].endswith("ffn_up_exps.weight[3]")
        )
        base = next(
            r
            for r in self.map_rows(self.model, "--absolute", "--no-split-experts")
            if r["tensor_name"] + "[3]" == row["tensor_name"]
        )
        with open(self.model, "rb") as f:
            f.seek(int(base["file_offset"]))
            tensor = f.read(int(base["size_bytes"]))
            f.seek(int(row["file_offset"]))
            piece = f.read(int(row["size_bytes"]))
        self.assertEqual(piece, tensor[3 * len(piece) : 4 * len(piece)])
        self.assertEqual(len(piece) * N_EXPERT, len(tensor))

    def test_formats(self):
        data = json.loads(run("map", self.model, "-f", "json").stdout)
        self.assertEqual(len(data["tensors"]), len(self.map_rows(self.model)))
        totals = json.loads(run("map", self.model, "--totals", "--json").stdout)
        self.assertEqual(totals, data["totals"])
        self.assertIn("read per decoded token", run("map", self.model, "--totals").stdout)

    def test_files_are_not_overwritten(self):
        out = self.path("map.csv")
        run("map", self.model, "-o", out)
        before = os.stat(out).st_mtime_ns
        self.assertIn("exists", run("map", self.model, "-o", out, code=1).stderr)
        self.assertEqual(os.stat(out).st_mtime_ns, before)
        run("map", self.model, "-o", out, "--force")

    def test_exit_codes(self):
        run("map", self.model, "--check")
        cut = self.path("cut.gguf")
        with open(self.model, "rb") as source, open(cut, "wb") as out:
            out.write(source.read()[:-4096])
        checked = run("map", cut, "--check", code=1)
        self.assertIn("outside the file", checked.stdout)
        self.assertEqual(len(checked.stderr.strip().splitlines()), 1)
        run("map", cut, code=1)
        run("map", self.path("missing.gguf"), code=1)
        run("map", self.model, "-f", "xml", code=2)
        run("map", self.model, "--no-such-option", code=2)


class Prune(Command):
    def prune(self, *options, code=0):
        return run("prune", self.model, "--stats", self.stats, *options, code=code)

    def test_a_dry_run_writes_nothing_and_shows_what_goes(self):
        before = os.listdir(self.folder.name)
        self.assertIn("4 of 8 experts", self.prune("--keep", 4, "--dry-run").stdout)
        plan = json.loads(self.prune("--keep", 4, "--dry-run", "--json").stdout)
        for il in self.layers:
            scores = {e: (il - e) % N_EXPERT for e in range(N_EXPERT)}
            best = sorted(sorted(scores, key=lambda e: -scores[e])[:4])
            self.assertEqual(plan["layers"][str(il)]["kept"], best)
        self.assertEqual(os.listdir(self.folder.name), before)

    def test_what_is_written_is_what_was_planned(self):
        out = self.path("pruned.gguf")
        done = self.prune("--ratio", 0.5, "-o", out)
        self.assertIn("moescope evaluate -m " + self.model, done.stdout)
        run("map", out, "--check")
        plan = json.loads(self.prune("--keep", 4, "--dry-run", "--json").stdout)
        sizes = json.loads(run("map", out, "--totals", "--json").stdout)
        self.assertEqual(sizes["bytes"], plan["bytes_after"])
        self.assertEqual(sizes["n_experts"], 3 * len(self.layers) * 4)
        self.assertIn("exists", self.prune("--keep", 4, "-o", out, code=1).stderr)
        self.prune("--keep", 4, "-o", out, "--force", "-q")
        leftovers = [name for name in os.listdir(self.folder.name) if name.startswith("pruned.gguf.")]
        self.assertEqual(leftovers, [])

    def test_an_imatrix_goes_along(self):
        imatrix, text = self.path("imatrix.gguf"), self.path("text.txt")
        with open(text, "w") as out:
            out.write("the quick brown fox jumps over the lazy dog. " * 40)
        subprocess.run(
            [
                os.path.join(os.environ["LLAMA_CPP_BIN"], "llama-imatrix"),
                "-m",
                self.model,
                "-f",
                text,
                "-o",
                imatrix,
                "-c",
                "128",
                "-b",
                "128",
                "-t",
                "1",
                "-ngl",
                "0",
            ],
            check=True,
            capture_output=True,
        )
        out = self.path("with-imatrix.gguf")
        run(
            "prune",
            self.model,
            "--stats",
            imatrix,
            "--criterion",
            "frequency",
            "--keep",
            4,
            "--imatrix",
            imatrix,
            "-o",
            out,
        )
        sliced = {r["tensor_name"]: r for r in self.map_rows(self.path("with-imatrix.imatrix.gguf"))}
        il = self.layers[0]
        self.assertEqual(sliced[f"blk.{il}.ffn_up_exps.weight.counts"]["dim1"], "4")
        # Those that stay were selected at least as often as any that went.
        plan = json.loads(
            run(
                "prune", self.model, "--stats", imatrix, "--criterion", "frequency", "--keep", 4, "--dry-run", "--json"
            ).stdout
        )
        counts = self.counts(imatrix, f"blk.{il}.ffn_up_exps.weight.counts")
        kept = plan["layers"][str(il)]["kept"]
        self.assertEqual(sum(counts) % TOP_K, 0)
        self.assertGreaterEqual(min(counts[e] for e in kept), max(counts[e] for e in range(N_EXPERT) if e not in kept))
        self.assertEqual(
            self.counts(self.path("with-imatrix.imatrix.gguf"), f"blk.{il}.ffn_up_exps.weight.counts"),
            [counts[e] for e in kept],
        )

    def counts(self, path, name):
        row = next(r for r in self.map_rows(path, "--absolute") if r["tensor_name"] == name)
        with open(path, "rb") as f:
            f.seek(int(row["file_offset"]))
            return list(memoryview(f.read(int(row["size_bytes"]))).cast("f"))

    def test_usage_errors_exit_with_2(self):
        for options in (
            ["--keep", 4],
            ["--keep", 4, "--ratio", 0.5, "--dry-run"],
            ["--dry-run"],
            ["--keep", 4, "--criterion", "best", "--dry-run"],
            ["--keep", 4, "--protect", "x", "--dry-run"],
            ["--ratio", 1.5, "--dry-run"],
            ["--keep", 4, "-o", self.model, "--force"],  # the model itself
        ):
            with self.subTest(options):
                self.assertEqual(len(self.prune(*options, code=2).stderr.strip().splitlines()), 1)
        run("prune", self.model, "--keep", 4, "--dry-run", code=2)  # no statistics
        self.assertEqual(run("map", self.model, "--check").returncode, 0)

    def test_refusals_exit_with_1(self):
        self.assertIn("a token uses 2", self.prune("--keep", 1, "--dry-run", code=1).stderr)


if __name__ == "__main__":
    unittest.main()
