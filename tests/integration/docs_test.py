"""The pages agree with the program and with each other: every link leads somewhere, every page is linked, and the examples
show what moescope prints. Numbers may differ (processors round differently); words may not."""

import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
MOESCOPE = os.environ["MOESCOPE_BIN"]
LLAMA_CPP = os.environ["LLAMA_CPP_BIN"]


def read(page):
    with open(page, encoding="utf-8") as f:
        return f.read()


def pages():
    places = [
        "*.md",
        "docs/*.md",
        "models/*.md",
        "bench/*.md",
        "tools/*/*.md",
        "python/*.md",
        "contrib/*/*.md",
        "tests/golden/*/*.md",
    ]
    return [page for place in places for page in sorted(glob.glob(os.path.join(SOURCE, place)))]


def anchor(heading):
    """As forges make it: lower case, blanks become hyphens, other signs go."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page):
    return {anchor(h) for h in re.findall(r"^#+ (.*)$", read(page), re.MULTILINE)}


def links(page):
    """(as written, file it leads to, anchor or '') of every link inside the repository."""
    for written in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if not written.startswith("http"):
            path, _, place = written.partition("#")
            yield written, os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page, place


class Links(unittest.TestCase):
    def test_every_link_leads_somewhere(self):
        for page in pages():
            for written, target, place in links(page):
                with self.subTest(page=page, link=written):
                    self.assertTrue(os.path.exists(target))
                    if place:
                        self.assertIn(place, anchors(target))

    def test_every_page_is_linked_from_another(self):
        linked = {target for page in pages() for _, target, _ in links(page) if target != page}
        first = os.path.join(SOURCE, "README.md")
        self.assertEqual([p for p in pages() if p not in linked and p != first], [])


def words(text):
    """The text without what may differ: numbers, folders, spaces."""
    text = re.sub(r"(/[\w.-]+)+/", "", text)
    return " ".join(re.sub(r"\d[\d.,]*", "#", text).split())


def examples(page):
    """(commands, what is shown of the last one's output, in pieces between lines of …) of every block with a prompt."""
    for block in re.findall(r"^```\n(\$ .*?)^```", read(page), re.MULTILINE | re.DOTALL):
        lines = block.splitlines()
        commands = [line[2:] for line in lines if line.startswith("$ ")]
        shown = [[]]
        for line in lines[len(commands) :]:
            if line == "…":
                shown.append([])
            elif not re.match(r"\s*[\d,.]+  ", line):  # rows of a table: which ones lead may differ
                shown[-1].append(line)
        yield commands, [words("\n".join(piece)) for piece in shown]


class EnvironmentVariables(unittest.TestCase):
    """docs/environment.md has the variables of the header that defines them, and those that our code reads by name."""

    def test_all_of_them_and_no_other(self):
        header = read(os.path.join(SOURCE, "src", "recorder", "environment.hpp"))
        named = set(re.findall(r'=\s*"([A-Z][A-Z0-9_]+)"', header))
        for path in glob.glob(os.path.join(SOURCE, "src", "**", "*.cpp"), recursive=True):
            named |= set(re.findall(r'getenv\("(\w+)"\)', read(path)))
        page = read(os.path.join(SOURCE, "docs", "environment.md"))
        self.assertIn("MOESCOPE_OUTPUT", named)
        self.assertEqual(set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)), named)

    def test_their_options_are_those_of_record(self):
        page = read(os.path.join(SOURCE, "docs", "environment.md"))
        offered = subprocess.run([MOESCOPE, "record", "--help"], capture_output=True, text=True, check=True).stdout
        options = re.findall(r"^\| `\w+` \| `(--?[\w-]+)`", page, re.MULTILINE)
        self.assertGreaterEqual(len(options), 9)
        for option in options:
            self.assertRegex(offered, rf"(^|[\s,]){option}\b")


class Examples(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.makedirs(os.path.join(self.folder, "build", "bin"))
        for name, target in (
            ("models", os.path.join(SOURCE, "models")),
            ("build/llama.cpp", LLAMA_CPP),
            ("build/bin/moescope", MOESCOPE),
        ):
            os.symlink(target, os.path.join(self.folder, name))

    def run_command(self, command):
        path = os.pathsep.join([os.path.dirname(MOESCOPE), LLAMA_CPP, os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        self.assertEqual(done.returncode, 0, command + "\n" + output)
        return output

    def check(self, page):
        n = 0
        for commands, shown in examples(page):
            if any("llama-server" in command for command in commands):
                continue  # its clients are not part of the example
            with self.subTest(command=commands[-1]):
                output = words([self.run_command(command) for command in commands][-1])
                at = 0
                for piece in shown:
                    self.assertIn(piece, output[at:])
                    at = output.index(piece, at) + len(piece)
                n += 1
        return n

    def test_of_the_readme(self):
        self.assertEqual(self.check(os.path.join(SOURCE, "README.md")), 1)

    def test_of_the_analyses(self):
        page = os.path.join(SOURCE, "docs", "analyses.md")
        self.run_command(re.search(r"^moescope run .* -o demo\.moetrace$", read(page), re.MULTILINE).group())
        self.assertGreaterEqual(self.check(page), 11)


def commands_of(page):
    """Every command of a page: the lines of its blocks without what they print, and the cells of its tables."""
    for block in re.findall(r"^```\n(.*?)^```", read(page), re.MULTILINE | re.DOTALL):
        lines = block.splitlines()
        shown = [line[2:] for line in lines if line.startswith("$ ")]
        yield from shown or [re.sub(r"\s+# .*", "", line) for line in lines if line.strip()]
    yield from re.findall(r"^\| `(moescope [^`]*)` \|", read(page), re.MULTILINE)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class CommandsOfTheReadme(unittest.TestCase):
    """Every command is run as it stands there. Of those that build or install, which scripts/try-clean runs in a bare system,
    it is checked that what they name exists and takes these options."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        path = [os.path.dirname(MOESCOPE), LLAMA_CPP, os.environ["PATH"]]
        cls.env = {**os.environ, "PATH": os.pathsep.join(path), "LLAMA_ARG_PORT": str(free_port())}
        for name, target in (
            ("models", os.path.join(SOURCE, "models")),
            ("model.gguf", os.path.join(SOURCE, "models", "demo.gguf")),
            ("corpus.jsonl", os.path.join(SOURCE, "models", "prompts.jsonl")),
            ("held-out.jsonl", os.path.join(SOURCE, "models", "prompts.jsonl")),
        ):
            os.symlink(target, os.path.join(cls.folder, name))
        cls.run_in_folder(
            "moescope run -m model.gguf -p 2+3= -n 4 -q --capture ids,weights,norms,access -o run.moetrace"
        )
        for half in (0, 1):
            cls.run_in_folder(f"moescope profile -m model.gguf --jsonl corpus.jsonl --shard {half}/2 -q -o {half}.json")
            os.rename(os.path.join(cls.folder, f"{half}.moestats"), os.path.join(cls.folder, "ab"[half] + ".moestats"))

    @classmethod
    def run_in_folder(cls, command):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=cls.folder,
            env=cls.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def complete(self, url):
        body = json.dumps({"prompt": "2+3=", "n_predict": 2}).encode()
        request = urllib.request.Request(url + "/completion", body, {"Content-Type": "application/json"})
        for _ in range(50):
            try:
                urllib.request.urlopen(request, timeout=60).read()
                return
            except OSError:  # still loading the model
                time.sleep(0.1)
        self.fail("the server does not answer")

    def serve(self, command):
        """Runs what goes on until Ctrl-C, and presses it once it has said where it listens."""
        log = os.path.join(self.folder, "server.log")
        with open(log, "w", encoding="utf-8") as out:
            server = subprocess.Popen(
                ["bash", "-c", "exec " + command],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            end = time.time() + 120
            while not re.search(r"http://127\.0\.0\.1:\d+", read(log)) and time.time() < end:
                self.assertIsNone(server.poll(), read(log))
                time.sleep(0.1)
            if "llama-server" in command:  # one that computes nothing leaves nothing to record
                self.complete(re.search(r"http://127\.0\.0\.1:\d+", read(log)).group(0))
            server.send_signal(signal.SIGINT)
            self.assertIn(server.wait(60), (0, 130), read(log))
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()

    def check_build_command(self, command):
        words = command.removeprefix("sudo ").split()
        if words[0].removeprefix("./").startswith("scripts/"):
            script = os.path.join(SOURCE, words[0])
            text = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
            for option in words[1:]:
                self.assertIn(option, text)
        elif words[:2] == ["apt", "install"]:
            self.assertRegex(words[2], r"^\./out/packages/moescope_\S+\.deb$")
            self.assertIn("moescope_VERSION", read(os.path.join(SOURCE, "scripts", "package")))
        elif words[:2] == ["cmake", "--install"]:
            self.assertEqual(words[2], "build")  # install_test
        elif words[0] == "cmake":
            presets = json.loads(read(os.path.join(SOURCE, "CMakePresets.json")))
            kind = "buildPresets" if words[1] == "--build" else "configurePresets"
            self.assertIn(words[words.index("--preset") + 1], [p["name"] for p in presets[kind]])
        else:
            self.fail("nothing runs this: " + command)

    def test_of_the_readme(self):
        done = 0
        for line in commands_of(os.path.join(SOURCE, "README.md")):
            for command in line.split(" && "):
                with self.subTest(command=command):
                    if "llama-server" in command or command.startswith("moescope serve"):
                        self.serve(command)
                    elif command.startswith("moescope "):
                        self.run_in_folder(command)
                    else:
                        self.check_build_command(command)
                    done += 1
        self.assertGreaterEqual(done, 25)


if __name__ == "__main__":
    unittest.main()
