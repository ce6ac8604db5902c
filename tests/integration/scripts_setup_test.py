"""scripts/setup in the cases that a new user's machine brings, with a fake npm and caches of its own."""

import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import unittest

ROOT = os.environ["MOESCOPE_SOURCE_DIR"]
SETUP = os.path.join(ROOT, "scripts", "setup")


class Setup(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.cache = os.path.join(self.dir, "cache")
        self.bin = os.path.join(self.dir, "bin")
        os.mkdir(self.bin)
        for tool in (
            "bash",
            "cat",
            "dirname",
            "dpkg-query",
            "env",
            "git",
            "grep",
            "gzip",
            "ls",
            "mkdir",
            "mktemp",
            "mv",
            "rm",
            "sed",
            "sha512sum",
            "tar",
            "tr",
        ):
            os.symlink(shutil.which(tool), os.path.join(self.bin, tool))

    def program(self, name, script):
        path = os.path.join(self.bin, name)
        with open(path, "w") as f:
            f.write("#!/bin/sh\n" + script + "\n")
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)

    def unpacked(self):
        """A cache that already holds the source, as after a first run."""
        with open(os.path.join(ROOT, "cmake", "LlamaCpp.cmake")) as f:
            commit = next(line for line in f if line.startswith("set(LLAMA_CPP_COMMIT ")).split()[1].split(")")[0]
        source = os.path.join(self.cache, "llama.cpp-" + commit[:12])
        os.makedirs(os.path.join(source, "ggml"))
        open(os.path.join(source, "ggml", "CMakeLists.txt"), "w").close()
        return source

    def run_setup(self, *args, **more):
        env = {"PATH": self.bin, "HOME": self.dir, "MOESCOPE_CACHE": self.cache, **more}
        return subprocess.run(
            [SETUP, "--no-packages", *args],
            env=env,
            stdin=subprocess.DEVNULL,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=60,
        )

    def assert_fails_saying(self, result, *parts):
        self.assertEqual(result.returncode, 1, result.stderr)
        for part in parts:
            self.assertIn(part, result.stderr)
        self.assertNotIn("command not found", result.stderr)

    def assert_cache_is_clean(self):
        left = os.listdir(self.cache) if os.path.isdir(self.cache) else []
        self.assertEqual(left, [], "an interrupted run left something behind")

    def test_a_second_run_needs_neither_npm_nor_git(self):
        source = self.unpacked()
        os.unlink(os.path.join(self.bin, "git"))
        result = self.run_setup()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(source, result.stderr)

    def test_without_npm_it_says_so_and_names_the_other_way(self):
        self.assert_fails_saying(self.run_setup(), "no npm", "-DLLAMA_CPP_DIR=")

    def test_a_registry_out_of_reach(self):
        self.program("npm", "exit 1")
        self.assert_fails_saying(self.run_setup(), "cannot fetch node-llama-cpp@", "-DLLAMA_CPP_DIR=")
        self.assert_cache_is_clean()

    def test_a_wrong_package_is_refused_before_it_is_opened(self):
        self.program("npm", "echo something else > node-llama-cpp-3.22.1.tgz; echo node-llama-cpp-3.22.1.tgz")
        self.assert_fails_saying(self.run_setup(), "checksum differs")
        self.assert_cache_is_clean()

    def test_duckdb_may_be_missing_but_not_another(self):
        for tool in ("touch", "uname"):
            os.symlink(shutil.which(tool), os.path.join(self.bin, tool))
        self.unpacked()
        result = self.run_setup("--compile")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("no SQL, no Parquet", result.stderr)
        self.program("npm", "exit 1")
        result = self.run_setup("--compile")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("without SQL and Parquet", result.stderr)
        self.program("npm", "echo something else > duckdb.tgz; echo duckdb.tgz")
        self.assert_fails_saying(self.run_setup("--compile"), "@duckdb/node-bindings-linux-", "checksum differs")
        self.assertFalse([name for name in os.listdir(self.cache) if name.startswith(("duckdb", "unpack"))])

    def test_wrong_libraries_are_refused_before_they_are_opened(self):
        os.symlink(shutil.which("uname"), os.path.join(self.bin, "uname"))
        self.unpacked()
        self.program("npm", "echo something else > libraries.tgz; echo libraries.tgz")
        self.assert_fails_saying(self.run_setup(), "@node-llama-cpp/linux-", "checksum differs")
        self.assertEqual([name for name in os.listdir(self.cache) if "prebuilt" in name or "unpack" in name], [])

    def test_the_example_has_binaries_of_the_right_checksum_or_none(self):
        for tool in ("cp", "touch", "uname"):
            os.symlink(shutil.which(tool), os.path.join(self.bin, tool))
        self.unpacked()
        self.program("npm", "case $1 in install) mkdir node_modules ;; *) echo other > x.tgz; echo x.tgz ;; esac")
        self.assert_fails_saying(self.run_setup("--compile", "--example"), "checksum differs")
        self.program("npm", "exit 1")
        result = self.run_setup("--compile", "--example")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("the demo goes on without it", result.stderr)
        self.assertFalse([name for name in os.listdir(self.cache) if name.startswith(("node-llama-cpp", "unpack"))])

    def test_nothing_is_fetched_but_what_has_a_checksum(self):
        script = []
        for path in (SETUP, os.path.join(ROOT, "scripts", "fetch-npm")):
            with open(path) as f:
                script += [line.strip() for line in f if not line.lstrip().startswith("#")]
        fetching = [
            line for line in script if re.search(r"\b(curl|wget|git clone|npm (pack|install|ci|exec)|npx|pip)\b", line)
        ]
        fetching = [line for line in fetching if not re.match(r"((\{ )?say|fail|\|\||usage)", line)]
        kinds = {
            "npm pack": r'archive=\$folder/.*npm pack --silent "\$package"',  # of fetch-npm, which then compares
            "npm install": r".*npm install --ignore-scripts ",  # by examples/package-lock.json
            "npm ci": r".*npm ci --ignore-scripts ",  # by web/package-lock.json
            "git clone": r'git clone --quiet "\$scratch/package/llama/gitRelease.bundle"',  # out of such an archive
        }
        for line in fetching:
            kind = next((k for k in kinds if k in line), None)
            self.assertIsNotNone(kind, line)
            self.assertRegex(line, kinds[kind])
        self.assertEqual(len(fetching), len(kinds), fetching)

    def test_lock_files_have_a_checksum_of_every_package(self):
        for folder in ("web", "examples", "tests/support/node-llama-cpp"):
            with open(os.path.join(ROOT, folder, "package-lock.json")) as f:
                packages = json.load(f)["packages"]
            self.assertGreater(len(packages), 50)
            for path, package in packages.items():
                if path:
                    self.assertTrue(package["integrity"].startswith("sha512-"), path)

    def test_the_page_about_software_of_others_is_up_to_date(self):
        done = subprocess.run([os.path.join(ROOT, "scripts", "third-party"), "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_folder_of_that_name_without_source_is_left_alone(self):
        source = self.unpacked()
        os.unlink(os.path.join(source, "ggml", "CMakeLists.txt"))
        self.assert_fails_saying(self.run_setup(), source, "holds no llama.cpp")
        self.assertTrue(os.path.isdir(source))

    def test_an_unwritable_cache(self):
        self.program("npm", "exit 0")
        open(self.cache, "w").close()
        self.assert_fails_saying(self.run_setup(), "cannot create " + self.cache, "MOESCOPE_CACHE")

    def test_cuda_without_the_toolkit(self):
        if os.path.exists("/usr/local/cuda/bin/nvcc"):
            self.skipTest("this machine has the toolkit")
        self.unpacked()
        self.assert_fails_saying(self.run_setup("--cuda"), "no nvcc", "CUDA toolkit")
        self.assertFalse(os.path.exists(os.path.join(self.cache, "backend.cmake")))

    def test_cuda_with_a_gpu_leaves_the_architecture_to_the_compiler(self):
        self.unpacked()
        self.program("nvcc", "exit 0")
        self.program("nvidia-smi", "echo GPU 0: some card")
        self.assertEqual(self.run_setup("--cuda").returncode, 0)
        choice = self.choice()
        self.assertIn("GGML_CUDA ON", choice)
        self.assertIn("CMAKE_CUDA_COMPILER " + os.path.join(self.bin, "nvcc"), choice)
        self.assertNotIn("CMAKE_CUDA_ARCHITECTURES", choice)

    def test_cuda_without_a_gpu_builds_for_all_of_them_and_says_so(self):
        self.unpacked()
        self.program("nvcc", "exit 0")
        result = self.run_setup("--cuda")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("no NVIDIA GPU is visible", result.stderr)
        self.assertIn("CMAKE_CUDA_ARCHITECTURES all-major", self.choice())

    def test_vulkan_with_headers_too_old_for_ggml(self):
        self.unpacked()
        self.program("glslc", "exit 0")
        self.assert_fails_saying(self.vulkan("VK_KHR_swapchain"), "no Vulkan SDK", "LunarG")
        self.assertFalse(os.path.exists(os.path.join(self.cache, "backend.cmake")))

    def test_vulkan_with_a_newer_sdk(self):
        self.unpacked()
        self.program("glslc", "exit 0")
        self.assertEqual(self.vulkan("VK_EXT_layer_settings").returncode, 0)
        self.assertIn("GGML_VULKAN ON", self.choice())

    def vulkan(self, extension):
        headers = os.path.join(self.dir, "sdk", "include", "vulkan")
        os.makedirs(headers)
        with open(os.path.join(headers, "vulkan_core.h"), "w") as f:
            f.write(f"#define {extension} 1\n")
        return self.run_setup("--vulkan", VULKAN_SDK=os.path.join(self.dir, "sdk"))

    def test_cpu_takes_the_choice_back(self):
        self.unpacked()
        self.program("nvcc", "exit 0")
        self.run_setup("--cuda")
        self.assertEqual(self.run_setup("--cpu").returncode, 0)
        self.assertFalse(os.path.exists(os.path.join(self.cache, "backend.cmake")))

    def test_unknown_options_are_usage_errors(self):
        result = self.run_setup("--frob")
        self.assertEqual(result.returncode, 2)
        self.assertIn("--frob", result.stderr)

    def choice(self):
        with open(os.path.join(self.cache, "backend.cmake")) as f:
            return f.read()


if __name__ == "__main__":
    unittest.main()
