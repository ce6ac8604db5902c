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
            self.assertEqual(run.stdout, "".join(f"{t}\n" for t in tokens + tokens[::-1]))
            with open(truth_file, encoding="utf-8") as f:
                truth = json.load(f)["layers"]
            for name, order in ((trace, tokens), (os.path.join(folder, "t.2.moetrace"), tokens[::-1])):
                with self.subTest(trace=os.path.basename(name)):
                    self.hold_to(truth, order, name)

    def hold_to(self, truth, tokens, trace):
        exported = subprocess.run([MOESCOPE, "export", trace, "-f", "jsonl"], check=True, capture_output=True, text=True)
        rows = [json.loads(line) for line in exported.stdout.splitlines()]
        of_first_layer = [r for r in rows if r["layer"] == 0]
        self.assertEqual([r["token"] for r in of_first_layer], tokens)
        self.assertEqual([r["position"] for r in of_first_layer], list(range(len(tokens))))
        self.assertEqual([r["batch"] for r in of_first_layer], list(range(len(tokens))))
        for row in rows:
            self.assertEqual(row["ids"], truth[row["layer"]][row["token"]]["ids"])
            self.assertEqual(row["sequence"], 0)         # known from the batch,
            self.assertIsNotNone(row["text"])            # the vocabulary
        info = json.loads(subprocess.run([MOESCOPE, "info", "--json", trace], check=True, capture_output=True, text=True).stdout)
        self.assertEqual(info["model"]["architecture"], "qwen3moe")   # and the model of the context that decodes


if __name__ == "__main__":
    unittest.main()
