"""What is written never costs what is read: no verb overwrites one of its inputs, whatever that is called and whatever
--force says; devices and pipes stay what they are; the recorder replaces nothing but traces."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from preload import preloaded  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
HOST = os.environ["TEST_HOST_BIN"]
RECORDER = os.environ["RECORDER_LIB"]
CORPUS = b'{"prompt": "one two three"}\n{"prompt": "four five six"}\n'


def contents(path):
    with open(path, "rb") as file:
        return file.read()


class Outputs(unittest.TestCase):
    """Inputs that every test may name; none of them may change."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="moescope-test.")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.model = cls.path("model.gguf")
        subprocess.run([MAKE_MODEL, "planted", "-o", cls.model], check=True, capture_output=True)
        cls.corpus = cls.write("corpus.jsonl", CORPUS)
        cls.trace = cls.path("run.moetrace")
        cls.parts = cls.path("parts.moetrace")
        record = ["run", "-m", cls.model, "-t", "1", "-q", "-p", "some text to route " * 8, "-n", "4"]
        cls.done(*record, "-o", cls.trace, "--capture", "gate-input,access")
        cls.done(*record, "-o", cls.parts, "--max-size", "4K")
        cls.sums = cls.path("sums.moestats")
        cls.done("profile", "-m", cls.model, "--jsonl", cls.corpus, "-t", "1", "-q", "-o", cls.path("sums.json"))

    def setUp(self):
        self.before = {f: contents(self.path(f)) for f in os.listdir(self.folder) if os.path.isfile(self.path(f))}

    def tearDown(self):
        for name, was in self.before.items():
            self.assertEqual(contents(self.path(name)), was, name)
        for name in set(os.listdir(self.folder)) - set(self.before):
            path = self.path(name)
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def write(cls, name, content):
        with open(cls.path(name), "wb") as file:
            file.write(content)
        return cls.path(name)

    @classmethod
    def run_tool(cls, *args, **options):
        return subprocess.run([MOESCOPE, *args], capture_output=True, text=True, timeout=120, cwd=cls.folder, **options)

    @classmethod
    def done(cls, *args):
        result = cls.run_tool(*args)
        assert result.returncode == 0, f"{args}: {result.stderr}"
        return result

    def refused(self, *args):
        """The output is an input: one line, exit code 2; the inputs are compared behind each test."""
        result = self.run_tool(*args, "--force")
        self.assertEqual(result.returncode, 2, f"{args}: {result.stderr}")
        lines = result.stderr.splitlines()
        self.assertIn("the output is also an input", lines[-1], args)
        self.assertEqual(len([line for line in lines if "also an input" in line]), 1, lines)


class NeverAnInput(Outputs):
    def test_run(self):
        run = ["run", "-m", self.model, "-t", "1", "-p", "x"]
        self.refused(*run, "-o", self.model)
        self.refused(*run, "-o", self.path("new.moetrace"), "--log", self.model)
        prompts = self.write("prompts.txt", b"a prompt")
        self.refused("run", "-m", self.model, "-t", "1", "-f", prompts, "-o", prompts)
        self.refused("run", "-m", self.model, "-t", "1", "--jsonl", self.corpus, "-o", self.corpus)

    def test_profile(self):
        profile = ["profile", "-m", self.model, "--jsonl", self.corpus, "-t", "1", "-q"]
        self.refused(*profile, "-o", self.corpus)
        self.refused(*profile, "-o", self.model)
        text = self.write("text.moestats", b"a text whose name is that of the sums")
        self.refused("profile", "-m", self.model, "--text", text, "-t", "1", "-q", "-o", self.path("text.json"))

    def test_map(self):
        self.refused("map", self.model, "-o", self.model)
        self.refused("map", self.model, "--check", "-o", self.model)

    def test_answers(self):
        for verb in (
            ["stats", self.trace],
            ["stats", self.trace, "--json"],
            ["stats", self.trace, "--access", "--model", self.model],
            ["check", self.trace],
            ["info", self.trace],
            ["analyze", "frequency", self.trace],
            ["analyze", "compare", self.parts, self.trace],
        ):
            with self.subTest(verb):
                self.refused(*verb, "-o", self.trace)
        self.refused("stats", self.trace, "--access", "--model", self.model, "-o", self.model)
        self.refused("info", self.model, "-o", self.model)

    def test_export(self):
        self.refused("export", self.trace, "-f", "csv", "-o", self.trace)
        self.refused("export", self.trace, "-f", "access-json", "--model", self.model, "-o", self.model)
        folder = self.path("folder")
        self.done("export", self.trace, "-f", "npy", "-o", folder)
        inside = shutil.copy(self.trace, folder)
        self.refused("export", inside, "-f", "npy", "-o", folder)
        self.assertEqual(contents(inside), contents(self.trace))

    def test_report(self):
        self.refused("report", self.parts, self.trace, "-o", self.trace)
        self.refused("report", self.trace, "--model", self.model, "-o", self.model)
        os.mkdir(self.path("charts"))
        picture = self.path("charts/expert_frequency.svg")
        os.link(self.trace, picture)
        self.refused("report", self.trace, "--charts", self.path("charts"))
        self.assertTrue(os.path.samefile(picture, self.trace))

    def test_prune(self):
        prune = ["prune", self.model, "--stats", self.sums, "--keep", "4"]
        self.refused(*prune, "-o", self.model)
        self.refused(*prune, "-o", self.sums)
        ids = self.write("ids.txt", b"".join(b"%d: 0 1 2 3\n" % il for il in range(3)))
        self.refused("prune", self.model, "--keep-ids", ids, "-o", ids)

    def test_merge(self):
        other = shutil.copy(self.sums, self.path("other.moestats"))
        self.refused("merge", self.sums, other, "-o", other)
        self.refused("merge", self.sums, "-o", self.path("new.moestats"), "--expert-stats", self.sums)

    def test_by_another_name(self):
        os.link(self.trace, self.path("hard.moetrace"))
        os.symlink("run.moetrace", self.path("soft.moetrace"))
        for name in ("hard.moetrace", "soft.moetrace", "./run.moetrace"):
            with self.subTest(name):
                self.refused("export", self.trace, "-f", "csv", "-o", self.path(name))

    def test_every_part_of_a_trace_is_an_input(self):
        second = self.path("parts.part2.moetrace")
        self.assertTrue(os.path.exists(second))
        self.refused("export", self.parts, "-f", "csv", "-o", second)

    def test_without_force_the_reason_is_the_same(self):
        result = self.run_tool("check", self.trace, "-o", self.trace)
        self.assertEqual(result.returncode, 2)
        self.assertIn("also an input", result.stderr)


class DevicesAndPipes(Outputs):
    def device(self):
        path = self.path("null")
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
            os.close(os.open(path, os.O_WRONLY))
        except PermissionError:
            self.skipTest("no devices here")
        return path

    def prune(self, *options):
        return ["prune", self.model, "--stats", self.sums, "--keep", "4", "-q", *options]

    def test_a_device_stays_a_device(self):
        null = self.device()
        for verb in (
            self.prune("--force"),
            ["map", self.model, "--force"],
            ["map", self.model],
            ["export", self.trace, "-f", "csv"],
            ["report", self.trace],
            ["check", self.trace, "--force"],
        ):
            with self.subTest(verb):
                self.done(*verb, "-o", null)
                self.assertTrue(stat.S_ISCHR(os.stat(null).st_mode))

    def test_a_pipe_gets_what_a_file_gets(self):
        pipe, file = self.path("pipe"), self.path("file")
        os.mkfifo(pipe)
        for verb in (self.prune(), ["map", self.model], ["export", self.trace, "-f", "jsonl"]):
            with self.subTest(verb):
                heard = []
                reader = threading.Thread(target=lambda: heard.append(contents(pipe)))
                reader.start()
                self.done(*verb, "-o", pipe)
                reader.join()
                self.done(*verb, "-o", file, "--force")
                self.assertEqual(heard[0], contents(file))
                self.assertTrue(stat.S_ISFIFO(os.stat(pipe).st_mode))

    # /dev/stdout is a link: what replaced it would take it from every program of this machine. So it is done with a link
    # of our own that leads where that one does.
    def test_a_link_to_what_stdout_is_stays_a_link(self):
        link = self.path("stdout")
        os.symlink("/proc/self/fd/1", link)
        with open(self.path("out"), "wb") as out:
            subprocess.run([MOESCOPE, "check", self.trace, "-o", link, "--force"], stdout=out, check=True, timeout=60)
        self.assertTrue(os.path.islink(link))
        self.assertIn(b"no findings", contents(self.path("out")))


class RecorderReplacesTracesOnly(Outputs):
    def test_record(self):
        for path in (self.model, self.corpus):
            result = self.run_tool("record", "-o", path, "--force", "--", HOST, "decode", self.model)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
            self.assertIn("not a trace", result.stderr)
        trace = shutil.copy(self.trace, self.path("again.moetrace"))
        self.done("record", "-o", trace, "--force", "-q", "--", HOST, "decode", self.model)
        self.assertNotEqual(contents(trace), contents(self.trace))

    def preload(self, variable, path):
        env = dict(preloaded(RECORDER), **{variable: path})
        result = subprocess.run([HOST, "decode", self.model], capture_output=True, text=True, timeout=120, env=env)
        self.assertEqual(result.returncode, 0, result.stderr)
        return [line for line in result.stderr.splitlines() if line.startswith("moescope:")]

    def test_preloaded(self):
        for variable, kind in (
            ("MOESCOPE_OUTPUT", "a trace"),
            ("LLAMA_MOE_LOG", "a CSV log"),
            ("LLAMA_EXPERT_TRACE_OUTPUT", "JSON"),
        ):
            with self.subTest(variable):
                lines = self.preload(variable, self.model)
                self.assertEqual(len(lines), 1, lines)
                self.assertIn("not " + kind, lines[0])
                fresh = self.write("empty", b"")  # as mktemp leaves it
                self.assertEqual(self.preload(variable, fresh), [])
                first = contents(fresh)
                self.assertGreater(len(first), 0)
                self.assertEqual(self.preload(variable, fresh), [])  # its own of before
                if variable != "MOESCOPE_OUTPUT":
                    self.assertEqual(contents(fresh), first)


if __name__ == "__main__":
    unittest.main()
