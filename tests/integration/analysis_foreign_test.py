"""`frequency` and `gate-drift` say the same of a trace and of every foreign log that was made of it."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from preload import preloaded  # noqa: E402
from trace_writer import GATE_INPUT, IDS, PROBS, WEIGHTS, TraceWriter  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
# What a log does not say, and so may differ: which tokens were generated, the columns it lacks, and what is said of it.
NOT_IN_A_LOG = {"notes", "router", "bad_probs"}
N_EXPERT, K, N_EMBD, N_PROMPT, N_DECODE, UBATCH = 16, 4, 12, 70, 25, 32


def run(*args):
    return subprocess.run([MOESCOPE, *args], capture_output=True, text=True)


def answer(*args):
    done = run("analyze", *args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def export(trace, kind, path):
    done = run("export", trace, "-f", kind, "-o", path, "--force")
    assert done.returncode == 0, done.stderr
    return path


class ForeignLogs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        rng = np.random.default_rng(7)
        columns = IDS | WEIGHTS | PROBS | GATE_INPUT
        layers = [dict(layer=l, n_expert=N_EXPERT, k=K, n_embd=N_EMBD, columns=columns) for l in (0, 1, 3)]
        cls.trace = cls.path("run.moetrace")
        w = TraceWriter(cls.trace, layers)
        at = 0
        while at < N_PROMPT + N_DECODE:
            decode = at >= N_PROMPT
            end = at + 1 if decode else min(at + UBATCH, N_PROMPT)
            blocks = []
            for _ in layers:
                probs = rng.dirichlet(np.ones(N_EXPERT) * 0.4, size=end - at).astype("f4")
                # Every expert is selected somewhere, so that a log whose largest id is all it says knows how many there are.
                ids = np.argsort(-probs, axis=1)[:, :K]
                blocks.append(
                    {
                        IDS: ids,
                        "ids": ids,
                        PROBS: probs,
                        WEIGHTS: np.take_along_axis(probs, ids, axis=1),
                        GATE_INPUT: rng.normal(size=(end - at, N_EMBD)).astype("f4"),
                    }
                )
            w.ubatch(blocks, pos=np.arange(at, end), token=rng.integers(0, 50, size=end - at), decode=decode)
            at = end
        w.close()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def same(self, got, expected, but=()):
        for key, value in expected.items():
            if key not in NOT_IN_A_LOG | set(but):
                self.assertEqual(got[key], value, key)

    def test_frequency(self):
        for kind, name, but in (("log", "run.log", ()), ("csv", "run.csv", ()), ("selection-csv", "run.sel.csv", ())):
            with self.subTest(kind):
                log = export(self.trace, kind, self.path(name))
                self.same(answer("frequency", log), answer("frequency", self.trace), but)
                self.same(
                    answer("frequency", log, "--layers", "1-3"), answer("frequency", self.trace, "--layers", "1-3"), but
                )

    def test_frequency_of_decoded_tokens(self):
        expected = answer("frequency", self.trace, "--phase", "decode")
        for kind, name in (("log", "phase.log"), ("csv", "phase.csv"), ("selection-csv", "phase.sel.csv")):
            with self.subTest(kind):
                self.same(answer("frequency", export(self.trace, kind, self.path(name)), "--phase", "decode"), expected)

    def test_router_measures_of_the_text_log(self):
        log = export(self.trace, "log", self.path("router.log"))
        for got, expected in zip(answer("frequency", log)["router"], answer("frequency", self.trace)["router"]):
            self.assertEqual(got["rows"], expected["rows"])
            self.assertAlmostEqual(got["entropy"], expected["entropy"], delta=0.002)  # the log has three decimals
            self.assertAlmostEqual(got["top1_margin"], expected["top1_margin"], delta=0.002)

    def gate_logs(self):
        gate = export(self.trace, "gate-csv", self.path("%s.gate.csv" % self._testMethodName))
        yield gate
        # Both kinds mixed in one file, as their first tracer writes it: ubatch by ubatch, selections first.
        sel = export(self.trace, "selection-csv", self.path("%s.sel.csv" % self._testMethodName))
        mixed = self.path("%s.mixed.csv" % self._testMethodName)
        with open(gate) as g, open(sel) as s, open(mixed, "w") as out:
            rows_g = [l for l in g if l.startswith("gate_input,")]
            rows_s = [l for l in s if l[0].isdigit()]
            self.assertEqual(len(rows_g), len(rows_s))
            for a, b in zip(rows_s, rows_g):
                out.write(a + b)
        yield mixed
        headless = self.path("%s.headless.csv" % self._testMethodName)
        with open(headless, "w") as out:
            out.write("loading model\n\n" + "".join(rows_g) + "done\n")
        yield headless

    def test_gate_drift(self):
        for options in ((), ("--all",), ("--all", "--layers", "0-1")):
            expected = answer("gate-drift", self.trace, "--values", *options)
            for log in self.gate_logs():
                with self.subTest(os.path.basename(log), options=options):
                    got = answer("gate-drift", log, "--values", *options)
                    self.same(got, expected, ("steps",))
                    self.assertEqual(len(got["steps"]), len(expected["steps"]))
                    for a, b in zip(
                        got["steps"], expected["steps"]
                    ):  # tokens, positions and batches are not in the log
                        self.assertEqual(a["cosine"], b["cosine"])
                        self.assertEqual(a["pearson"], b["pearson"])

    def test_frequency_of_a_mixed_log(self):
        for log in list(self.gate_logs())[1:2]:
            self.same(answer("frequency", log), answer("frequency", self.trace))

    def test_gate_inputs_are_no_selections(self):
        gate = next(self.gate_logs())
        done = run("analyze", "frequency", gate)
        self.assertNotIn("nan", done.stdout.lower())
        self.assertRegex(done.stdout + done.stderr, "no expert|no selection|only gate inputs")

    def test_temporal_of_logs_that_know_positions(self):
        expected = answer("temporal", self.trace)
        for kind, name in (("log", "t.log"), ("csv", "t.csv")):
            with self.subTest(kind):
                self.same(answer("temporal", export(self.trace, kind, self.path(name))), expected)

    def test_a_log_written_while_the_model_ran(self):
        """The recorder's own CSV and the text log of `run --log`, of the run that wrote the trace."""
        model = self.path("model.gguf")
        subprocess.run(
            [os.environ["MAKE_MODEL_BIN"], "planted", "--experts", "8", "--top-k", "2", "-o", model],
            check=True,
            capture_output=True,
        )
        text = "The quick brown fox jumps over the lazy dog, 0123456789 times: " + "".join(map(chr, range(33, 127)))
        trace, log = self.path("live.moetrace"), self.path("live.log")
        done = run("run", "-q", "-m", model, "-p", text, "-n", "8", "--temp", "0", "-t", "1", "-o", trace, "--log", log)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.same(answer("frequency", log), answer("frequency", trace))
        csv = self.path("live.csv")
        env = dict(preloaded(os.environ["RECORDER_LIB"]), LLAMA_MOE_LOG=csv)
        program = [os.path.join(os.environ["LLAMA_CPP_BIN"], "llama-completion"), "-m", model, "-p", text]
        program += ["-n", "8", "--temp", "0", "-t", "1", "-no-cnv"]
        done = subprocess.run(program, env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        recorded = self.path("recorded.moetrace")
        done = run("record", "-o", recorded, "--", *program)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.same(answer("frequency", csv), answer("frequency", recorded))


if __name__ == "__main__":
    unittest.main()
