"""cmake --install into a scratch prefix that is moved afterwards: the tool, the recorder and the C API work from there, with
nothing of the build folder."""

import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

BUILD = os.environ["MOESCOPE_BUILD_DIR"]
SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
LLAMA_CPP = os.environ["LLAMA_CPP_BIN"]


def run(*command, env=None, cwd=None):
    done = subprocess.run(
        [str(c) for c in command],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} exits {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = os.path.realpath(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        first = os.path.join(cls.folder, "first")
        run("cmake", "--install", BUILD, "--prefix", first)
        cls.prefix = os.path.join(cls.folder, "elsewhere", "moved")
        os.makedirs(os.path.dirname(cls.prefix))
        os.rename(first, cls.prefix)
        cls.first = first
        cls.tool = os.path.join(cls.prefix, "bin", "moescope")
        cls.model = os.path.join(cls.prefix, "share", "moescope", "demo.gguf")

    def scratch(self, name):
        return os.path.join(self.folder, name)

    def test_the_parts_are_where_they_belong(self):
        parts = [
            "bin/moescope",
            "lib/libmoescope-record.so",
            "lib/libmoescope.so.1",
            "include/moescope/moescope.h",
            "lib/pkgconfig/moescope.pc",
            "lib/cmake/moescope/moescope-config.cmake",
            "share/man/man1/moescope.1",
            "share/man/man1/moescope-record.1",
            "share/bash-completion/completions/moescope",
            "share/zsh/site-functions/_moescope",
            "share/fish/vendor_completions.d/moescope.fish",
            "share/doc/moescope/licences.txt",
            "share/moescope/viewer.html",
        ]
        self.assertEqual([p for p in parts if not os.path.exists(os.path.join(self.prefix, p))], [])

    def binaries(self):
        found = glob.glob(os.path.join(self.prefix, "bin", "*")) + glob.glob(
            os.path.join(self.prefix, "lib", "**", "*.so*"), recursive=True
        )
        return [f for f in found if not os.path.islink(f)]

    def test_no_binary_looks_for_libraries_outside_the_prefix(self):
        self.assertGreaterEqual(len(self.binaries()), 7)
        for binary in self.binaries():
            dynamic = run("readelf", "-d", binary).stdout
            for path in re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", dynamic):
                with self.subTest(binary=binary):
                    self.assertIn(path, ("$ORIGIN", "$ORIGIN/../lib/moescope"))

    def test_every_library_is_the_installed_one(self):
        for binary in self.binaries():
            for line in run("ldd", binary).stdout.splitlines():
                with self.subTest(binary=binary, line=line):
                    self.assertNotIn("not found", line)
                    if re.search(r"lib(llama|ggml)", line):
                        path = os.path.realpath(re.search(r"=> (\S+)", line).group(1))
                        self.assertEqual(os.path.dirname(path), os.path.join(self.prefix, "lib", "moescope"))

    def test_it_runs_a_model_and_makes_a_page(self):
        trace, page = self.scratch("run.moetrace"), self.scratch("run.html")
        run(self.tool, "run", "-m", self.model, "-p", "2+3=", "-n", 4, "--temp", 0, "-o", trace)
        run(self.tool, "report", trace, "-o", page)
        with open(page, encoding="utf-8") as f:
            self.assertIn("<html", f.read())
        # The trace is the one that the tool of the build folder writes.
        built = self.scratch("built.moetrace")
        run(os.environ["MOESCOPE_BIN"], "run", "-m", self.model, "-p", "2+3=", "-n", 4, "--temp", 0, "-o", built)
        rows = [run(self.tool, "export", t, "-f", "selection-csv").stdout for t in (trace, built)]
        self.assertEqual(rows[0], rows[1])
        self.assertGreater(len(rows[0].splitlines()), 20)

    def test_it_records_a_program(self):
        trace = self.scratch("recorded.moetrace")
        program = [os.path.join(LLAMA_CPP, "llama-completion"), "-m", self.model, "-p", "2+3=", "-n", "4", "-no-cnv"]
        run(self.tool, "record", "-o", trace, "--", *program)
        run(self.tool, "check", trace)

    def test_a_path_that_cannot_be_preloaded_is_refused(self):
        link = self.scratch("with blank.so")
        os.symlink(os.path.join(self.prefix, "lib", "libmoescope-record.so"), link)
        done = subprocess.run(
            [self.tool, "record", "--", "true"],
            env={**os.environ, "MOESCOPE_RECORDER": link},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("a blank or a colon", done.stderr)

    def test_doctor_names_the_moved_recorder(self):
        self.assertIn(os.path.join(self.prefix, "lib", "libmoescope-record.so"), run(self.tool, "doctor").stdout)

    def check_example(self, program):
        trace = self.scratch(os.path.basename(program) + ".moetrace")
        libraries = ":".join([os.path.join(self.prefix, "lib"), LLAMA_CPP])
        run(program, self.model, trace, env={"LD_LIBRARY_PATH": libraries})
        self.assertIn("8 (5 prefilled, 3 decoded)", run(self.tool, "stats", trace).stdout)

    def test_the_c_api_by_pkg_config(self):
        package = {"PKG_CONFIG_PATH": os.path.join(self.prefix, "lib", "pkgconfig")}
        flags = run("pkg-config", "--cflags", "--libs", "moescope", env=package).stdout.strip()
        program = self.scratch("by-pkg-config")
        run(
            "bash",
            "-c",
            f"cc '{SOURCE}/examples/embed.c' -o '{program}' -I'{llama_headers('include')}' "
            f"-I'{llama_headers('ggml/include')}' {flags} -L'{LLAMA_CPP}' -lllama -lggml-base -Wl,-rpath-link,'{LLAMA_CPP}'",
        )
        self.check_example(program)

    def test_the_c_api_by_cmake(self):
        project = self.scratch("project")
        os.makedirs(project)
        shutil.copy(os.path.join(SOURCE, "examples", "embed.c"), project)
        with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="utf-8") as f:
            f.write(
                "cmake_minimum_required(VERSION 3.25)\nproject(embed C)\nfind_package(moescope 0.1 REQUIRED)\n"
                "add_executable(by-cmake embed.c)\n"
                f'target_include_directories(by-cmake PRIVATE "{llama_headers("include")}" "{llama_headers("ggml/include")}")\n'
                f'target_link_libraries(by-cmake PRIVATE moescope::moescope "{LLAMA_CPP}/libllama.so" "{LLAMA_CPP}/libggml-base.so")\n'
            )
        run("cmake", "-S", project, "-B", project + "/build", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", project + "/build")
        self.check_example(project + "/build/by-cmake")

    def test_the_c_api_has_its_version_and_nothing_else(self):
        library = os.path.join(self.prefix, "lib", "libmoescope.so.1")
        self.assertIn("[libmoescope.so.1]", run("readelf", "-d", library).stdout)
        symbols = re.findall(r" [TDBW] (\S+)", run("nm", "-D", "--defined-only", library).stdout)
        header = open(os.path.join(self.prefix, "include", "moescope", "moescope.h"), encoding="utf-8").read()
        declared = set(re.findall(r"(moescope_\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)))
        self.assertEqual({s for s in symbols}, {name + "@@MOESCOPE_1" for name in declared})

    def test_licences_of_what_is_in_it(self):
        text = run(self.tool, "--version", "--licenses").stdout
        self.assertTrue(text.startswith("moescope "))
        for part in ("llama.cpp and ggml", "CLI11", "JSON for Modern C++", "D3 and internmap"):
            self.assertIn(part, text)
        self.assertNotIn("not on the machine", text)


def llama_headers(folder):
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as f:
        return re.search(r"^LLAMA_CPP_DIR:PATH=(.*)$", f.read(), re.MULTILINE).group(1) + "/" + folder


if __name__ == "__main__":
    unittest.main()
