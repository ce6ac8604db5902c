"""`stats` opens with what stands out against random routing, in at most three sentences that say where more is to be seen; and
with none where nothing does."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from trace_writer import TraceWriter  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
N_EXPERT, K, N_ROWS = 16, 2, 400


class Findings(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.trace = os.path.join(folder.name, "t.moetrace")

    def tool(self, *args):
        done = subprocess.run([MOESCOPE, *args], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, f"{args}: {done.stderr}")
        return done.stdout

    def write(self, ids):
        """ids: [layer][row][k]; a prompt of the first half, and the rest generated."""
        w = TraceWriter(self.trace, [dict(layer=il, n_expert=N_EXPERT, k=K) for il in range(len(ids))])
        half = N_ROWS // 2
        w.ubatch([{"ids": layer[:half]} for layer in ids], list(range(half)))
        for t in range(half, N_ROWS):
            w.ubatch([{"ids": layer[t : t + 1]} for layer in ids], [t], decode=True)
        w.close()

    @staticmethod
    def evenly(rng, rows=N_ROWS):
        return np.array([rng.choice(N_EXPERT, K, replace=False) for _ in range(rows)])

    def sentences(self):
        text = self.tool("stats", self.trace)
        opening = text.split("\nmodel ")[0] if text.startswith("stands out") else ""
        return re.findall(r"\S[^(]*\((?:[^)]*)\)\.", " ".join(opening.replace("stands out", "", 1).split()))

    def test_even_routing_says_nothing(self):
        rng = np.random.default_rng(11)
        self.write([self.evenly(rng) for _ in range(4)])
        self.assertNotIn("stands out", self.tool("stats", self.trace))

    def test_an_expert_that_a_layer_leans_on_comes_first(self):
        rng = np.random.default_rng(12)
        ids = [self.evenly(rng) for _ in range(3)]
        for t in range(0, N_ROWS, 3):  # every third row takes expert 5 of layer 1
            ids[1][t] = [5, (ids[1][t][1] if ids[1][t][1] != 5 else 6)]
        self.write(ids)
        times = (ids[1] == 5).sum() / (N_ROWS * K) * N_EXPERT
        first = self.sentences()[0]
        self.assertTrue(first.startswith(f"Layer 1 leans on expert 5: {times:.1f} times its fair share"), first)
        self.assertIn("(analyze frequency).", first)

    def test_three_sentences_at_most_each_naming_a_command_that_shows_it(self):
        rng = np.random.default_rng(13)
        ids = []
        for _ in range(3):  # few experts, the same for many tokens: everything stands out
            pair = rng.choice(6, K, replace=False)
            rows = []
            for t in range(N_ROWS):
                pair = rng.choice(6, K, replace=False) if t % 10 == 0 else pair
                rows.append(pair)
            ids.append(np.array(rows))
        self.write(ids)
        said = self.sentences()
        self.assertEqual(len(said), 3, said)
        for sentence in said:
            verb, *rest = re.search(r"\(([a-z].*)\)\.$", sentence).group(1).split()
            place = [self.trace] if verb == "stats" else []
            self.tool(verb, *rest, *(place or [self.trace]))


if __name__ == "__main__":
    unittest.main()
