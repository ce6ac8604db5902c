"""What tests take from npm is what this version was tested with, or it is refused before it is opened. With a fake npm and caches of
its own."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

ROOT = os.environ["MOESCOPE_SOURCE_DIR"]
SUPPORT = os.path.join(ROOT, "tests", "support")
VERSION = "3.9.0"


def contents(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


class Fetched(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="moescope-test.")
        self.addCleanup(shutil.rmtree, self.folder)
        self.cache = os.path.join(self.folder, "cache")
        os.mkdir(os.path.join(self.folder, "bin"))

    def npm(self, script):
        path = os.path.join(self.folder, "bin", "npm")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script + "\n")
        os.chmod(path, 0o755)

    def environment(self):
        path = os.path.join(self.folder, "bin") + ":" + os.environ["PATH"]
        return {**os.environ, "PATH": path, "MOESCOPE_CACHE": self.cache}

    def asked_for(self, call):
        """What comes of a call of npm_packages: the name of its exception and the message."""
        program = (
            f"import sys; sys.path.insert(0, {SUPPORT!r}); import npm_packages as npm\n"
            f"try: print('folder', npm.{call})\n"
            "except (npm.Refused, npm.Unavailable) as error: print(type(error).__name__, error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], env=self.environment(), capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def in_cache(self):
        return [name for name in os.listdir(self.cache) if not name.endswith(".lock")]

    def test_another_archive_is_refused_and_not_opened(self):
        self.npm("echo something else > x.tgz; echo x.tgz")
        for call, package in (
            ("fugood_llama('1.7.15')", "@fugood/llama.node@1.7.15"),
            (
                "vulkan_libraries('@node-llama-cpp/linux-x64-vulkan@3.22.1')",
                "@node-llama-cpp/linux-x64-vulkan@3.22.1",
            ),
        ):
            self.assertEqual(
                self.asked_for(call),
                f"Refused {package} is not the package this version was tested with (its checksum differs)",
            )
            self.assertEqual(self.in_cache(), [])

    def test_another_archive_of_an_older_release_is_refused(self):
        self.npm("case $1 in ci) mkdir node_modules ;; *) echo something else > x.tgz; echo x.tgz ;; esac")
        self.assertRegex(
            self.asked_for(f"node_llama_cpp({VERSION!r})"), rf"^Refused .*node-llama-cpp@{VERSION} is not "
        )
        self.assertFalse(os.path.exists(os.path.join(self.cache, "node-llama-cpp", VERSION)))

    def test_other_packages_than_those_of_the_lock_file_are_refused(self):
        self.npm("echo npm error code EINTEGRITY >&2; exit 1")
        self.assertIn("Refused npm has other packages", self.asked_for(f"node_llama_cpp({VERSION!r})"))
        self.assertEqual(self.in_cache(), [])

    def test_what_has_no_checksum_is_not_even_fetched(self):
        self.npm(f"touch {self.folder}/called; exit 1")
        self.assertEqual(
            self.asked_for("fugood_llama('0.0.1')"),
            "Refused @fugood/llama.node@0.0.1 has no checksum in scripts/packages-npm*.txt",
        )
        self.assertFalse(os.path.exists(os.path.join(self.folder, "called")))

    def test_what_npm_cannot_fetch_is_unavailable(self):
        self.npm("exit 1")
        self.assertIn("Unavailable npm pack cannot fetch", self.asked_for("fugood_llama('1.7.15')"))
        self.assertIn("Unavailable npm cannot install", self.asked_for(f"node_llama_cpp({VERSION!r})"))
        self.assertEqual(self.in_cache(), [])

    def test_the_right_archive_is_taken(self):
        archive, scripts = os.path.join(self.folder, "right.tgz"), os.path.join(self.folder, "scripts")
        with tarfile.open(archive, "w:gz") as file:
            file.add(__file__, "package/some.py")
        os.mkdir(scripts)
        shutil.copy(os.path.join(ROOT, "scripts", "fetch-npm"), scripts)
        with open(archive, "rb") as file:
            checksum = hashlib.sha512(file.read()).hexdigest()
        with open(os.path.join(scripts, "packages-npm.txt"), "w", encoding="utf-8") as file:
            file.write(f"some@1.0.0 {checksum} MIT\n")
        self.npm(f"cp {archive} . && echo right.tgz")
        to = tempfile.mkdtemp(dir=self.folder)
        done = subprocess.run(
            [os.path.join(scripts, "fetch-npm"), "some@1.0.0", to],
            env=self.environment(),
            capture_output=True,
            text=True,
        )
        self.assertEqual((done.returncode, done.stdout.strip()), (0, os.path.join(to, "right.tgz")), done.stderr)

    def test_a_folder_is_filled_again_only_for_another_key(self):
        filled = "[npm.in_cache('x', key, lambda folder: made.append(key)) for key in keys]"
        program = (
            f"import sys; sys.path.insert(0, {SUPPORT!r}); import npm_packages as npm\n"
            f"made, keys = [], ['one', 'one', 'two', 'two']\n{filled}\nprint(made)"
        )
        done = subprocess.run([sys.executable, "-c", program], env=self.environment(), capture_output=True, text=True)
        self.assertEqual(done.stdout.strip(), "['one', 'two']", done.stderr)


class Lists(unittest.TestCase):
    def test_every_release_that_tests_name_has_a_checksum_for_every_machine(self):
        listed = contents(ROOT, "scripts", "packages-npm.txt") + contents(ROOT, "scripts", "packages-npm-tests.txt")
        names = [line.split()[0] for line in listed.splitlines() if not line.startswith("#")]
        self.assertEqual(len(names), len(set(names)))
        for line in listed.splitlines():
            self.assertRegex(line, r"^(#.*|\S+@[\d.]+(-r\.1)? [0-9a-f]{128} \S+)$")
        versions = re.search(r"^ALL = \[(.*?)\]", contents(ROOT, "tests", "versions"), re.M | re.S)[1]
        versions = re.findall(r'"([\d.]+)"', versions) + ["3.22.1"]
        self.assertGreaterEqual(len(versions), 20)
        for version in versions:
            for package in ("node-llama-cpp", "@node-llama-cpp/linux-x64", "@node-llama-cpp/linux-arm64"):
                self.assertIn(f"{package}@{version}", names)
        fugood = re.search(r'^FUGOOD = "(.*)"', contents(ROOT, "tests", "versions"), re.M)[1]
        for package in ("llama.node", "node-llama-linux-x64", "node-llama-linux-arm64"):
            self.assertIn(f"@fugood/{package}@{fugood}", names)
        self.assertIn(re.search(r'^PACKAGE = "(.*)"', contents(ROOT, "tests", "device"), re.M)[1], names)

    def test_nothing_else_fetches(self):
        fetching = []
        for folder, _, files in os.walk(os.path.join(ROOT, "tests")):
            for name in files:
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8", errors="replace") as file:
                    if re.search(r'"npm",\s*"(pack|install|ci|exec)"', file.read()):
                        fetching.append(os.path.relpath(path, ROOT))
        self.assertEqual(fetching, ["tests/support/npm_packages.py"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
