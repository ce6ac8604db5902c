"""moescope record on a Python program that loads libllama with ctypes, as llama-cpp-python does. The model is planted: the
trace is held to the closed form."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
HOSTS = os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "tests", "hosts")
LIBLLAMA = os.path.realpath(os.path.join(os.environ["LLAMA_CPP_BIN"], "libllama.so"))


class PythonCtypes(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="moescope-test.")
        self.addCleanup(shutil.rmtree, self.folder)
        self.tokens = [(17 * i + 5) % 250 for i in range(40)]

    def planted_model(self, seed):
        """A model's path, and what it must route: truth[il][token] = {"ids": …, "weights": …}."""
        model, truth = (os.path.join(self.folder, f"{seed}.{kind}") for kind in ("gguf", "json"))
        subprocess.run(
            [MAKE_MODEL, "planted", "--seed", str(seed), "-o", model, "--truth", truth], check=True, capture_output=True
        )
        with open(truth, encoding="utf-8") as f:
            return model, json.load(f)["layers"]

    def record(self, host, *arguments):
        """The program's output, and of both streams what `info` says and the rows."""
        trace = os.path.join(self.folder, "t.moetrace")
        run = subprocess.run(
            [MOESCOPE, "record", "-o", trace, "--", sys.executable, os.path.join(HOSTS, host), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        streams = []
        for name in (trace, trace.replace(".moetrace", ".2.moetrace")):
            said = subprocess.run([MOESCOPE, "info", "--json", name], check=True, capture_output=True, text=True).stdout
            rows = subprocess.run(
                [MOESCOPE, "export", name, "-f", "jsonl"], check=True, capture_output=True, text=True
            ).stdout
            streams.append((json.loads(said), [json.loads(line) for line in rows.splitlines()]))
        return run.stdout, streams

    def hold_to(self, truth, tokens, rows):
        of_first_layer = [r for r in rows if r["layer"] == 0]
        self.assertEqual([r["token"] for r in of_first_layer], tokens)
        self.assertEqual([r["position"] for r in of_first_layer], list(range(len(tokens))))
        for row in rows:
            self.assertEqual(row["ids"], truth[row["layer"]][row["token"]]["ids"])

    def test_each_token_is_routed_as_planted(self):
        model, truth = self.planted_model(1)
        printed, streams = self.record("ctypes_host.py", LIBLLAMA, model, *map(str, self.tokens))
        self.assertEqual(printed, "".join(f"{t}\n" for t in self.tokens + self.tokens[::-1]))
        for (info, rows), order in zip(streams, (self.tokens, self.tokens[::-1])):
            self.hold_to(truth, order, rows)
            # What only the batch, the vocabulary and the context say.
            self.assertEqual([r["batch"] for r in rows if r["layer"] == 0], list(range(len(order))))
            self.assertEqual({r["sequence"] for r in rows}, {0})
            self.assertNotIn(None, [r["text"] for r in rows])
            self.assertEqual(info["model"]["architecture"], "qwen3moe")

    def test_a_second_libllama_on_the_same_ggml_is_asked_nothing(self):
        other = os.path.join(self.folder, "libllama.so")
        shutil.copy(LIBLLAMA, other)
        models = [self.planted_model(1), self.planted_model(2)]
        _, streams = self.record(
            "two_copies_host.py", ",".join(map(str, self.tokens)), LIBLLAMA, models[0][0], other, models[1][0]
        )
        by_file = {info["model"]["file"]: rows for info, rows in streams}
        for (model, truth), sequence in zip(models, (0, None)):
            self.hold_to(truth, self.tokens, by_file[model])
            self.assertEqual({r["sequence"] for r in by_file[model]}, {sequence})


if __name__ == "__main__":
    unittest.main()
