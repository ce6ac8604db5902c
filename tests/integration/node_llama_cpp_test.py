"""moescope record on a Node program: node-llama-cpp's prebuilt binaries dlopen libllama privately and load ggml's backends
at run time, so the recorder finds the real functions through its caller alone. The model is planted: the trace is held to
the closed form."""

import json
import os
import platform
import shutil
import subprocess
import tempfile
import unittest

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("MOESCOPE_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "moescope")


def installed(version):
    """The folder with that version of node-llama-cpp and its binaries for this machine; installed once into the cache."""
    machine = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}[platform.machine()]
    folder = os.path.join(CACHE, f"node-llama-cpp-{version}")
    if not os.path.exists(os.path.join(folder, "complete")):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        with open(os.path.join(folder, "package.json"), "w", encoding="utf-8") as f:
            f.write('{"private": true, "type": "module"}')
        subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional", "--silent",
                        f"node-llama-cpp@{version}", f"@node-llama-cpp/{machine}@{version}"], cwd=folder, check=True, timeout=300)
        shutil.copy(os.path.join(HERE, "node_llama_cpp.mjs"), os.path.join(folder, "evaluate.mjs"))
        open(os.path.join(folder, "complete"), "w", encoding="utf-8").close()
    shutil.copy(os.path.join(HERE, "node_llama_cpp.mjs"), os.path.join(folder, "evaluate.mjs"))
    return folder


@unittest.skipUnless(shutil.which("node") and shutil.which("npm"), "needs node and npm")
class NodeLlamaCpp(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="moescope-test.")
        self.addCleanup(shutil.rmtree, self.folder)
        self.model = os.path.join(self.folder, "planted.gguf")
        self.trace = os.path.join(self.folder, "t.moetrace")
        made = subprocess.run([MAKE_MODEL, "planted", "-o", self.model, "--truth", os.path.join(self.folder, "truth.json")],
                              capture_output=True, text=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        with open(os.path.join(self.folder, "truth.json"), encoding="utf-8") as f:
            self.truth = json.load(f)   # layers[il][token] = {"ids": …, "weights": …}

    def record(self, version):
        package = installed(version)
        run = subprocess.run([MOESCOPE, "record", "-o", self.trace, "--", "node", "evaluate.mjs", self.model, "routed by Node", "6"],
                             cwd=package, capture_output=True, text=True, timeout=120)
        self.assertEqual(run.returncode, 0, run.stderr)
        rows = subprocess.run([MOESCOPE, "export", self.trace, "-f", "jsonl"], check=True, capture_output=True, text=True).stdout
        return json.loads(run.stdout.splitlines()[-1]), [json.loads(line) for line in rows.splitlines()], run.stderr

    def hold_to_truth(self, rows):
        for row in rows:
            want = self.truth["layers"][row["layer"]][row["token"]]
            self.assertEqual(row["ids"], want["ids"])
            for got, weight in zip(row["weights"], want["weights"]):
                self.assertAlmostEqual(got, weight, delta=1e-5 * weight)

    def test_the_pinned_version(self):
        said, rows, _ = self.record("3.22.1")
        self.hold_to_truth(rows)
        computed = said["tokens"] + said["generated"][:-1]   # the last one is sampled, not computed
        self.assertEqual([r["token"] for r in rows if r["layer"] == 0], computed)
        self.assertEqual([r["position"] for r in rows if r["layer"] == 0], list(range(len(computed))))
        self.assertEqual({r["sequence"] for r in rows}, {0})

    def test_an_older_version_records_with_one_warning(self):
        said, rows, stderr = self.record("3.14.2")   # ggml 0.9.4
        # That version does not name the list of outputs: which token a row of the last layer belongs to is not known
        # where there are fewer rows than tokens, and is not guessed.
        last = max(r["layer"] for r in rows)
        self.hold_to_truth([r for r in rows if r["token"] is not None])
        self.assertEqual({r["layer"] for r in rows if r["token"] is None}, {last})
        self.assertEqual(stderr.count("is not a version that moescope was tested with; its self-test decides\n"), 2)   # at once, and in the summary
        self.assertEqual([r["token"] for r in rows if r["layer"] == 0][:len(said["tokens"])], said["tokens"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
