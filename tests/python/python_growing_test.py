"""The Python package on traces that grow, go on in further files, or end without an end."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import moescope

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from package_reader import GOLDEN, MOESCOPE, SOURCE, assert_same, exported, gathered, run  # noqa: E402
from trace_writer import WEIGHTS, TraceWriter  # noqa: E402

MODEL = os.path.join(SOURCE, "models", "demo.gguf")
GENERATE = ("-m", MODEL, "-p", "def mean(values):", "--temp", "0", "-t", "1", "-q")


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)


class Growing(Folder):
    def test_a_file_that_grows_by_pieces_of_any_size(self):
        """After each piece, what was refreshed is what a new reader sees."""
        with open(GOLDEN, "rb") as file:
            data = file.read()
        at = 2000  # behind the head
        with open(self.path("x.moetrace"), "wb") as file:
            file.write(data[:at])
            file.flush()
            trace = moescope.open(self.path("x.moetrace"))
            while at < len(data):
                before = gathered(trace)
                copies = {name: array.copy() for name, array in before.items()}
                piece = data[at : at + 313]
                file.write(piece)
                file.flush()
                at += len(piece)
                self.assertTrue(trace.refresh())
                self.assertFalse(trace.refresh())
                fresh = moescope.open(self.path("x.moetrace"))
                assert_same(self, gathered(trace), gathered(fresh))
                self.assertEqual(trace.info, fresh.info)
                self.assertEqual((trace.text, trace.notes), (fresh.text, fresh.notes))
                assert_same(self, before, copies)
        self.assertTrue(trace.info.ended)
        assert_same(self, gathered(trace), gathered(moescope.open(GOLDEN)) if trace.blocks else {})

    def test_ubatches_go_on_where_they_stopped(self):
        layers = [{"layer": i, "n_expert": 8, "k": 2, "columns": WEIGHTS} for i in range(2)]
        writer = TraceWriter(self.path("x.moetrace"), layers)

        def write(pos):
            writer.ubatch([{"ids": [[pos % 8, 7 - pos % 8]], WEIGHTS: [[1, pos]]} for _ in layers], [pos])

        write(0)
        writer.flush()
        writer.file.flush()
        trace, seen = moescope.open(self.path("x.moetrace")), []
        for n in (1, 40, 3, 400):
            seen += [int(u.layers[1].weights[0, 1]) for u in trace.ubatches(start=len(seen))]
            for _ in range(n):
                write(writer.n_batch)
            writer.flush()
            writer.file.flush()
            self.assertEqual(len(seen), len(trace.tokens))
            trace.refresh()
        writer.close()
        seen += [int(u.layers[1].weights[0, 1]) for u in trace.ubatches(start=len(seen))]
        self.assertEqual(seen, list(range(1 + 1 + 40 + 3 + 400)))
        self.assertTrue(trace.refresh())
        self.assertTrue(trace.info.ended)

    def test_a_program_that_runs(self):
        path = self.path("live.moetrace")
        program = subprocess.Popen([MOESCOPE, "run", *GENERATE, "-n", "200", "-o", path], stdout=subprocess.DEVNULL)
        self.addCleanup(program.kill)
        deadline = time.monotonic() + 300
        trace = None
        while time.monotonic() < deadline and not (trace and trace.info.ended):
            try:
                trace = trace or moescope.open(path)
            except (FileNotFoundError, moescope.TraceError):
                continue  # it has not written its head yet
            trace.refresh()
            n = len(trace.layers[0]) if trace.layers else 0
            self.assertTrue(n == 0 or len(trace.layers[0].ids) == n)
        self.assertEqual(program.wait(60), 0)
        assert_same(self, gathered(trace), exported(path))

    def test_a_file_that_becomes_shorter(self):
        shutil.copy(GOLDEN, self.path("x.moetrace"))
        trace = moescope.open(self.path("x.moetrace"))
        os.truncate(self.path("x.moetrace"), 100)
        with self.assertRaisesRegex(moescope.TraceError, "shorter"):
            trace.refresh()


class Killed(Folder):
    def test_a_killed_program_leaves_what_it_wrote(self):
        path = self.path("killed.moetrace")
        options = ("-n", "100000", "-c", "120000", "--ignore-eos", "-o", path)
        program = subprocess.Popen([MOESCOPE, "run", *GENERATE, *options], stdout=subprocess.DEVNULL)
        self.addCleanup(program.kill)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and not (os.path.exists(path) and os.path.getsize(path) > 20000):
            time.sleep(0.01)
        program.send_signal(signal.SIGKILL)
        program.wait(60)
        trace = moescope.open(path)
        self.assertFalse(trace.info.ended)
        self.assertGreater(len(trace.tokens), 10)
        assert_same(self, gathered(trace), exported(path))

    def test_a_trace_that_was_cut_says_how_much_is_lost(self):
        with open(GOLDEN, "rb") as file:
            data = file.read()
        with open(self.path("cut.moetrace"), "wb") as file:
            file.write(data[:-150])  # into the end, which has no more than 32 bytes less
        info = moescope.open(self.path("cut.moetrace")).info
        said = run("info", self.path("cut.moetrace"), "--json")
        self.assertIn(b'"lost_bytes": %d' % info.lost_bytes, said)
        self.assertGreater(info.lost_bytes, 0)
        self.assertFalse(info.ended)


class Parts(Folder):
    def setUp(self):
        super().setUp()
        run("run", *GENERATE, "-n", "200", "--max-size", "5000", "-o", self.path("x.moetrace"))
        self.n_parts = len(os.listdir(self.folder))
        self.assertGreater(self.n_parts, 2)

    def part(self, n):
        return self.path("x.moetrace" if n == 1 else f"x.part{n}.moetrace")

    def test_parts_are_one_trace(self):
        trace = moescope.open(self.part(1))
        self.assertEqual((trace.info.n_parts, trace.info.unread_part), (self.n_parts, ""))
        self.assertEqual(trace.info.bytes, sum(os.path.getsize(self.part(n + 1)) for n in range(self.n_parts)))
        assert_same(self, gathered(trace), exported(self.part(1)))

    def test_files_that_were_renamed_together(self):
        for n in range(2, self.n_parts + 1):
            os.rename(self.part(n), self.part(n).replace("x.", "y."))
        os.rename(self.part(1), self.path("y.moetrace"))
        self.assertEqual(moescope.open(self.path("y.moetrace")).info.n_parts, self.n_parts)

    def test_a_later_part_alone(self):
        trace = moescope.open(self.part(2))
        self.assertEqual((trace.info.first_part, trace.info.n_parts), (2, self.n_parts - 1))
        self.assertIn("this is part 2 of a trace", trace.notes[0])
        assert_same(self, gathered(trace), exported(self.part(2)))

    def test_a_part_that_is_missing_is_named(self):
        os.remove(self.part(3))
        info = moescope.open(self.part(1)).info
        self.assertEqual((info.n_parts, info.unread_part, info.ended), (2, self.part(3), False))

    def test_a_part_of_another_trace_is_not_read(self):
        shutil.copy(GOLDEN, self.part(3))
        self.assertEqual(moescope.open(self.part(1)).info.n_parts, 2)

    def test_a_part_that_is_damaged_is_not_passed_over(self):
        with open(self.part(2), "r+b") as file:
            file.seek(os.path.getsize(self.part(2)) // 2)
            file.write(b"\xff" * 64)
        with self.assertRaises(moescope.TraceError) as caught:
            gathered(moescope.open(self.part(1)))
        self.assertEqual(caught.exception.path, self.part(2))

    def test_parts_that_appear_one_after_the_other(self):
        hidden = {n: self.part(n) + ".hidden" for n in range(2, self.n_parts + 1)}
        for n, path in hidden.items():
            os.rename(self.part(n), path)
        trace = moescope.open(self.part(1))
        for n, path in hidden.items():
            self.assertEqual((trace.info.n_parts, trace.info.ended), (n - 1, False))
            before = len(trace.tokens)
            os.rename(path, self.part(n))
            self.assertTrue(trace.refresh())
            self.assertGreater(len(trace.tokens), before)
        assert_same(self, gathered(trace), exported(self.part(1)))


if __name__ == "__main__":
    unittest.main()
