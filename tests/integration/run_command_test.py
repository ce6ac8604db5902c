"""`moescope run` as a user meets it: what it prints, what it writes, and how it fails.

Every failure must be one clear line on stderr, the right exit code, and no file left behind.
"""

import json
import os
import resource
import signal
import subprocess
import tempfile
import time
import unittest

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
THREADS = ["-t", "1"]  # llama.cpp's threads spin; one is enough for models this small


def make(folder, name, *args):
    path = os.path.join(folder, name)
    subprocess.run([MAKE_MODEL, *args, "-o", path], check=True)
    return path


class RunCommand(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.models = tempfile.TemporaryDirectory()
        cls.model = make(cls.models.name, "planted.gguf", "planted")
        cls.dense = make(cls.models.name, "dense.gguf", "random", "--arch", "llama", "--experts", "0", "--top-k", "0")

    @classmethod
    def tearDownClass(cls):
        cls.models.cleanup()

    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)

    def start_endless(self, *options, stderr):
        """A run that generates until it is stopped."""
        command = [MOESCOPE, "run", "-m", self.model, "-p", "Hello", "-n", "1000000", "-c", "4096", "--ignore-eos"]
        command += ["-o", "t.moetrace", *options, *THREADS]
        return subprocess.Popen(command, cwd=self.scratch.name, stdout=subprocess.PIPE, stderr=stderr)

    def path(self, name, content=None):
        path = os.path.join(self.scratch.name, name)
        if content is not None:
            with open(path, "wb") as f:
                f.write(content)
        return path

    def run_verb(self, *args, **kwargs):
        return subprocess.run(
            [MOESCOPE, "run", *THREADS, *args], cwd=self.scratch.name, capture_output=True, timeout=300, **kwargs
        )

    def fails(self, code, word, *args, **kwargs):
        before = sorted(os.listdir(self.scratch.name))
        r = self.run_verb(*args, **kwargs)
        lines = r.stderr.decode().splitlines()
        self.assertEqual(r.returncode, code, r.stderr)
        self.assertEqual(len(lines), 1, r.stderr)
        self.assertTrue(lines[0].startswith("moescope: "), lines)
        self.assertIn(word, lines[0])
        self.assertEqual(sorted(os.listdir(self.scratch.name)), before, "something was left behind")

    # ---- what works ------------------------------------------------------------------------------------------------

    def test_generates_and_names_the_trace(self):
        r = self.run_verb("-m", self.model, "-p", "Hello", "-n", "5", "--temp", "0", "-o", "t.moetrace")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(len(r.stdout), 6)  # five printable characters (the planted successors) and a line end
        self.assertIn(b"t.moetrace", r.stderr)
        self.assertTrue(os.path.getsize(self.path("t.moetrace")) > 0)

    def test_default_name_holds_the_process_id(self):
        r = self.run_verb("-m", self.model, "-p", "Hello", "-n", "0")
        self.assertEqual(r.returncode, 0, r.stderr)
        (name,) = os.listdir(self.scratch.name)
        self.assertRegex(name, r"^moescope\.run\.\d+\.moetrace$")

    def test_quiet_says_nothing_on_stderr(self):
        r = self.run_verb("-m", self.model, "-p", "Hello", "-n", "2", "-q")
        self.assertEqual((r.returncode, r.stderr), (0, b""))

    def test_log_has_every_token_of_every_layer(self):
        r = self.run_verb("-m", self.model, "-p", "Hello", "-n", "2", "--temp", "0", "--log", "-o", "t.moetrace")
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(self.path("moe_expert_selection.log"), encoding="utf-8") as f:
            log = f.read()
        self.assertTrue(log.startswith("=== MoE Expert Selection Log ==="))
        self.assertIn("Prompt: Hello", log)
        # 3 layers; a block of five prompt tokens and one for each of two generated ones; ids and weights
        self.assertEqual(log.count("  Token "), 3 * (5 + 2) * 2)

    def test_log_is_what_export_writes(self):
        lines = self.path("p.jsonl", b'{"prompt": "one"}\n{"prompt": "and another, in several ubatches"}\n')
        r = self.run_verb(
            "-m",
            self.model,
            "--jsonl",
            lines,
            "-n",
            "3",
            "-ub",
            "8",
            "--temp",
            "0",
            "--log",
            "run.log",
            "--capture",
            "ids,weights,logits",
            "-o",
            "t.moetrace",
        )
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(self.path("run.log"), "rb") as f:
            log = f.read()
        self.assertEqual(log.count(b"Prompt: "), 2)
        self.assertTrue(log.endswith(b"=== Inference Complete ===\n"))
        export = subprocess.run([MOESCOPE, "export", self.path("t.moetrace"), "-f", "log"], capture_output=True)
        self.assertEqual(export.stdout, log)

    def test_a_killed_run_leaves_the_log_until_then(self):
        p = self.start_endless("--log", "run.log", stderr=subprocess.DEVNULL)
        self.assertEqual(len(p.stdout.read(20)), 20)  # it generates
        p.kill()
        p.communicate(timeout=120)
        with open(self.path("run.log"), encoding="utf-8") as f:
            log = f.read()
        self.assertIn("Prompt: Hello\nTokens: 5\n", log)
        # Whole ubatches: five prompt tokens and some generated ones, of all three layers, ids and weights.
        tokens = log.count("  Token ")
        self.assertEqual(tokens % 6, 0)
        self.assertGreater(tokens, 6 * 5)
        self.assertTrue(log.endswith(")\n\n"), log[-80:])
        self.assertNotIn("Complete", log)

    def test_list_tensors_filters_by_pattern(self):
        r = self.run_verb("-m", self.model, "--list-tensors", "ffn_moe_topk-*")
        self.assertEqual(r.returncode, 0, r.stderr)
        rows = r.stdout.decode().splitlines()[1:]
        self.assertEqual([row.split()[0] for row in rows], ["ffn_moe_topk-0", "ffn_moe_topk-1", "ffn_moe_topk-2"])
        everything = self.run_verb("-m", self.model, "--list-tensors").stdout.decode().splitlines()
        self.assertGreater(len(everything), 50)
        self.assertEqual(os.listdir(self.scratch.name), [])

    def test_jsonl_skips_and_names_malformed_lines(self):
        lines = self.path("p.jsonl", b'{"prompt": "one"}\nnonsense\n{"text": "two"}\n{"prompt": 3}\n')
        r = self.run_verb("-m", self.model, "--jsonl", lines, "-o", "t.moetrace")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn(b"line 2 skipped", r.stderr)
        self.assertIn(b"line 4 skipped", r.stderr)
        self.assertIn(b"6 prompt", r.stderr)

    def test_labels_stay_in_the_trace_for_specialization(self):
        prompts = self.path(
            "labelled.jsonl",
            b"".join(
                b'{"prompt": "%s", "domain": "%s"}\n' % p
                for p in (
                    (b"abcdef", b"letters"),
                    (b"012345", b"digits"),
                    (b"ghijkl", b"letters"),
                    (b"678901", b"digits"),
                )
            ),
        )
        self.assertEqual(
            self.run_verb(
                "-m", self.model, "--jsonl", prompts, "--label-key", "domain", "-n", "0", "-o", "t.moetrace"
            ).returncode,
            0,
        )

        def specialization(*args):
            r = subprocess.run(
                [MOESCOPE, "analyze", "specialization", self.path("t.moetrace"), "--json", *args],
                capture_output=True,
                check=True,
            )
            return json.loads(r.stdout)

        kept = specialization()
        self.assertEqual(kept, specialization("--jsonl", prompts))
        self.assertEqual(kept["domains"], 2)
        self.assertEqual(kept["rows_without_domain"], 0)
        self.assertFalse(any("letters" in note and "{" in note for note in kept.get("notes", [])), kept.get("notes"))

    def test_useless_ngl_is_said_once(self):
        r = self.run_verb("-m", self.model, "-p", "x", "-n", "0", "-ngl", "99")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertLessEqual(r.stderr.count(b"-ngl"), 1)  # zero on a build with a GPU

    def test_interrupt_finishes_the_trace(self):
        p = self.start_endless(stderr=subprocess.PIPE)
        self.assertTrue(p.stdout.read(1))  # it generates
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=120)
        self.assertEqual(p.returncode, 130, err)
        self.assertIn(b"t.moetrace", err)

    # ---- what fails ------------------------------------------------------------------------------------------------

    def test_missing_model(self):
        self.fails(1, "/nowhere.gguf", "-m", "/nowhere.gguf", "-p", "x")

    def test_not_a_model(self):
        self.fails(1, "not a GGUF", "-m", self.path("text.gguf", b"plain text"), "-p", "x")

    def test_truncated_model(self):
        with open(self.model, "rb") as f:
            whole = f.read()
        for keep in (len(whole) - 1000, len(whole) // 2, 2000):
            with self.subTest(keep=keep):
                self.fails(1, "cut.gguf", "-m", self.path("cut.gguf", whole[:keep]), "-p", "x")

    def test_dense_model(self):
        self.fails(1, "no MoE layers", "-m", self.dense, "-p", "x")

    def test_empty_prompt(self):
        self.fails(1, "empty", "-m", self.model, "-p", "")
        self.fails(1, "empty", "-m", self.model, "-f", self.path("empty.txt", b""))

    def test_prompt_longer_than_the_context(self):
        self.fails(1, "-c", "-m", self.model, "-p", "x" * 1000, "-c", "256")

    def test_missing_prompt_file(self):
        self.fails(1, "/nowhere.txt", "-m", self.model, "-f", "/nowhere.txt")

    def test_no_usable_jsonl_line(self):
        self.fails(1, "line 1", "-m", self.model, "--jsonl", self.path("bad.jsonl", b"nonsense\n"))

    def test_usage_errors(self):
        for args, word in (
            ([], "--jsonl"),
            (["-p", "x", "--bogus"], "--bogus"),
            (["-p", "x", "-c", "many"], "-c"),
            (["-p", "x", "--temp", "hot"], "--temp"),
            (["-p", "x", "-n"], "-n"),
            (["-p", "x", "-i"], "-i"),
            (["-p", "x", "word"], "word"),
            (["-p", "x", "--capture", "souls"], "souls"),
            (["-p", "x", "--layers", "a-b"], "a-b"),
            (["-p", "x", "--last-layer", "half"], "--last-layer"),
            (["-p", "x", "-f", "y"], "-p"),
            (["-p", "x", "-ot", "a=nothing"], "-ot"),
            (["-p", "x", "--max-size", "big"], "--max-size"),
        ):
            with self.subTest(args=args):
                self.fails(2, word, "-m", self.model, *args)
        self.fails(2, "--model", "-p", "x")

    def test_existing_output_needs_force(self):
        self.path("t.moetrace", b"mine")
        self.fails(1, "t.moetrace", "-m", self.model, "-p", "x", "-o", "t.moetrace")
        with open(self.path("t.moetrace"), "rb") as f:
            self.assertEqual(f.read(), b"mine")

    def test_unwritable_output(self):
        self.fails(1, "/nowhere/t.moetrace", "-m", self.model, "-p", "x", "-o", "/nowhere/t.moetrace")

    def test_full_disk(self):
        # A limit on file size makes write(2) fail as a full disk does.
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

        r = self.run_verb("-m", self.model, "-p", "x" * 200, "-n", "0", "-q", "-o", "t.moetrace", preexec_fn=limit)
        self.assertEqual(r.returncode, 1, r.stderr)
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        self.assertIn(b"t.moetrace", r.stderr)


if __name__ == "__main__":
    unittest.main()
