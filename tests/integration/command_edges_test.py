"""What the command line says where something was mistyped, forgotten or cannot be: the truth, in one line, with what to do."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from tool_case import ToolCase  # noqa: E402
from trace_writer import TraceWriter  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
HOST = os.environ["TEST_HOST_BIN"]
N_LAYER = 3


def on_terminal(args, columns, lines, **variables):
    """What a program shows on a terminal of this size."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    run = subprocess.Popen(args, stdin=child, stdout=child, stderr=child, env={**os.environ, **variables})
    os.close(child)
    shown = b""
    while True:
        try:
            if not select.select([parent], [], [], 120)[0]:
                break
            part = os.read(parent, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(parent)
    assert run.wait(timeout=120) == 0, shown
    return shown.decode().replace("\r\n", "\n")


def without_colours(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


class CommandEdges(ToolCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = cls.path("model.gguf")
        cls.dense = cls.path("dense.gguf")
        cls.make("random", "--arch", "qwen3moe", "--layers", str(N_LAYER), "-o", cls.model)
        cls.make("random", "--arch", "llama", "--experts", "0", "-o", cls.dense)
        cls.trace = cls.path("t.moetrace")
        w = TraceWriter(cls.trace, [dict(layer=l, n_expert=4, k=2) for l in (0, 1, 2, 5)])
        rng = np.random.default_rng(3)
        for i in range(20):
            w.ubatch([{"ids": np.argsort(rng.random((1, 4)))[:, :2]} for _ in range(4)], pos=[i], decode=i > 0)
        w.close()
        cls.corpus = cls.path("corpus.jsonl")
        with open(cls.corpus, "w", encoding="utf-8") as file:
            file.write('{"prompt": "one two", "domain": "a"}\n{"prompt": "three", "domain": "b"}\n')

    @classmethod
    def make(cls, *args):
        subprocess.run([MAKE_MODEL, *args], check=True, capture_output=True)

    def tool(self, *args, **options):
        return subprocess.run(
            [MOESCOPE, *args], capture_output=True, text=True, timeout=120, cwd=self.folder, **options
        )

    def refused(self, code, *args):
        """One line on stderr, nothing on stdout."""
        done = self.tool(*args)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (code, "", 1), done.stderr)
        return done.stderr

    # ---- record ----

    def test_layers_that_the_model_lacks_are_not_a_model_without_layers(self):
        done = self.tool("record", "-o", "l.moetrace", "--layers", "99", "--", HOST, "plain", self.model)
        self.assertIn("none of the model's MoE layers is in --layers 99", done.stderr)
        self.assertNotIn("has no MoE layers", done.stderr)
        done = self.tool("record", "-o", "d.moetrace", "--", HOST, "plain", self.dense)
        self.assertIn("the model has no MoE layers", done.stderr)

    def test_a_program_that_ends_at_once_is_said_to_have_done_that(self):
        done = self.tool("record", "-o", "f.moetrace", "--", "sh", "-c", "exit 3")
        self.assertEqual(done.returncode, 3)
        self.assertIn(f"ended with status {done.returncode} before it computed anything", done.stderr)

    def test_a_forgotten_double_dash(self):
        done = self.tool("record", "-o", "n.moetrace", HOST, "plain", self.model)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(os.path.exists(self.path("n.moetrace")))
        # Options behind the program are the program's, even where moescope has one of that name.
        done = self.tool("record", "-q", "/bin/echo", "-o", "x", "--layers")
        self.assertEqual((done.returncode, done.stdout), (0, "-o x --layers\n"))

    def test_no_text_and_no_tokens(self):
        said = {}
        for option, variable in ((None, None), ("--no-text", "NO_TEXT"), ("--no-tokens", "NO_TOKENS")):
            trace = self.path(f"private{option}.moetrace")
            done = self.tool("record", "-o", trace, *([option] if option else []), "--", HOST, "plain", self.model)
            self.assertEqual(done.returncode, 0, done.stderr)
            rows = [json.loads(line) for line in self.tool("export", trace, "-f", "jsonl").stdout.splitlines()]
            info = json.loads(self.tool("info", trace, "--json").stdout)
            with open(trace, "rb") as file:
                said[option] = (rows, info, file.read())
            self.assertEqual(self.tool("check", trace).returncode, 0)
        rows, info, _ = said[None]
        self.assertNotIn("left_out", info)
        self.assertTrue(any(row.get("text") for row in rows), rows[0])
        for option, left_out in (("--no-text", "text"), ("--no-tokens", "text,tokens")):
            got, info, data = said[option]
            self.assertEqual(info["left_out"], left_out)
            self.assertIn("left_out", self.tool("info", self.path(f"private{option}.moetrace")).stdout)
            self.assertFalse(any(row.get("text") for row in got))
            self.assertEqual([r["ids"] for r in got], [r["ids"] for r in rows])
            chunks = self.chunks(data)
            self.assertNotIn(4, [kind for kind, _ in chunks], "texts of tokens")
            ids = {t for kind, payload in chunks if kind == 6 for t in self.token_ids(payload)}
            self.assertEqual(ids == {-1}, option == "--no-tokens", ids)

    @staticmethod
    def chunks(data):
        """(kind, payload) by docs/trace-format.md."""
        at, found = 16, []
        while at < len(data):
            kind, size = struct.unpack_from("<IQ", data, at + 4)
            found.append((kind, data[at + 32 : at + 32 + size]))
            at += 32 + size + -size % 8
        return found

    @staticmethod
    def token_ids(payload):
        at = 0
        while at < len(payload):
            size, _, _, _, _, n_tokens, _ = struct.unpack_from("<IIQIIII", payload, at)
            yield from struct.unpack_from(f"<{n_tokens}i", payload, at + 32)
            at += size

    # ---- answers ----

    def test_layers_that_a_trace_lacks(self):
        for kind in ("frequency", "coactivation", "temporal", "cache", "vocabulary"):
            line = self.refused(2, "analyze", kind, self.trace, "--layers", "99")
            self.assertIn("none of its MoE layers (0 to 2, 5) is in --layers 99", line)
        for kind in ("compare", "stability"):
            self.assertIn("(0 to 2, 5)", self.refused(2, "analyze", kind, self.trace, self.trace, "--layers", "3-4"))

    def test_check_says_by_its_exit_code_that_nothing_was_checked(self):
        self.assertIn("not a moescope trace", self.refused(3, "check", self.model))
        self.assertIn("No such file", self.refused(3, "check", self.path("nope")))
        golden = os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "tests", "golden", "v1.moetrace")
        self.assertEqual(self.tool("check", golden).returncode, 0)

    def test_a_missing_file_comes_with_advice(self):
        for args in (["stats"], ["info"], ["analyze", "cache"], ["report"]):
            self.assertIn(
                "nope: cannot open: No such file or directory; check the name", self.refused(1, *args, "nope")
            )

    def test_an_output_that_is_the_traces_folder(self):
        self.assertIn("this is a folder; give -o a file name", self.refused(1, "report", self.trace, "-o", self.folder))

    def test_errors_name_the_help_of_their_verb(self):
        self.assertIn("(see moescope prune --help)", self.refused(2, "prune", self.model, "--oops"))
        self.assertIn(
            "(see moescope prune --help)", self.refused(2, "prune", self.model, "--criterion", "random", "-o", "x")
        )
        self.assertIn(
            "(see moescope analyze cache --help)", self.refused(2, "analyze", "cache", self.trace, "--slots", "x")
        )
        self.assertIn("(see moescope run --help)", self.refused(2, "run", "--oops"))
        self.assertIn("(see moescope --help)", self.refused(2, "oops"))

    def test_a_number_that_is_too_small(self):
        said = self.refused(2, "prune", self.model, "--criterion", "random", "--keep", "0", "--dry-run")
        self.assertIn("--keep: Value 0 is too small (see moescope prune --help)", said)

    def test_slots_that_are_given_twice(self):
        once, twice = (
            json.loads(self.tool("analyze", "cache", self.trace, "--json", "--all", "--slots", n).stdout)
            for n in ("2", "2,2")
        )
        self.assertEqual(once, twice)

    # ---- run ----

    def test_a_label_key_that_no_line_has(self):
        run = ["run", "-m", self.model, "-t", "1", "--jsonl", self.corpus]
        done = self.tool(*run, "-o", "a.moetrace", "--label-key", "topic")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("no line has the field 'topic' of --label-key", done.stderr)
        done = self.tool(*run, "-o", "b.moetrace", "--label-key", "domain")
        self.assertNotIn("no line has", done.stderr)
        done = self.tool("profile", *run[1:], "-o", "p.json", "--label-key", "topic")
        self.assertIn("no line has the field 'topic' of --label-key", done.stderr)

    def test_help_is_ours_and_llama_cpps_stands_behind(self):
        ours, theirs = self.tool("run", "--help").stdout, self.tool("run", "--help-llama").stdout
        self.assertIn("--label-key", ours)
        self.assertIn("moescope run --help-llama", ours)
        self.assertNotIn("--temp", ours)
        self.assertIn("--temp", theirs)

    # ---- on a terminal ----

    def tall_trace(self):
        path = self.path("tall.moetrace")
        if not os.path.exists(path):
            w = TraceWriter(path, [dict(layer=l, n_expert=128, k=8) for l in range(48)])
            rng = np.random.default_rng(4)
            for i in range(6):
                w.ubatch([{"ids": np.argsort(rng.random((1, 128)))[:, :8]} for _ in range(48)], pos=[i], decode=i > 0)
            w.close()
        return path

    def test_stats_of_48_layers_fit_a_screen_with_the_summary_last(self):
        for lines in (40, 24):
            shown = without_colours(on_terminal([MOESCOPE, "stats", self.tall_trace()], 100, lines)).splitlines()
            self.assertLess(len(shown), lines, "\n".join(shown))
            self.assertRegex(shown[0], "^layer  experts 0 to 127")
            self.assertTrue(shown[-1].startswith("least used "), shown[-1])
        half = without_colours(on_terminal([MOESCOPE, "stats", self.tall_trace()], 160, 60)).splitlines()
        rows = [line for line in half if "▀" in line]
        self.assertEqual([row.split()[0] for row in rows], [str(l) for l in range(0, 48, 2)])
        self.assertEqual({len(row) for row in rows}, {7 + 128})

    def test_half_blocks_show_the_layer_above_and_the_layer_below(self):
        path = self.path("two.moetrace")
        w = TraceWriter(path, [dict(layer=l, n_expert=4, k=1) for l in (0, 1, 2)])
        for i in range(8):  # layer 0: always expert 0; layer 1: always 3; layer 2: all alike
            w.ubatch([{"ids": np.array([[e]])} for e in (0, 3, i % 4)], pos=[i], decode=i > 0)
        w.close()
        lines = on_terminal([MOESCOPE, "stats", path], 100, 50).splitlines()
        never, even, most = 240, 24, 113  # 4 times a balanced share is "up to 6"
        cell = lambda upper, lower: f"\x1b[38;5;{upper};48;5;{lower}m▀\x1b[0m"  # noqa: E731
        self.assertEqual(lines[1], "    0  " + cell(most, never) + 2 * cell(never, never) + cell(never, most))
        self.assertEqual(lines[2], "    2  " + 4 * f"\x1b[38;5;{even}m▀\x1b[0m")

    def test_stats_wrap(self):
        for variables in ({}, {"NO_COLOR": "1"}):
            shown = without_colours(on_terminal([MOESCOPE, "stats", self.tall_trace()], 60, 50, **variables))
            self.assertLessEqual(max(len(line) for line in shown.splitlines()), 60, shown)
            self.assertIn("\n           ", shown)  # a line goes on below its own text

    def test_a_progress_bar_leaves_its_line_clean(self):
        done = on_terminal(
            [MOESCOPE, "run", "-m", self.model, "-t", "1", "-p", "word " * 600, "-ub", "16", "-n", "2", "--temp", "0"]
            + ["-o", self.path("bar.moetrace"), "--force"],
            50,
            40,
        )
        drawn = re.findall(r"\r([^\r\n]*)", done)
        self.assertTrue(any("prompt:" in line for line in drawn), "no bar was drawn: the test shows nothing")
        for line in drawn:
            self.assertLess(len(re.sub(r"\x1b\[[\d;]*[mK]", "", line)), 50, "a bar that wraps cannot be drawn over")
        for line in done.split("\n"):  # what stays: nothing in front of a text but an erased line
            if "prompt:" in line:
                self.assertIn("\r\x1b[K", line[line.rindex("prompt:") :], line)


if __name__ == "__main__":
    unittest.main()
