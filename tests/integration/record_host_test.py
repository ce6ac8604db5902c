"""The recorder never harms its host: whatever happens to the program, to the disk or to the file, the program ends as it
would have ended, and what was recorded reads."""

import fcntl
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from preload import preloaded  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
HOST = os.environ["TEST_HOST_BIN"]
RECORDER = os.environ["RECORDER_LIB"]

# A token with all its columns takes less than 4 kB, so that a trace of 2 MB holds at least this many.
TOKENS_IN_2_MB = 500


def contents(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class RecordHost(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="moescope-test.")
        cls.model = os.path.join(cls.folder, "model.gguf")
        subprocess.run([MAKE_MODEL, "random", "--arch", "qwen3moe", "-o", cls.model], check=True, capture_output=True)
        cls.dense = os.path.join(cls.folder, "dense.gguf")
        subprocess.run(
            [MAKE_MODEL, "random", "--arch", "llama", "--experts", "0", "-o", cls.dense],
            check=True,
            capture_output=True,
        )

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def setUp(self):
        self.trace = os.path.join(self.folder, self._testMethodName + ".moetrace")

    def host(self, mode, model=None, **options):
        return subprocess.run([HOST, mode, model or self.model], capture_output=True, text=True, timeout=120, **options)

    def recorded(self, mode, *arguments, model=None, **options):
        return subprocess.run(
            [MOESCOPE, "record", "-o", self.trace, *arguments, "--", HOST, mode, model or self.model],
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )

    def preloaded(self, mode, variables, also=(), **options):
        env = dict(preloaded(RECORDER, *also), **variables)
        return subprocess.run([HOST, mode, self.model], capture_output=True, text=True, timeout=120, env=env, **options)

    def rows(self, trace=None):
        """Tokens by ubatch, as exported: also shows that the trace reads."""
        out = subprocess.run(
            [MOESCOPE, "export", trace or self.trace, "-f", "jsonl"], capture_output=True, text=True, timeout=60
        )
        self.assertEqual(out.returncode, 0, out.stderr)
        return [json.loads(line) for line in out.stdout.splitlines()]

    def tokens(self, trace=None):
        rows = self.rows(trace)
        first = min(r["layer"] for r in rows)
        return [r["position"] for r in rows if r["layer"] == first]

    def check(self, trace=None):
        out = subprocess.run([MOESCOPE, "check", trace or self.trace], capture_output=True, text=True, timeout=60)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)

    def test_plain(self):
        result = self.recorded("plain")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, self.host("plain").stdout)
        self.assertEqual(self.tokens(), list(range(101)))
        self.check()

    def test_graphs_that_the_program_stops_are_left_out(self):
        self.assertEqual(self.recorded("stopped").returncode, 0)
        self.assertEqual(self.tokens(), [*range(20), 21])  # the token at 20 got no further than the second layer
        info = subprocess.run([MOESCOPE, "info", "--json", self.trace], capture_output=True, text=True, check=True)
        self.assertIn(
            "graphs not recorded, because the program's own eval callback stopped them early: 1",
            json.loads(info.stdout)["notes"],
        )
        self.check()

    def test_off_is_off(self):
        result = self.preloaded("plain", {})
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, self.host("plain").stdout, ""))
        zero = self.preloaded("plain", {"LLAMA_EXPERT_TRACE_STATS": "0", "MOESCOPE_OUTPUT": ""})
        self.assertEqual((zero.returncode, zero.stderr), (0, ""))

    def test_what_is_preloaded_already_comes_after_the_recorder_but_for_the_runtime_of_a_sanitizer(self):
        there = os.environ.get("LD_PRELOAD", "").split(":") if os.environ.get("LD_PRELOAD") else []
        for first, second in (
            ("libasan.so.8", "libother.so"),
            ("/opt/lib/libclang_rt.tsan-x86_64.so", "/opt/libasan/libsandbox.so"),
        ):
            env = dict(os.environ, LD_PRELOAD=":".join([*there, second + " " + first]))
            said = subprocess.run(
                [MOESCOPE, "record", "-o", self.trace, "--", "/usr/bin/printenv", "LD_PRELOAD"],
                capture_output=True,
                text=True,
                env=env,
            ).stdout
            self.assertEqual(said.strip().split(":"), [*there, first, os.path.realpath(RECORDER), second])

    def test_exit_code_and_signals(self):
        self.assertEqual(self.recorded("exit-in-thread").returncode, 7)
        self.assertEqual(self.tokens(), list(range(101)))
        os.remove(self.trace)
        self.assertEqual(self.recorded("abort").returncode, 128 + signal.SIGABRT)

    def long_run(self, sig, to_host=False, remove_trace=False):
        run = subprocess.Popen(
            [MOESCOPE, "record", "-o", self.trace, "--capture", "all", "--", HOST, "long", self.model],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.time() + 60
        while time.time() < deadline and (not os.path.exists(self.trace) or os.path.getsize(self.trace) < 2_000_000):
            time.sleep(0.05)
        target = run.pid
        if to_host:
            target = int(contents(f"/proc/{run.pid}/task/{run.pid}/children").split()[0])
        if remove_trace:
            os.remove(self.trace)
        os.kill(target, sig)
        self.said = run.communicate(timeout=60)[1]
        return run.returncode

    def test_exit_code_is_the_programs_where_no_summary_can_be_printed(self):
        self.assertEqual(self.long_run(signal.SIGTERM, remove_trace=True), 128 + signal.SIGTERM)
        self.assertIn("No such file or directory", self.said)

    def test_sigterm_is_passed_on(self):
        self.assertEqual(self.long_run(signal.SIGTERM), 128 + signal.SIGTERM)
        self.assertGreater(len(self.tokens()), TOKENS_IN_2_MB)

    def test_sigint_is_passed_on(self):
        self.assertEqual(self.long_run(signal.SIGINT), 128 + signal.SIGINT)
        self.assertGreater(len(self.tokens()), TOKENS_IN_2_MB)

    def test_sigkill_leaves_whole_chunks(self):
        self.assertEqual(self.long_run(signal.SIGKILL, to_host=True), 128 + signal.SIGKILL)
        self.assertGreater(len(self.tokens()), TOKENS_IN_2_MB)

    def killed_when_idle(self, **variables):
        host = subprocess.Popen(
            [HOST, "idle", self.model],
            stdout=subprocess.PIPE,
            text=True,
            env=dict(preloaded(RECORDER), MOESCOPE_OUTPUT=self.trace, **variables),
        )
        with host:
            for line in host.stdout:
                if line == "idle\n":
                    break
            time.sleep(2.5)  # longer than the recorder may keep anything to itself
            before = self.wake_ups(host.pid)
            time.sleep(1.5)
            self.assertEqual(self.wake_ups(host.pid), before, "something wakes up although all is written")
            host.kill()

    @staticmethod
    def wake_ups(pid):
        """By thread, how often it went to sleep of itself."""
        tasks = f"/proc/{pid}/task"
        return {
            thread: re.search(r"voluntary_ctxt_switches:\s+(\d+)", contents(f"{tasks}/{thread}/status"))[1]
            for thread in os.listdir(tasks)
        }

    def test_an_idle_program_that_is_killed_has_lost_nothing(self):
        self.killed_when_idle()
        self.assertEqual(self.tokens(), list(range(131)))
        out = subprocess.run([MOESCOPE, "check", self.trace], capture_output=True, text=True, timeout=60)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        self.assertIn("in its last second, rows may be missing", out.stdout)

    def test_an_idle_program_that_is_killed_has_lost_no_counts(self):
        self.killed_when_idle(MOESCOPE_COUNTS_ONLY="1")
        out = subprocess.run([MOESCOPE, "stats", "--json", self.trace], capture_output=True, text=True, check=True)
        self.assertEqual(json.loads(out.stdout)["tokens"], 131)

    def test_fork(self):
        result = self.recorded("fork")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.tokens(), list(range(102)))  # the child's token is not in it
        self.check()

    def test_children_are_followed_only_on_request(self):
        self.assertEqual(self.recorded("fork-exec").returncode, 0)
        self.assertEqual(self.tokens(), list(range(102)))
        self.check()

    def test_follow_records_children_under_names_of_their_own(self):
        self.assertEqual(self.recorded("fork-exec", "--follow").returncode, 0)
        self.assertEqual(self.tokens(), list(range(102)))
        stem = os.path.basename(self.trace).removesuffix(".moetrace")
        others = [n for n in os.listdir(self.folder) if re.fullmatch(re.escape(stem) + r"\.\d+\.moetrace", n)]
        self.assertEqual(len(others), 1)
        self.assertEqual(self.tokens(os.path.join(self.folder, others[0])), list(range(101)))

    def test_models_come_and_go(self):
        result = self.recorded("twice")
        self.assertEqual(result.returncode, 0, result.stderr)
        for number in (1, 2, 3, 4):
            trace = self.trace if number == 1 else self.trace.replace(".moetrace", f".{number}.moetrace")
            self.assertEqual(self.tokens(trace), list(range(21)))
            self.check(trace)

    def test_contexts_come_and_go_in_several_threads(self):
        result = self.recorded("threads")
        self.assertEqual(result.returncode, 0, result.stderr)
        for number in range(2, 2 + 3 * 4):  # the first stream is the one before the threads
            trace = self.trace.replace(".moetrace", f".{number}.moetrace")
            self.assertEqual(self.tokens(trace), list(range(21)))
            self.check(trace)
        self.assertEqual(self.tokens(), list(range(101)))

    def test_a_batch_that_llama_refuses(self):
        result = self.recorded("bad-sequence")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, self.host("bad-sequence").stdout)
        self.assertEqual(self.tokens(), list(range(102)))
        self.check()

    def test_nobody_reads_stderr(self):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            host = subprocess.run(
                [HOST, "plain", self.model],
                stdout=subprocess.PIPE,
                stderr=writer,
                timeout=120,
                env=dict(preloaded(RECORDER), LLAMA_EXPERT_TRACE_STATS="1"),
            )
        finally:
            os.close(writer)
        self.assertEqual(host.returncode, 0)

    def test_nobody_reads_the_trace(self):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            result = self.preloaded("plain", {"MOESCOPE_OUTPUT": f"/dev/fd/{writer}"}, pass_fds=[writer])
        finally:
            os.close(writer)
        self.assertEqual((result.returncode, result.stdout), (0, self.host("plain").stdout))

    def test_a_host_without_stderr(self):
        host = subprocess.run(
            [HOST, "loud", self.model],
            stdout=subprocess.PIPE,
            timeout=120,
            preexec_fn=lambda: os.close(2),
            env=dict(preloaded(RECORDER), MOESCOPE_OUTPUT=self.trace),
        )
        self.assertEqual(host.returncode, 0)
        self.assertEqual(self.tokens(), list(range(102)))  # the host's line is not in the trace
        self.check()

    def test_exit_in_a_signal_handler_that_interrupts_the_recorder(self):
        pipe = os.path.join(self.folder, "pipe")
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # never read: the recorder waits in its write
        try:
            host = subprocess.Popen(
                [HOST, "exit-in-handler", self.model],
                stdout=subprocess.DEVNULL,
                env=dict(preloaded(RECORDER), MOESCOPE_OUTPUT=pipe, MOESCOPE_CAPTURE="all"),
            )
            waiting = lambda: struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, b"\0" * 4))[0]
            before, deadline = 0, time.time() + 60
            while time.time() < deadline and (waiting() < 32768 or waiting() != before):  # until the pipe is full
                before = waiting()
                time.sleep(0.5)
            host.terminate()
            try:
                self.assertEqual(host.wait(timeout=60), 9)
            finally:
                host.kill()
                host.wait()
        finally:
            os.close(reader)

    def test_dense_model(self):
        result = self.recorded("plain", model=self.dense)
        self.assertEqual(result.returncode, 0)
        self.assertIn("no MoE layers", result.stderr)
        self.assertFalse(os.path.exists(self.trace))

    def test_output_that_cannot_be_written(self):
        for target in ("/nonexistent/x.moetrace", "/dev/full"):
            result = self.preloaded("plain", {"MOESCOPE_OUTPUT": target})
            self.assertEqual((result.returncode, result.stdout), (0, self.host("plain").stdout), target)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
            self.assertIn(target, result.stderr)

    def test_one_output_fails_the_others_go_on(self):
        good = os.path.join(self.folder, "good.json")
        result = self.preloaded("plain", {"MOESCOPE_OUTPUT": "/dev/full", "LLAMA_EXPERT_TRACE_OUTPUT": good})
        self.assertEqual(result.returncode, 0)
        self.assertEqual(json.loads(contents(good))["total_tokens"], 101)

    def test_file_size_limit(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        result = self.preloaded("plain", {"MOESCOPE_OUTPUT": self.trace, "MOESCOPE_CAPTURE": "all"}, preexec_fn=limit)
        self.assertEqual((result.returncode, result.stdout), (0, self.host("plain").stdout))
        self.assertIn("recording stopped", result.stderr)
        self.assertLessEqual(os.path.getsize(self.trace), 60_000)
        subprocess.run([MOESCOPE, "stats", self.trace], check=True, capture_output=True)

    @unittest.skipUnless(os.geteuid() == 0, "mounting a small disk needs root")
    def test_full_disk(self):
        disk = tempfile.mkdtemp(dir=self.folder)
        if (
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], capture_output=True).returncode
            != 0
        ):
            self.skipTest("no tmpfs here")
        try:
            trace = os.path.join(disk, "t.moetrace")
            result = self.preloaded("plain", {"MOESCOPE_OUTPUT": trace, "MOESCOPE_CAPTURE": "all"})
            self.assertEqual((result.returncode, result.stdout), (0, self.host("plain").stdout))
            self.assertIn("recording stopped", result.stderr)
            subprocess.run([MOESCOPE, "stats", trace], check=True, capture_output=True)
            check = subprocess.run([MOESCOPE, "check", trace], check=True, capture_output=True, text=True).stdout
            self.assertIn("could not be written any more (No space left on device)", check)
            self.assertNotIn("killed", check)
        finally:
            subprocess.run(["umount", disk], check=True)

    def test_tampered_layout_stops_the_recording_not_the_host(self):
        result = self.preloaded("plain", {"MOESCOPE_OUTPUT": self.trace}, also=[os.environ["OTHER_LAYOUT_LIB"]])
        self.assertEqual((result.returncode, result.stdout), (0, self.host("plain").stdout))
        self.assertIn("lays out its tensors differently", result.stderr)
        self.assertFalse(os.path.exists(self.trace))

    def test_unknown_version_records_with_one_warning(self):
        result = self.preloaded("plain", {"MOESCOPE_OUTPUT": self.trace}, also=[os.environ["OTHER_VERSION_LIB"]])
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count("9.9.9"), 1, result.stderr)
        self.assertEqual(self.tokens(), list(range(101)))

    def test_counts_only_equals_the_rows_counted(self):
        self.recorded("plain")
        counted = self.trace.replace(".moetrace", ".counts.moetrace")
        subprocess.run(
            [MOESCOPE, "record", "-o", counted, "--counts-only", "--", HOST, "plain", self.model],
            check=True,
            capture_output=True,
        )
        tables = []
        for trace in (self.trace, counted):
            out = subprocess.run(
                [MOESCOPE, "analyze", "frequency", trace, "--json"], check=True, capture_output=True, text=True
            ).stdout
            tables.append(json.loads(out)["experts"])
        self.assertEqual(
            [(e["layer"], e["expert"], e["count"]) for e in tables[0]],
            [(e["layer"], e["expert"], e["count"]) for e in tables[1]],
        )

    def test_max_size_rolls_over_and_reads_as_one(self):
        result = self.recorded("plain", "--capture", "all", "--max-size", "100K")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(os.path.exists(self.trace.replace(".moetrace", ".part2.moetrace")))
        self.assertEqual(self.tokens(), list(range(101)))
        self.check()

    def test_environment_outputs(self):
        names = {
            k: os.path.join(self.folder, v)
            for k, v in (("LLAMA_EXPERT_TRACE_OUTPUT", "c.json"), ("LLAMA_MOE_LOG", "l.csv"))
        }
        result = self.preloaded(
            "plain", {**names, "LLAMA_EXPERT_TRACE_PER_LAYER": "1", "LLAMA_EXPERT_TRACE_NAMES": "1"}
        )
        counts = json.loads(contents(names["LLAMA_EXPERT_TRACE_OUTPUT"]))
        lines = contents(names["LLAMA_MOE_LOG"]).splitlines()
        self.assertEqual(lines[0], "Layer,Token,ExpertIDs,ExpertWeights")
        by_expert, by_layer = {}, {}
        for line in lines[1:]:
            layer, _, rest = line.split(",", 2)
            for expert in rest.split('"')[1].strip("[]").split():
                by_expert[expert] = by_expert.get(expert, 0) + 1
                by_layer.setdefault(layer, {}).setdefault(expert, 0)
                by_layer[layer][expert] += 1
        used = lambda table: {k: v for k, v in table.items() if v}
        self.assertEqual(counts["total_tokens"], 101)
        self.assertEqual(used(counts["expert_activations"]), by_expert)
        self.assertEqual({k: used(v) for k, v in counts["per_layer"].items()}, by_layer)
        # One line per selection and matrix: gate, up and down.
        named = [line for line in result.stderr.splitlines() if line.startswith("[EXPERT-TRACE] ")]
        self.assertEqual(len(named), 3 * sum(by_expert.values()))
        self.assertRegex(named[0], r"^\[EXPERT-TRACE\] Layer \d+, Expert (\d+): blk\.\d+\.ffn_\w+_exps\.weight\[\1\]$")
        self.assertIn(f"Total activations: {sum(by_expert.values())}", result.stderr)

    def test_programs_that_cannot_be_recorded(self):
        def complaint(*command):
            out = subprocess.run([MOESCOPE, "record", "-o", self.trace, "--", *command], capture_output=True, text=True)
            self.assertEqual(out.returncode, 1)
            return out.stderr

        self.assertIn("no such program", complaint("no-such-program-here"))
        self.assertIn("not an executable", complaint(self.model))
        self.assertIn("llama.cpp linked in statically", complaint(MOESCOPE, "run"))
        script = os.path.join(self.folder, "script")
        with open(script, "w") as f:
            f.write("#!/bin/sh\nexit 3\n")
        os.chmod(script, 0o755)
        out = subprocess.run([MOESCOPE, "record", "-o", self.trace, "--", script], capture_output=True, text=True)
        self.assertEqual(out.returncode, 3)
        self.assertIn("nothing was recorded", out.stderr)

    def test_the_library_needs_libc_alone_and_shows_only_hooks(self):
        needed = subprocess.run(["readelf", "-d", RECORDER], capture_output=True, text=True).stdout
        libraries = [line.split("[")[1].rstrip("]") for line in needed.splitlines() if "NEEDED" in line]
        allowed = ["libc.so.", "libm.so.", "ld-linux", "libdl.so.", "libpthread.so."]
        if "san.so" in os.environ.get("LD_PRELOAD", ""):  # tests/sanitized
            allowed += ["libasan.so.", "libubsan.so.", "libtsan.so."]
        self.assertEqual([l for l in libraries if not l.startswith(tuple(allowed))], [])
        symbols = subprocess.run(["nm", "-D", "--defined-only", RECORDER], capture_output=True, text=True).stdout
        shown = [line.split()[-1] for line in symbols.splitlines()]
        self.assertTrue(shown)
        self.assertEqual(
            [s for s in shown if not s.startswith(("ggml_backend_sched_", "llama_", "_ZN13llama_context"))], []
        )


if __name__ == "__main__":
    unittest.main(verbosity=2)
