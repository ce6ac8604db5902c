"""What nobody should do to moescope, and what may come of it: one clear line, and no more."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from preload import preloaded  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
HOST = os.environ["TEST_HOST_BIN"]
RECORDER = os.environ["RECORDER_LIB"]
ESCAPE = "\x1b[31mred\x07"


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", timeout=120, **options)


class Abuse(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="moescope-test.")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.model = cls.path("model.gguf")
        subprocess.run([MAKE_MODEL, "planted", "-o", cls.model], check=True, capture_output=True)
        cls.trace = cls.record(cls.model, "run.moetrace")

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def record(cls, model, name):
        run(MOESCOPE, "run", "-m", model, "-t", "1", "-q", "-p", "some text", "-n", "4", "-o", cls.path(name))
        return cls.path(name)


class Printing(Abuse):
    def with_stderr(self, redirection, *command):
        return run("sh", "-c", 'exec "$@" ' + redirection, "sh", *command)

    def test_a_closed_or_full_stderr_ends_nothing(self):
        full = self.path("full")
        os.symlink("/dev/full", full)
        for redirection in ("2>&-", f"2>>{full}"):
            for command, output in (
                (["run", "-m", self.model, "-t", "1", "-p", "a", "-n", "2", "-o", self.path("new.moetrace")], None),
                (["record", "-o", self.path("new.moetrace"), "--", "echo", "it ran"], "it ran\n"),
                (["profile", "-m", self.model, "--text", self.corpus(), "-t", "1", "-o", self.path("p.json")], None),
            ):
                with self.subTest(command[0] + redirection):
                    result = self.with_stderr(redirection, MOESCOPE, command[0], "--force", *command[1:])
                    self.assertEqual(result.returncode, 0)
                    if output:
                        self.assertEqual(result.stdout, output)
            self.assertEqual(self.with_stderr(redirection, MOESCOPE, "stats", "/nowhere").returncode, 1)
            self.assertEqual(self.with_stderr(redirection, MOESCOPE, "stats", "--nonsense").returncode, 2)

    def corpus(self):
        with open(self.path("corpus.txt"), "w", encoding="utf-8") as file:
            file.write("one two three four five " * 20)
        return self.path("corpus.txt")

    def test_messages_do_not_land_in_a_file_that_took_the_number_of_a_closed_stderr(self):
        out = self.path("stats.txt")
        self.assertEqual(self.with_stderr("2>&-", MOESCOPE, "stats", self.trace, "-o", out).returncode, 0)
        with open(out, encoding="utf-8") as file:
            self.assertNotIn("moescope:", file.read())

    def test_foreign_text_does_not_steer_the_terminal(self):
        shutil.copy(self.model, self.path(ESCAPE + ".gguf"))
        trace = self.record(self.path(ESCAPE + ".gguf"), ESCAPE + ".moetrace")
        cut = self.path(ESCAPE + "cut.moetrace")
        with open(trace, "rb") as whole, open(cut, "wb") as file:
            file.write(whole.read()[:-20])
        model = self.path(ESCAPE + ".gguf")
        for command in (
            ["stats", trace],
            ["stats", cut],
            ["stats", trace, "--access"],
            ["check", trace],
            ["check", cut],
            ["info", trace],
            ["info", model],
            ["map", model, "-o", self.path("map.csv")],
            ["analyze", "frequency", trace],
            ["analyze", "gate-drift", trace],
            ["analyze", "compare", trace, cut],
            ["analyze", "cache", trace],
            ["analyze", "placement", trace, "--devices", "2"],
            ["export", trace, "-f", "csv", "-o", "/nowhere/" + ESCAPE],
            ["report", trace, "-o", "/nowhere/" + ESCAPE],
            ["merge", trace, "-o", self.path("x.moestats")],
            ["prune", model, "--stats", trace, "--keep", "4", "-o", self.path("x.gguf")],
            ["run", "-m", self.path(ESCAPE + "missing"), "-p", "x", "-o", self.path("x.moetrace")],
            ["run", "-m", trace, "-v", "-p", "x", "-o", self.path("x.moetrace")],
            ["record", "-o", self.path(ESCAPE + "2.moetrace"), "--", HOST, "plain", model],
            ["record", "--", "/nowhere/" + ESCAPE],
            ["stats", "--" + ESCAPE],
        ):
            with self.subTest(command[:2]):
                result = run(MOESCOPE, *command)
                self.assertNotRegex(result.stdout + result.stderr, r"[\x00-\x08\x0b-\x1f\x7f]")


@unittest.skipIf("san.so" in os.environ.get("LD_PRELOAD", ""), "a sanitizer reserves more memory than these allow")
class Sizes(Abuse):
    def test_a_tiny_log_does_not_take_all_memory(self):
        logs = []
        for i in range(2):
            logs.append(self.path(f"tiny{i}.csv"))
            with open(logs[-1], "w", encoding="utf-8") as file:
                file.writelines(f"{layer},1 2 3 30000\n" for layer in range(4))
        for command in (["coactivation", logs[0]], ["compare", *logs]):
            with self.subTest(command[0]):
                result = run("prlimit", f"--as={4 << 30}", MOESCOPE, "analyze", *command)
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertRegex(
                    result.stderr, r"^moescope: a table of all pairs .* would take \d+\.\d GiB of memory; .*\n$"
                )

    def test_no_memory_names_what_was_asked_for(self):
        big = self.path("big.csv")
        with open(big, "w", encoding="utf-8") as file:
            file.writelines(f"{layer},1 2 3 16000000\n" for layer in range(40))
        result = run("prlimit", f"--as={600 << 20}", MOESCOPE, "analyze", "frequency", big)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"^moescope: .*big\.csv.*\n$")
        self.assertNotIn("std::bad_alloc", result.stderr)

    def test_a_huge_line_is_one_malformed_line(self):
        corpus = self.path("huge.jsonl")
        with open(corpus, "w", encoding="utf-8") as file:
            file.write('{"prompt": "one two three"}\n')
            file.write('{"prompt": "' + "x" * (20 << 20) + '"}\n')
            file.write('{"prompt": "four five six"}\n')
        command = ["profile", "-m", self.model, "--jsonl", corpus, "-t", "1", "-o", self.path("huge.json")]
        result = run(MOESCOPE, *command)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("2 samples", result.stdout)
        self.assertIn("more than --max-line", result.stderr)
        self.assertEqual(run(MOESCOPE, *command, "--force", "--max-line", "1G", "--limit", "1").returncode, 0)


class Waiting(Abuse):
    def test_a_pipe_named_as_the_model_of_a_trace(self):
        model = self.path("named.gguf")
        shutil.copy(self.model, model)
        trace = self.record(model, "named.moetrace")
        os.unlink(model)
        os.mkfifo(model)
        for command in (
            ["stats", trace],
            ["stats", trace, "--access"],
            ["info", trace],
            ["check", trace],
            ["analyze", "cache", trace],
            ["report", trace, "--model", model, "-o", self.path("r.html")],
            ["report", trace, "-o", self.path("r2.html")],
            ["map", model],
            ["info", model],
        ):
            with self.subTest(command[:2]):
                result = subprocess.run([MOESCOPE, *command], capture_output=True, timeout=20, check=False)
                self.assertIn(result.returncode, (0, 1))

    def test_a_pipe_named_as_the_next_part(self):
        trace = self.path("parts.moetrace")
        run(
            MOESCOPE, "run", "-m", self.model, "-t", "1", "-q", "-p", "text " * 60, "-n", "2", "-o", trace, "--max-size", "4K"
        )  # fmt: skip
        part = self.path("parts.part2.moetrace")
        self.assertTrue(os.path.exists(part))
        os.unlink(part)
        os.mkfifo(part)
        for command in (["stats", trace], ["check", trace], ["info", trace], ["export", trace, "-f", "csv"]):
            with self.subTest(command[0]):
                result = subprocess.run([MOESCOPE, *command], capture_output=True, timeout=20, check=False)
                self.assertIn(result.returncode, (0, 1))

    def test_slow_connections_hold_up_nobody(self):
        serve = subprocess.Popen(
            [MOESCOPE, "serve", self.trace], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            url = serve.stdout.readline().strip()
            port = int(re.match(r"http://127.0.0.1:(\d+)/", url)[1])
            slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
            for s in slow:
                s.sendall(b"GET /metr")
            time.sleep(0.5)
            begin = time.monotonic()
            for _ in range(3):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request("GET", "/metrics")
                self.assertEqual(connection.getresponse().status, 200)
                connection.close()
            self.assertLess(time.monotonic() - begin, 3)
            # A byte now and then is not enough to stay.
            end = time.monotonic() + 12
            while slow and time.monotonic() < end:
                time.sleep(1)
                slow = [s for s in slow if self.drips(s)]
            self.assertEqual(len(slow), 0)
        finally:
            serve.terminate()
            serve.communicate(timeout=20)

    @staticmethod
    def drips(connection):
        try:
            connection.sendall(b"i")
            connection.setblocking(False)
            try:
                return connection.recv(1) != b""
            except BlockingIOError:
                return True
        except OSError:
            return False

    def test_a_program_that_ends_at_once_under_a_live_page(self):
        for i in range(5):
            result = run(MOESCOPE, "record", "-o", self.path(f"live{i}.moetrace"), "--live=0", "--", "true")
            self.assertEqual(result.returncode, 0)


class Environment(Abuse):
    def hosted(self, **variables):
        env = dict(preloaded(RECORDER), **variables)
        result = run(HOST, "plain", self.model, env=env)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stdout, run(HOST, "plain", self.model).stdout)
        return result.stderr

    def test_values_that_mean_nothing_are_off_and_said(self):
        for name, value in (
            ("MOESCOPE_MAX_SIZE", "-5"),
            ("MOESCOPE_MAX_SIZE", "5G"),
            ("MOESCOPE_MAX_SIZE", "99999999999999999999999"),
            ("MOESCOPE_F16", "yes"),
            ("MOESCOPE_NOP", "banana"),
            ("MOESCOPE_COUNTS_ONLY", "-1"),
            ("MOESCOPE_LAYERS", "many"),
            ("MOESCOPE_CAPTURE", "everything"),
        ):
            with self.subTest(f"{name}={value}"):
                trace = self.path("off.moetrace")
                said = self.hosted(MOESCOPE_OUTPUT=trace, **{name: value})
                self.assertRegex(said, r"^moescope: not recording: .*\n$")
                self.assertIn(value, said)
                self.assertFalse(os.path.exists(trace))

    def test_several_outputs_into_one_file(self):
        shared = self.path("shared")
        os.symlink(shared, self.path("link"))
        for variables in (
            {"MOESCOPE_OUTPUT": shared, "LLAMA_MOE_LOG": shared},
            {"MOESCOPE_OUTPUT": shared, "LLAMA_EXPERT_TRACE_OUTPUT": self.folder + "/./shared"},
            {"LLAMA_MOE_LOG": shared, "LLAMA_EXPERT_TRACE_OUTPUT": self.path("link")},
        ):
            with self.subTest(list(variables)):
                self.assertIn("name the same file", self.hosted(**variables))
                self.assertFalse(os.path.exists(shared))
        out = {name: self.path(name) for name in ("MOESCOPE_OUTPUT", "LLAMA_MOE_LOG", "LLAMA_EXPERT_TRACE_OUTPUT")}
        self.assertEqual(self.hosted(**out).count("not recording"), 0)
        self.assertTrue(all(os.path.exists(path) for path in out.values()))
        with open(out["LLAMA_EXPERT_TRACE_OUTPUT"], encoding="utf-8") as file:
            self.assertEqual(json.load(file)["total_tokens"], 101)


if __name__ == "__main__":
    unittest.main()
