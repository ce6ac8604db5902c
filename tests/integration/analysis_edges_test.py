"""What every kind of `moescope analyze` says of traces that can hardly answer: empty ones, one token, one layer, layers of
different shapes, missing captures, unknown sequences. A clear line, never a crash, a NaN or a table of nothing."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from trace_writer import GATE_INPUT, TraceWriter  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]


def run(*args):
    return subprocess.run([MOESCOPE, "analyze", *args], capture_output=True, text=True)


class Edges(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.models = tempfile.TemporaryDirectory()
        cls.model = os.path.join(cls.models.name, "model.gguf")
        subprocess.run(
            [MAKE_MODEL, "random", "--experts", "4", "--top-k", "2", "--layers", "3", "-o", cls.model],
            check=True,
            capture_output=True,
        )

    @classmethod
    def tearDownClass(cls):
        cls.models.cleanup()

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "t.moetrace")
        self.other = os.path.join(self.folder.name, "u.moetrace")

    def write(self, layers, n=0, first_decoded=1, seq=None, path=None, pos=None):
        rng = np.random.default_rng(1)
        w = TraceWriter(path or self.path, layers)
        for i in range(n):
            blocks = [
                {
                    "ids": np.argsort(rng.random((1, l["n_expert"])))[:, : l["k"]],
                    GATE_INPUT: rng.normal(size=(1, l.get("n_embd", 0))),
                }
                for l in layers
            ]
            w.ubatch(
                blocks,
                pos=[i if pos is None else pos[i]],
                token=[i % 3],
                seq=None if seq is None else [seq],
                decode=i >= first_decoded,
            )
        w.close()

    def test_every_kind_is_tried(self):
        offered = subprocess.run([MOESCOPE, "analyze", "--help"], capture_output=True, text=True).stdout
        names = re.findall(r"^  ([a-z-]+) {2,}", offered.split("Subcommands:")[1], re.M)
        self.assertEqual(sorted(names), sorted(kind[0] for kind in self.kinds()))

    def kinds(self):
        yield from (
            ("frequency", self.path),
            ("gate-drift", self.path),
            ("coactivation", self.path),
            ("specialization", self.path, self.other),
            ("vocabulary", self.path),
            ("temporal", self.path),
            ("stability", self.path, self.path),
            ("compare", self.path, self.path),
            ("cache", self.path),
            ("prefetch", self.path),
            ("placement", self.path, "--model", self.model, "--vram", "1G"),
        )

    def told(self, kind):
        """What a person reads, in one line; and that the forms for programs hold."""
        done = run(*kind)
        said = re.sub(r"\s+", " ", done.stdout + done.stderr)
        self.assertIn(done.returncode, (0, 1), said)
        self.assertNotRegex(said.lower(), r"\bnan\b|\binf\b|terminate", kind)
        if done.returncode == 1:
            self.assertEqual((done.stdout, done.stderr.count("\n")), ("", 1), kind)
            return said
        for line in done.stdout.splitlines():
            self.assertLessEqual(len(line), 100, kind)
        text = run(*kind, "--json").stdout
        self.assertNotIn("NaN", text)
        got = json.loads(text)
        tables = [key for key, value in got.items() if isinstance(value, list) and key != "notes"]
        for name in tables:
            rows = list(csv.reader(io.StringIO(run(*kind, "--csv", "--table", name).stdout)))
            self.assertEqual(len(rows), 1 + len(got[name]), (kind, name))
        return said

    def test_empty_trace(self):
        for layers in ([dict(layer=0, n_expert=4, k=2)], []):
            self.write(layers)
            self.write(layers, path=self.other)
            for kind in self.kinds():
                with self.subTest(kind[0], layers=len(layers)):
                    self.assertRegex(
                        self.told(kind), "empty|no gate inputs in this trace|no decoded token|no token in common"
                    )

    def test_one_token(self):
        for n_layer in (1, 3):
            layers = [dict(layer=l, n_expert=4, k=2, n_embd=6, columns=GATE_INPUT) for l in range(n_layer)]
            self.write(layers, 1, first_decoded=0)
            self.write(layers, 1, first_decoded=0, path=self.other)
            for kind in self.kinds():
                with self.subTest(kind[0], n_layer=n_layer):
                    self.told(kind)
        self.assertIn("1 token,", self.told(("frequency", self.path)))
        self.assertIn("no two neighbouring tokens", self.told(("temporal", self.path)))
        self.assertIn("too short", self.told(("cache", self.path)))

    def test_one_layer(self):
        layers = [dict(layer=2, n_expert=4, k=2, n_embd=6, columns=GATE_INPUT)]
        self.write(layers, 60)
        self.write(layers, 60, path=self.other)
        for kind in self.kinds():
            with self.subTest(kind[0]):
                self.told(kind)
        self.assertIn("drift needs two", self.told(("gate-drift", self.path)))
        self.assertNotIn("from one layer to the next", self.told(("coactivation", self.path)))
        self.assertIn(
            "layer 0 is not in the trace", self.told(("placement", self.path, "--model", self.model, "--vram", "1G"))
        )

    def test_layers_of_different_shapes(self):
        layers = [dict(layer=0, n_expert=4, k=1), dict(layer=1, n_expert=8, k=3), dict(layer=2, n_expert=300, k=2)]
        self.write(layers, 80)
        self.write(layers, 80, path=self.other)
        for kind in self.kinds():
            with self.subTest(kind[0]):
                self.told(kind)
        got = json.loads(run("frequency", self.path, "--json").stdout)
        self.assertEqual(
            [(l["n_expert"], l["n_expert_used"], l["selections"]) for l in got["layers"]],
            [(4, 1, 80), (8, 3, 240), (300, 2, 160)],
        )
        got = json.loads(run("temporal", self.path, "--json").stdout)
        self.assertEqual([l["by_chance"] for l in got["layers"]], [1 / 4, 3 / 8, 2 / 300])

    def test_gate_inputs_of_different_widths_are_no_pair(self):
        self.write(
            [dict(layer=l, n_expert=4, k=2, n_embd=w, columns=GATE_INPUT) for l, w in ((0, 6), (1, 8), (2, 8))], 20
        )
        got = json.loads(run("gate-drift", self.path, "--json").stdout)
        self.assertEqual([(p["from_layer"], p["to_layer"]) for p in got["pairs"]], [(1, 2)])

    def test_one_expert(self):
        self.write([dict(layer=0, n_expert=1, k=1)], 30)
        self.write([dict(layer=0, n_expert=1, k=1)], 30, path=self.other)
        for kind in self.kinds():
            with self.subTest(kind[0]):
                self.told(kind)

    def test_prefill_alone(self):
        self.write([dict(layer=l, n_expert=4, k=2, n_embd=6, columns=GATE_INPUT) for l in (0, 1)], 30, first_decoded=99)
        self.assertIn("--all takes every row", self.told(("gate-drift", self.path)))
        self.assertIn(
            "record a run that generates", self.told(("placement", self.path, "--model", self.model, "--vram", "1G"))
        )
        self.assertIn("(all)", self.told(("cache", self.path)))

    def test_missing_capture_says_what_to_record(self):
        self.write([dict(layer=0, n_expert=4, k=2)], 5)
        done = run("gate-drift", self.path)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("no gate inputs in this trace", done.stderr)
        self.assertIn("record with --capture gate-input", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_unknown_sequences_are_not_mixed(self):
        # Two slots of a server whose sequences are not known, a token of each in turn.
        layers = [dict(layer=0, n_expert=8, k=2)]
        pos = [p for i in range(20) for p in (100 + i, 900 + i)]
        self.write(layers, 40, seq=-1, pos=pos)
        self.assertIn("no two neighbouring tokens", self.told(("temporal", self.path)))
        w = TraceWriter(self.path, layers)
        rng = np.random.default_rng(2)
        for i in range(20):  # both in one batch
            w.ubatch(
                [{"ids": np.argsort(rng.random((2, 8)))[:, :2]}],
                pos=[100 + i, 900 + i],
                seq=[-1, -1],
                token=[1, 2],
                decode=True,
            )
        w.close()
        self.assertIn("40 rows left out: their sequences are unknown", self.told(("temporal", self.path)))
        self.assertIn("no token in common whose position both know", self.told(("compare", self.path, self.path)))

    def test_domains_of_equal_names_stay_apart(self):
        for folder, skew in (("a", 0), ("b", 1)):
            os.mkdir(os.path.join(self.folder.name, folder))
            w = TraceWriter(os.path.join(self.folder.name, folder, "run.moetrace"), [dict(layer=0, n_expert=4, k=1)])
            for i in range(20):
                w.ubatch([{"ids": np.array([[i % 2 + 2 * skew]])}], pos=[i])
            w.close()
        got = json.loads(
            run("specialization", *(os.path.join(self.folder.name, f, "run.moetrace") for f in "ab"), "--json").stdout
        )
        self.assertEqual(got["domains"], 2)
        self.assertEqual(got["distances"][0]["distance"], 1)

    def test_bad_arguments_are_usage(self):
        self.write([dict(layer=0, n_expert=4, k=2)])
        for args in (
            ("frequency", self.path, "--layers", "x"),
            ("frequency", self.path, "--csv", "--table", "no"),
            ("frequency",),
            ("cache", self.path, "--bytes", "1G"),
            ("specialization", self.path),
            ("compare", self.path, self.path, "--phase", "decode"),
        ):
            done = run(*args)
            self.assertEqual(done.returncode, 2, args)
            self.assertEqual(done.stderr.count("\n"), 1, args)


if __name__ == "__main__":
    unittest.main()
