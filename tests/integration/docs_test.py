"""The pages agree with the program and with each other: every link leads somewhere, every page is linked, and the examples
show what moescope prints. Numbers may differ (processors round differently); words may not."""

import glob
import os
import re
import subprocess
import tempfile
import unittest

SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
MOESCOPE = os.environ["MOESCOPE_BIN"]
LLAMA_CPP = os.environ["LLAMA_CPP_BIN"]


def read(page):
    with open(page, encoding="utf-8") as f:
        return f.read()


def pages():
    places = ["*.md", "docs/*.md", "models/*.md", "bench/*.md", "tools/*/*.md", "python/*.md", "tests/golden/*/*.md"]
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
        path = os.path.dirname(MOESCOPE) + os.pathsep + os.environ["PATH"]
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


if __name__ == "__main__":
    unittest.main()
