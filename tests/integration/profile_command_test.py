"""`moescope profile` as a user meets it, on a planted model: what is selected depends on the text alone."""

import json
import os
import subprocess
import tempfile
import unittest

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]


class ProfileCommand(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.model = os.path.join(self.folder, "planted.gguf")
        subprocess.run([MAKE_MODEL, "planted", "-o", self.model], check=True)
        self.corpus = os.path.join(self.folder, "corpus.jsonl")
        with open(self.corpus, "w") as f:
            for i in range(100):
                f.write(json.dumps({"text": f"sample {i} of a corpus"}) + "\n")

    def counts(self, name, *args):
        """Activation counts by layer."""
        out = os.path.join(self.folder, name)
        command = [MOESCOPE, "profile", "-m", self.model, "--jsonl", self.corpus, "-t", "1", "-q", "-o", out, *args]
        r = subprocess.run(command, capture_output=True, timeout=300)
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(out) as f:
            return {layer: s["activation_counts"] for layer, s in json.load(f).items()}

    def test_ubatches_smaller_than_the_number_of_sequences(self):
        self.assertEqual(self.counts("small.json", "-ub", "16"), self.counts("default.json"))


if __name__ == "__main__":
    unittest.main()
