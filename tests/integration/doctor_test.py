"""moescope doctor on six kinds of programs, and whether moescope record then does what doctor said."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
LLAMA_CPP = os.environ["LLAMA_CPP_BIN"]
COMPLETION = os.path.join(LLAMA_CPP, "llama-completion")
TESTED = "0.25.1"  # ggml of llama.cpp v0.5.0

ADDON = """
const char * ggml_version(void) { return "9.9.9"; }
int llama_decode(void) { return 0; }
int ggml_backend_sched_graph_compute_async(void) { return 0; }
"""


def moescope(*args, cwd=None):
    return subprocess.run(
        [MOESCOPE, *args],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        timeout=120,
        check=False,
    )


class Doctor(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, text, mode=0o644):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def model(self, experts):
        path = self.path(f"{experts}.gguf")
        subprocess.run(
            [MAKE_MODEL, "random", "--arch", "qwen3moe" if experts else "qwen3", "--experts", str(experts), "-o", path],
            check=True,
            capture_output=True,
        )
        return path

    def doctor(self, *command, can_record=True):
        done = moescope("doctor", "--json", "--", *command, cwd=self.folder)
        self.assertEqual(done.stderr, "")
        self.assertEqual(done.returncode, 0 if can_record else 1, done.stdout)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["can_record"], can_record)
        return answer

    def record(self, *command):
        return moescope("record", "-o", self.path("x.moetrace"), "--", *command, cwd=self.folder)

    def test_the_machine(self):
        done = moescope("doctor")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertLess(len(done.stdout.splitlines()), 24)
        self.assertIn("recorder    " + os.environ["RECORDER_LIB"], done.stdout)
        for line in ("ggml " + TESTED, "devices     CPU", "glibc ", "DuckDB ", "MPI ", "free in this folder"):
            self.assertIn(line, done.stdout)

    def test_a_program_with_shared_libraries(self):
        command = [COMPLETION, "-m", self.model(8), "-p", "1", "-n", "1", "-no-cnv"]
        answer = self.doctor(*command)
        libraries = answer["program"]["libraries"]
        self.assertTrue(any("libllama" in line for line in libraries))
        self.assertTrue(any(line.endswith(f"(ggml {TESTED}, tested)") for line in libraries), libraries)
        self.assertIn("8 experts, top-3", answer["program"]["model"][0])
        self.assertTrue(answer["verdict"].startswith("can be recorded: moescope record -- "))
        self.assertEqual(self.record(*command).returncode, 0)
        self.assertTrue(os.path.exists(self.path("x.moetrace")))

    def test_a_program_that_loads_a_private_copy(self):
        self.write("app.mjs", "")
        bins = self.path("node_modules", "@someone", "llama", "bins")
        os.makedirs(bins)
        for name in ("libllama.so", "libggml-base.so"):
            shutil.copy(os.path.join(LLAMA_CPP, name), bins)
        answer = self.doctor("node", "app.mjs")
        self.assertNotIn("libraries", answer["program"])
        self.assertIn(f"libggml-base.so (ggml {TESTED}, tested)", "\n".join(answer["program"]["may load"]))
        self.assertIn("what it loads while it runs is recorded", answer["verdict"])

    def test_an_addon_with_llama_cpp_in_one_file(self):
        self.write("app.mjs", "")
        source = self.write("addon.c", ADDON)
        os.makedirs(self.path("node_modules", "one"))
        subprocess.run(
            ["cc", "-shared", "-fPIC", source, "-o", self.path("node_modules", "one", "one.node")], check=True
        )
        answer = self.doctor("node", "app.mjs")
        self.assertIn("one.node (ggml 9.9.9, not tested: a self-test decides)", answer["program"]["may load"][0])

    def test_a_static_program(self):
        source = self.write("static.c", "int main(void) { return 0; }")
        subprocess.run(["cc", "-static", source, "-o", self.path("static")], check=True)
        answer = self.doctor(self.path("static"), can_record=False)
        self.assertIn("statically linked", answer["verdict"])
        self.assertIn("statically linked", self.record(self.path("static")).stderr)

    def test_a_script(self):
        model = self.model(8)
        script = self.write("run.sh", f"#!/bin/sh\n'{COMPLETION}' -m '{model}' -p 1 -n 1 -no-cnv\n", 0o755)
        answer = self.doctor(script)
        self.assertIn("run by", answer["program"]["program"][0])
        self.assertEqual(answer["program"]["may start"], [COMPLETION])
        self.assertIn("--follow", answer["verdict"])
        followed = moescope("record", "--follow", "-o", self.path("x.moetrace"), "--", script, cwd=self.folder)
        self.assertEqual(followed.returncode, 0)
        self.assertTrue([f for f in os.listdir(self.folder) if f.endswith(".moetrace")])

    def test_a_dense_model(self):
        command = [COMPLETION, "-m", self.model(0), "-p", "1", "-n", "1", "-no-cnv"]
        answer = self.doctor(*command, can_record=False)
        self.assertIn("no MoE layers", answer["program"]["model"][0])
        self.assertIn("no experts", answer["verdict"])
        self.assertIn("no MoE layers", self.record(*command).stderr)

    def test_a_program_whose_library_is_missing(self):
        source = self.write("needed.c", "int needed(void) { return 0; }")
        subprocess.run(["cc", "-shared", "-fPIC", source, "-o", self.path("libneeded.so")], check=True)
        source = self.write("needs.c", "int needed(void); int main(void) { return needed(); }")
        subprocess.run(["cc", source, "-L" + self.folder, "-lneeded", "-o", self.path("needs")], check=True)
        os.remove(self.path("libneeded.so"))
        self.assertIn("libneeded.so is not found", self.doctor(self.path("needs"), can_record=False)["verdict"])

    def test_no_such_program(self):
        self.assertIn("no such program", self.doctor("does-not-exist", can_record=False)["verdict"])

    def test_a_program_without_llama_cpp(self):
        self.assertIn("no llama.cpp found", self.doctor("true")["verdict"])


if __name__ == "__main__":
    unittest.main()
