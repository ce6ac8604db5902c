"""Every figure that moescope gives of the inputs stays what it was: what the commands of commands.txt print and write
now, against what a build before them printed and wrote (expected/). README.md says how the expected files are made anew.
"""

import argparse
import lzma
import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from difference import difference  # noqa: E402
from machine import Machine  # noqa: E402
from outputs import Job, kinds  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ.get("MOESCOPE_SOURCE_DIR", os.path.join(HERE, "..", "..", ".."))
EXPECTED = os.path.join(HERE, "expected")
PLAIN = 20_000  # bytes; what is larger is kept compressed


def commands():
    """[(name, kind, words)]"""
    found = []
    with open(os.path.join(HERE, "commands.txt")) as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                name, kind, command = line.split(None, 2)
                found.append((name, kind, command.split()))
    return found


def set_out(folder):
    """Puts the inputs where the commands find them: the compressed ones unpacked, the others as links."""
    inputs = os.path.join(HERE, "inputs")
    for name in os.listdir(inputs):
        if name.endswith(".xz"):
            with lzma.open(os.path.join(inputs, name)) as packed, open(os.path.join(folder, name[:-3]), "wb") as out:
                out.write(packed.read())
        else:
            os.symlink(os.path.join(inputs, name), os.path.join(folder, name))
    for path in ("tests/golden/v1.moetrace", "models/demo.gguf"):
        os.symlink(os.path.abspath(os.path.join(SOURCE, path)), os.path.join(folder, os.path.basename(path)))


def read_expected(name):
    """The bytes, or None."""
    path = os.path.join(EXPECTED, name)
    if os.path.exists(path):
        with open(path, "rb") as file:
            return file.read()
    if os.path.exists(path + ".xz"):
        with lzma.open(path + ".xz") as file:
            return file.read()
    return None


def write_expected(name, data):
    path = os.path.join(EXPECTED, name)
    for old in (path, path + ".xz"):
        if os.path.exists(old):
            os.remove(old)
    if len(data) > PLAIN:
        path, data = path + ".xz", lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    with open(path, "wb") as file:
        file.write(data)


def expected_names():
    return {re.sub(r"\.xz$", "", name) for name in os.listdir(EXPECTED)} - {"machine.json"}


class Answers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.moescope = os.environ["MOESCOPE_BIN"]
        cls.machine = Machine(os.path.join(EXPECTED, "machine.json"))
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = scratch.name
        set_out(cls.folder)

    def test_every_answer_is_what_it_was(self):
        for name, kind, words in commands():
            with self.subTest(name):
                got = kinds[kind](Job(self.moescope, words, self.folder, name))
                found = difference(read_expected(name), got, self.machine.tolerance(kind))
                if found:
                    self.fail(f"\n  moescope {' '.join(words)}\n{found}")

    def test_every_command_has_its_expected_file_and_the_other_way_round(self):
        names = [name for name, _, _ in commands()]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(expected_names(), set(names))

    def offered(self, *words):
        """The names that a help text lists, each at the beginning of a line."""
        text = subprocess.run([self.moescope, *words, "--help"], capture_output=True, text=True, check=True).stdout
        return re.findall(r"^ +([a-z][a-z-]*)  +\S", text, re.MULTILINE)

    def test_no_analysis_and_no_format_is_forgotten(self):
        lines = [" ".join(words) for _, _, words in commands()]
        asked = [f"analyze {kind} " for kind in self.offered("analyze")]
        # Parquet is written by DuckDB, which need not be there; sql_test reads it back.
        asked += [f" -f {form}" for form in self.offered("export") if form not in ("trace", "parquet")]
        self.assertGreaterEqual(len(asked), 18)
        for what in asked:
            self.assertTrue(any(what in line + " " for line in lines), f"no command has '{what}'")


class Differences(unittest.TestCase):
    """What would pass unseen if `difference` were blind."""

    def test_one_digit(self):
        old = b'exit = 0\nlayers[0] = {"entropy": 0.9731234567890123, "rows": 12}\n'
        self.assertEqual(difference(old, old), "")
        new = old.replace(b"0123", b"0124")
        self.assertIn("layers[0].entropy", difference(old, new))
        self.assertEqual(difference(old, new, 1e-9), "")
        self.assertIn("layers[0].entropy", difference(old, old.replace(b"0.9731", b"0.9732"), 1e-9))

    def test_counts_have_no_tolerance(self):
        self.assertIn("rows", difference(b"rows = 1000000000000\n", b"rows = 1000000000001\n", 1e-3))

    def test_one_byte(self):
        self.assertIn("byte 5", difference(b"\x93NUM\0\x01\x02", b"\x93NUM\0\x02\x02"))

    def test_one_line_more_or_less(self):
        for old, new in ((b"a = 1\n", b"a = 1\nb = 2\n"), (b"a = 1\nb = 2\n", b"a = 1\n")):
            self.assertIn("b", difference(old, new))

    def test_nothing_expected(self):
        self.assertIn("no expected file", difference(None, b"a = 1\n"))


def regenerate(binary, names, replace):
    """Makes expected files with a binary; existing ones that would change only if `replace`. Returns the exit code."""
    chosen = [c for c in commands() if not names or c[0] in names]
    if names and not Machine(os.path.join(EXPECTED, "machine.json")).same_model:
        print("the other expected files were made on another kind of machine: make all, without names")
        return 1
    refused = 0
    with tempfile.TemporaryDirectory() as folder:
        set_out(folder)
        for name, kind, words in chosen:
            got = kinds[kind](Job(os.path.abspath(binary), words, folder, name))
            old = read_expected(name)
            if old == got:
                continue
            if old is not None:
                print(f"{name}\n{difference(old, got)}")
                if not replace:
                    refused += 1
                    continue
            write_expected(name, got)
    if refused:
        print(f"{refused} of {len(chosen)} would change and are kept; --replace writes them")
        return 1
    if not names:
        Machine.record(os.path.join(EXPECTED, "machine.json"))
    return 0


def main():
    parser = argparse.ArgumentParser(description="Makes the expected files. Without arguments: runs the test.")
    parser.add_argument("--regenerate", metavar="BINARY", required=True, help="the moescope that is known to be right")
    parser.add_argument("--replace", action="store_true", help="also those that exist and would change")
    parser.add_argument("names", nargs="*", help="of the commands; default: all")
    o = parser.parse_args()
    return regenerate(o.regenerate, o.names, o.replace)


if __name__ == "__main__":
    if any(arg.startswith("--regenerate") for arg in sys.argv):
        sys.exit(main())
    unittest.main()
