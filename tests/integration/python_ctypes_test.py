"""moescope record on a Python program that loads libllama with ctypes, as llama-cpp-python does. The model is planted: the
trace is held to the closed form."""

import glob
import json
import os
import subprocess
import sys
import tempfile
import unittest

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
HOST = os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "tests", "hosts", "ctypes_host.py")
LIBLLAMA = glob.glob(os.path.join(os.environ["LLAMA_CPP_BIN"], "libllama.so"))[0]


class PythonCtypes(unittest.TestCase):
    def test_each_token_is_routed_as_planted(self):
        tokens = [(17 * i + 5) % 250 for i in range(40)]
        with tempfile.TemporaryDirectory(prefix="moescope-test.") as folder:
            model, trace, truth_file = (os.path.join(folder, name) for name in ("m.gguf", "t.moetrace", "truth.json"))
            subprocess.run([MAKE_MODEL, "planted", "-o", model, "--truth", truth_file], check=True, capture_output=True)
            run = subprocess.run([MOESCOPE, "record", "-o", trace, "--", sys.executable, HOST, LIBLLAMA, model, *map(str, tokens)],
                                 capture_output=True, text=True, timeout=120)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertEqual(run.stdout, "".join(f"{t}\n" for t in tokens))
            exported = subprocess.run([MOESCOPE, "export", trace, "-f", "jsonl"], check=True, capture_output=True, text=True)
            with open(truth_file, encoding="utf-8") as f:
                truth = json.load(f)["layers"]
        rows = [json.loads(line) for line in exported.stdout.splitlines()]
        self.assertEqual([r["token"] for r in rows if r["layer"] == 0], tokens)
        self.assertEqual([r["position"] for r in rows if r["layer"] == 0], list(range(len(tokens))))
        for row in rows:
            self.assertEqual(row["ids"], truth[row["layer"]][row["token"]]["ids"])


if __name__ == "__main__":
    unittest.main()
