"""The command line as people expect it: a short help without arguments, suggestions, help by verb; and the man pages and
completions, which are written from the same tree of verbs and options."""

import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

MOESCOPE = os.environ["MOESCOPE_BIN"]


def moescope(*args):
    return subprocess.run(
        [MOESCOPE, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False
    )


def listed(text):
    """What a help text lists: names at the beginning of indented lines, without options."""
    return re.findall(r"^  ([a-z][a-z-]*)  +\S", text, re.MULTILINE)


def commands():
    """Every verb, and every kind of those that have kinds, as lists of words."""
    for verb in listed(moescope("--help").stdout):
        yield [verb]
        help_text = moescope(verb, "--help").stdout
        if "SUBCOMMAND" in help_text:
            for kind in listed(help_text.partition("Subcommands:")[2]):
                yield [verb, kind]


class Manners(unittest.TestCase):
    def test_without_arguments_a_short_help_with_three_examples(self):
        done = moescope()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(len(re.findall(r"^  moescope ", done.stdout, re.MULTILINE)), 3)
        self.assertLess(len(done.stdout.splitlines()), 24)
        for verb in listed(moescope("--help").stdout):
            self.assertRegex(done.stdout, rf"\s{verb}\s")

    def test_verbs_stand_in_groups(self):
        text = moescope("--help").stdout
        groups = re.findall(r"^([A-Z][a-z]+):$", text, re.MULTILINE)
        self.assertEqual([g for g in groups if g != "Options"], ["Watch", "Ask", "Change", "Share", "Help"])
        self.assertGreaterEqual(len(listed(text)), 15)

    def test_help_of_a_verb_is_its_help(self):
        for words in (["record"], ["run"], ["analyze", "cache"]):
            self.assertEqual(moescope("help", *words).stdout, moescope(*words, "--help").stdout)
        self.assertEqual(moescope("help").stdout, moescope("--help").stdout)

    def test_examples_in_every_help(self):
        n = 0
        for words in commands():
            with self.subTest(command=words):
                text = moescope(*words, "--help").stdout
                self.assertRegex(text, r"\nExamples:\n  \S")
                for line in re.findall(r"^  (moescope \S.*)$", text.partition("\nExamples:\n")[2], re.MULTILINE):
                    self.assertTrue(line.startswith("moescope " + words[0]), line)
                n += 1
        self.assertGreaterEqual(n, 25)

    def assert_usage_error(self, args, *parts):
        done = moescope(*args)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)
        return done.stderr

    def test_an_unknown_verb_suggests_the_nearest(self):
        self.assert_usage_error(["recrod"], "no 'recrod' in moescope", "did you mean 'record'?")
        self.assert_usage_error(["analyze", "cahce"], "did you mean 'cache'?", "moescope analyze --help")
        self.assert_usage_error(["help", "reprot"], "did you mean 'report'?")
        self.assertNotIn("did you mean", self.assert_usage_error(["xyzzy"], "no 'xyzzy'"))

    def test_near_is_a_third_of_the_letters_at_most(self):
        for word, meant in (
            ("stat", "stats"),  # one letter missing
            ("prunee", "prune"),  # one too many
            ("rum", "run"),  # one replaced
            ("rocerd", "record"),  # two replaced, of six
            ("rabcrd", None),  # three of six
            ("ram", None),  # two of three
            ("prof", "profile"),  # a beginning
        ):
            with self.subTest(word=word):
                said = self.assert_usage_error([word], f"no '{word}'")
                self.assertEqual(f"did you mean '{meant}'?" in said, meant is not None)

    def test_an_unknown_option_suggests_the_nearest(self):
        self.assert_usage_error(
            ["stats", "x.moetrace", "--heatmpa"], "unknown option '--heatmpa'", "did you mean '--heatmap'?"
        )
        self.assert_usage_error(["stats", "--jsno"], "unknown option '--jsno'", "did you mean '--json'?")
        self.assert_usage_error(["run", "--ctx-siz", "7"], "did you mean '--ctx-size'?")
        self.assert_usage_error(
            ["analyze", "cache", "x", "--slot=3"], "unknown option '--slot'", "did you mean '--slots'?"
        )

    def test_a_program_behind_record_may_have_any_option(self):
        done = moescope("record", "--", "/nonexistent", "--jsno")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no such program", done.stderr)


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        done = moescope("help", "--write-pages", cls.folder)
        assert done.returncode == 0, done.stderr
        cls.pages = sorted(glob.glob(os.path.join(cls.folder, "man", "man1", "*.1")))

    def test_every_verb_has_a_page(self):
        names = {os.path.basename(p)[:-2] for p in self.pages}
        self.assertEqual(names, {"moescope"} | {"moescope-" + words[0] for words in commands()})

    def test_no_page_has_a_warning(self):
        for page in self.pages:
            done = subprocess.run(
                ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page],
                capture_output=True,
                text=True,
                env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANROFFSEQ": ""},
                check=False,
            )
            with self.subTest(page=page):
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def read(self, page):
        done = subprocess.run(
            ["man", "-E", "UTF-8", "-l", page],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "1000", "MAN_KEEP_FORMATTING": "", "PAGER": "cat"},
            check=True,
        )
        return re.sub(r".\x08", "", done.stdout)

    def test_a_page_has_every_option_and_example_of_the_help(self):
        for words in commands():
            help_text = moescope(*words, "--help").stdout
            page = self.read(os.path.join(self.folder, "man", "man1", f"moescope-{words[0]}.1"))
            options = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", help_text.partition("llama.cpp's own options")[0]))
            self.assertGreaterEqual(len(options), 1)
            for option in options - {"--help"}:
                with self.subTest(command=words, option=option):
                    self.assertIn(option, page)
            for example in re.findall(r"^  (moescope .*)$", help_text.partition("\nExamples:\n")[2], re.MULTILINE):
                self.assertIn(example, page)

    def test_the_page_of_run_has_the_options_of_llama_cpp(self):
        page = self.read(os.path.join(self.folder, "man", "man1", "moescope-run.1"))
        for option in ("--ctx-size", "--n-gpu-layers", "--override-tensor"):
            self.assertIn(option, page)
        self.assertNotIn("--interactive-first", page)


BASH = r"""
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
COMP_LINE="$*"
COMP_POINT=${#COMP_LINE}
_moescope
printf '%s\n' "${COMPREPLY[@]}"
"""


class Completions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.script = {}
        for shell in ("bash", "zsh", "fish"):
            cls.script[shell] = os.path.join(cls.folder, shell)
            with open(cls.script[shell], "w", encoding="utf-8") as f:
                f.write(moescope("help", "--completions", shell).stdout)

    def complete(self, *words):
        done = subprocess.run(
            ["bash", "--norc", "-c", BASH, "bash", self.script["bash"], "moescope", *words],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_bash_offers_verbs_and_kinds(self):
        self.assertEqual(self.complete("rec"), ["record"])
        self.assertEqual(set(self.complete("")), {words[0] for words in commands()})
        self.assertEqual(self.complete("analyze", "co"), ["coactivation", "compare"])

    def test_bash_offers_the_options_of_the_verb(self):
        for words in commands():
            help_text = moescope(*words, "--help").stdout.partition("Examples:")[0].partition("llama.cpp's own")[0]
            options = set(re.findall(r"^  (?:-\w,)?(--[a-z][a-z0-9-]*)", help_text, re.MULTILINE))
            with self.subTest(command=words):
                self.assertGreaterEqual(len(options), 1)
                offered = self.complete(*words, "--")
                self.assertEqual(options - set(offered) - {"--help"}, set())
        self.assertIn("--n-gpu-layers", self.complete("run", "--n-gpu"))
        self.assertEqual(self.complete("record", "--heat"), [])

    def test_bash_offers_values(self):
        self.assertEqual(self.complete("run", "--way", ""), ["probes", "callback"])
        self.assertIn("ids,weights", self.complete("record", "--capture", "ids,wei"))
        self.assertEqual(self.complete("stats", "--model", ""), [])  # a file: bash's own completion

    def test_bash_completes_a_command_behind_record(self):
        self.assertIn("bash", self.complete("record", "--", "bas"))

    def test_zsh_and_fish_can_read_theirs(self):
        for shell, check in (("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])):
            if shutil.which(shell):
                subprocess.run([*check, self.script[shell]], check=True, capture_output=True)
        for shell in ("zsh", "fish"):
            with open(self.script[shell], encoding="utf-8") as f:
                text = f.read()
            for words in commands():
                self.assertIn(words[-1], text)
            self.assertIn("capture", text)


if __name__ == "__main__":
    unittest.main()
