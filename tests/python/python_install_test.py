"""`pip install ./python` as docs/python.md gives it, without a network and without any package that Debian lacks."""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from importlib.util import find_spec

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from package_reader import GOLDEN, SOURCE  # noqa: E402

PACKAGE = os.path.join(SOURCE, "python")
READ = "import moescope, sys; print(moescope.__file__); print(moescope.open(sys.argv[1]).layers[2].ids.shape)"

# No index, no folder of wheels, no settings of this machine's: pip has nothing but what is given to it.
OFFLINE = {k: v for k, v in os.environ.items() if not k.startswith("PIP_") and k != "PYTHONPATH"}
OFFLINE.update(PIP_CONFIG_FILE=os.devnull, PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1")


@unittest.skipUnless(find_spec("pip") and find_spec("ensurepip"), "python3-pip or python3-venv is not installed")
class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.environment = os.path.join(folder.name, "env")
        subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", cls.environment], check=True)

    def pip(self, *args):
        command = [os.path.join(self.environment, "bin", "pip"), *args]
        done = subprocess.run(command, env=OFFLINE, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def read(self):
        """Where the installed package lies, after it has read a trace."""
        command = [os.path.join(self.environment, "bin", "python"), "-c", READ, GOLDEN]
        done = subprocess.run(command, env=OFFLINE, cwd=self.environment, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        path, shape = done.stdout.splitlines()
        self.assertEqual(shape, "(8, 4)")
        return path

    def test_installs_whole_and_leaves_the_source_as_it_was(self):
        before = sorted(os.listdir(PACKAGE))
        self.pip("install", PACKAGE)
        installed = os.path.dirname(self.read())
        self.assertTrue(installed.startswith(self.environment))
        want = {os.path.basename(p) for p in glob.glob(os.path.join(PACKAGE, "moescope", "*.py"))} | {"py.typed"}
        self.assertEqual(set(os.listdir(installed)) - {"__pycache__"}, want)
        self.assertIn("Requires: numpy\n", self.pip("show", "moescope"))
        self.assertEqual(
            [n for n in sorted(os.listdir(PACKAGE)) if n != "__pycache__"], [n for n in before if n != "__pycache__"]
        )
        self.pip("uninstall", "-y", "moescope")
        self.assertFalse(os.path.exists(installed))

    def test_installs_without_build_isolation(self):
        self.pip("install", "--no-build-isolation", "--force-reinstall", "--no-deps", PACKAGE)
        self.assertTrue(self.read().startswith(self.environment))

    def test_installs_for_who_works_on_it(self):
        self.pip("install", "--force-reinstall", "--no-deps", "-e", PACKAGE)
        self.assertEqual(self.read(), os.path.join(PACKAGE, "moescope", "__init__.py"))
        self.pip("uninstall", "-y", "moescope")

    def test_the_same_sources_give_the_same_wheel(self):
        with tempfile.TemporaryDirectory() as folder:
            wheels = []
            for name in ("a", "b"):
                copy = shutil.copytree(
                    PACKAGE, os.path.join(folder, name), ignore=shutil.ignore_patterns("__pycache__")
                )
                self.pip("wheel", "--no-deps", "-w", os.path.join(folder, name, "out"), copy)
                (path,) = glob.glob(os.path.join(folder, name, "out", "*.whl"))
                with open(path, "rb") as file:
                    wheels.append(file.read())
                self.assertIsNone(zipfile.ZipFile(path).testzip())
            self.assertEqual(*wheels)


if __name__ == "__main__":
    unittest.main()
