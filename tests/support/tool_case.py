"""What tests of the command line share: a folder of their own, moescope in it, a small random model, prompts with labels."""

import json
import os
import subprocess
import tempfile
import unittest

MOESCOPE = os.environ["MOESCOPE_BIN"]


class ToolCase(unittest.TestCase):
    """A folder for all tests of a class; names are relative to it, and moescope runs there."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name

    @classmethod
    def path(cls, *name):
        return os.path.join(cls.folder, *name)

    @classmethod
    def tool(cls, *args):
        return subprocess.run(
            [MOESCOPE, *map(str, args)], capture_output=True, text=True, errors="replace", timeout=120, cwd=cls.folder
        )

    @classmethod
    def done(cls, *args):
        result = cls.tool(*args)
        assert result.returncode == 0, f"{args}: {result.stderr}"
        return result

    @classmethod
    def exported_rows(cls, trace):
        return [json.loads(line) for line in cls.done("export", trace, "-f", "jsonl").stdout.splitlines()]

    @classmethod
    def make_model(cls, name, layers, experts, k):
        """A random Qwen3 MoE."""
        shape = ["--layers", str(layers), "--experts", str(experts), "--top-k", str(k)]
        command = [os.environ["MAKE_MODEL_BIN"], "random", "--arch", "qwen3moe", *shape, "-o", cls.path(name)]
        subprocess.run(command, check=True, capture_output=True)

    @classmethod
    def write_prompts(cls, name, prompts, key):
        """prompts: (label or None, text); key: of the labels."""
        with open(cls.path(name), "w", encoding="utf-8") as file:
            for label, prompt in prompts:
                file.write(json.dumps({"prompt": prompt, **({key: label} if label else {})}) + "\n")
