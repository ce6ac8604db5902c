"""The short runs that bench/README.md names pass the scripts' own checks of their options."""

import os
import sys
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

BENCH = os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "bench")
sys.path.insert(0, BENCH)
sys.dont_write_bytecode = True


def script(name):
    loader = SourceFileLoader(name.replace("-", "_"), os.path.join(BENCH, name))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class CaptureCost(unittest.TestCase):
    def parsed(self, *options):
        sys.argv = ["capture-cost", *options]
        return script("capture-cost").parse_arguments()

    def test_quick(self):
        self.assertLess(self.parsed("--quick").pairs, self.parsed().pairs)

    def test_tokens_that_fill_no_slice_are_refused(self):
        with self.assertRaises(SystemExit):
            self.parsed("--generate", "17")


if __name__ == "__main__":
    unittest.main()
