"""moescope record on a Node program: node-llama-cpp's prebuilt binaries dlopen libllama privately and load ggml's backends
at run time, so the recorder finds the real functions through its caller alone. And on a program that uses two versions of
llama.cpp at once, node-llama-cpp's and ours. The models are planted: traces are held to the closed form."""

import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from npm_packages import node_llama_cpp  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
HERE = os.path.dirname(os.path.abspath(__file__))
TWO_COPIES_HOST = os.path.join(HERE, "..", "hosts", "two_copies_host.py")
LIBLLAMA = os.path.join(os.environ["LLAMA_CPP_BIN"], "libllama.so")


def installed(version):
    """The folder with that version of node-llama-cpp and a program that uses it."""
    folder = node_llama_cpp(version)
    shutil.copy(os.path.join(HERE, "node_llama_cpp.mjs"), os.path.join(folder, "evaluate.mjs"))
    return folder


def private_copy(package, folder):
    """Copies a package's libraries, with a name of their own for the one that every version gives the same name: the dynamic
    linker would take the first such for both. Returns the path of libllama."""
    for path in glob.glob(os.path.join(package, "node_modules", "@node-llama-cpp", "*", "bins", "*", "*.so")):
        with open(path, "rb") as f:
            renamed = f.read().replace(b"libggml-base.so", b"libggm2-base.so")
        with open(os.path.join(folder, os.path.basename(path).replace("libggml-base", "libggm2-base")), "wb") as f:
            f.write(renamed)
    return glob.glob(os.path.join(folder, "libllama*.so"))[0]


def planted_model(folder, name, seed):
    """A model, and what it must route: truth[il][token] = {"ids": …, "weights": …}."""
    model, truth = os.path.join(folder, name + ".gguf"), os.path.join(folder, name + ".json")
    subprocess.run(
        [MAKE_MODEL, "planted", "--seed", str(seed), "-o", model, "--truth", truth], check=True, capture_output=True
    )
    with open(truth, encoding="utf-8") as f:
        return model, json.load(f)["layers"]


def exported(trace):
    out = subprocess.run([MOESCOPE, "export", trace, "-f", "jsonl"], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


@unittest.skipUnless(shutil.which("node") and shutil.which("npm"), "needs node and npm")
class NodeLlamaCpp(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="moescope-test.")
        self.addCleanup(shutil.rmtree, self.folder)
        self.model, self.truth = planted_model(self.folder, "planted", 1)
        self.trace = os.path.join(self.folder, "t.moetrace")

    def record(self, version, *options):
        package = installed(version)
        run = subprocess.run(
            [
                MOESCOPE,
                "record",
                "-o",
                self.trace,
                "--force",
                *options,
                "--",
                "node",
                "evaluate.mjs",
                self.model,
                "routed by Node",
                "6",
            ],
            cwd=package,
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads(run.stdout.splitlines()[-1]), exported(self.trace), run.stderr

    def hold_to_truth(self, rows, truth=None):
        for row in rows:
            want = (truth or self.truth)[row["layer"]][row["token"]]
            self.assertEqual(row["ids"], want["ids"])
            for got, weight in zip(row["weights"], want["weights"]):
                self.assertAlmostEqual(got, weight, delta=1e-5 * weight)

    def test_the_pinned_version(self):
        said, rows, _ = self.record("3.22.1")
        self.hold_to_truth(rows)
        computed = said["tokens"] + said["generated"][:-1]  # the last one is sampled, not computed
        self.assertEqual([r["token"] for r in rows if r["layer"] == 0], computed)
        self.assertEqual([r["position"] for r in rows if r["layer"] == 0], list(range(len(computed))))
        self.assertEqual({r["sequence"] for r in rows}, {0})

    def test_an_older_version_records_with_one_warning(self):
        said, rows, stderr = self.record("3.14.2")  # ggml 0.9.4
        # That version does not name the list of outputs, by which the last layer's rows find their tokens.
        self.hold_to_truth(rows)
        self.assertEqual(
            stderr.count("is not a version that moescope was tested with; its self-test decides\n"), 2
        )  # at once, and in the summary
        self.assertEqual([r["token"] for r in rows if r["layer"] == 0][: len(said["tokens"])], said["tokens"])

    def test_both_versions_are_masked(self):
        used = {(layer, e) for layer, tokens in enumerate(self.truth) for t in tokens for e in t["ids"]}
        known = {}
        for version in ("3.14.2", "3.22.1"):
            _, rows, _ = self.record(version, "--omit", "*:2,1:5")
            selected = {(r["layer"], e) for r in rows for e in r["ids"]}
            self.assertFalse(selected & ({(1, 5)} | {(layer, 2) for layer, _ in used}))
            for r in rows:
                if r["token"] is not None:
                    known.setdefault((r["layer"], r["token"]), []).append(r["ids"])
        self.assertIn((1, 2), used)  # without the mask it is selected
        self.assertGreater(sum(len(ids) for ids in known.values()), 60)
        for ids in known.values():
            self.assertEqual(ids, [ids[0]] * len(ids))

    def test_two_versions_in_one_process(self):
        ours = (LIBLLAMA, *planted_model(self.folder, "ours", 2))
        other = (private_copy(installed("3.14.2"), self.folder), self.model, self.truth)
        tokens = [(17 * i + 5) % 250 for i in range(8)]
        for first, second in ((ours, other), (other, ours)):
            with self.subTest(first=os.path.basename(first[0])):
                program = [sys.executable, TWO_COPIES_HOST, ",".join(map(str, tokens)), *first[:2], *second[:2]]
                run = subprocess.run(
                    [MOESCOPE, "record", "-o", self.trace, "--force", "--", *program],
                    capture_output=True,
                    text=True,
                    timeout=120,
                )
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertEqual(run.stdout, "done\n")
                for trace, (_, _, truth) in (
                    (self.trace, first),
                    (self.trace.replace(".moetrace", ".2.moetrace"), second),
                ):
                    rows = exported(trace)
                    self.assertEqual([r["token"] for r in rows if r["layer"] == 0], tokens)
                    self.assertEqual({r["sequence"] for r in rows}, {0})
                    self.hold_to_truth(rows, truth)


if __name__ == "__main__":
    unittest.main(verbosity=2)
