"""tests/device puts rows into the page of an earlier run: it keeps the others, in the order of the cases."""

import importlib.machinery
import importlib.util
import os
import tempfile
import unittest

PATH = os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "tests", "device")


def load():
    loader = importlib.machinery.SourceFileLoader("device", PATH)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("device", loader))
    loader.exec_module(module)
    return module


device = load()


def row(case, word):
    return f"| {case} | " + " | ".join([word] * len(device.TESTS)) + " |"


class Page(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="moescope-test.")
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "device.md")

    def update(self, cases, **words):
        device.update(self.path, "First.", {case: row(case, word) for case, word in words.items()}, cases)
        with open(self.path, encoding="utf-8") as file:
            return file.read()

    def test_rows_are_kept_renewed_and_put_in_order(self):
        cases = ["a", "b_2", "c", "d"]
        self.update(cases, c="old", b_2="old")
        text = self.update(cases, a="new", c="new")
        table = text.partition("\n".join(device.HEAD) + "\n")[2]
        self.assertEqual(
            table, "\n".join([row("a", "new"), row("b_2", "old"), row("c", "new")]) + "\n\nNot tried: d.\n"
        )
        self.assertEqual(text.count("First."), 1)
        self.assertEqual(self.update(cases), text)

    def test_all_that_lacks_is_named_and_what_is_no_case_any_more_goes(self):
        self.update(["a", "b"], a="x", b="x")
        text = self.update(["a", "new"])
        self.assertIn("Not tried: new.", text)
        self.assertNotIn(row("b", "x"), text)
        self.assertTrue(self.update(["a"]).endswith(row("a", "x") + "\n"))

    def test_a_table_of_other_columns_is_left_behind(self):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("# x\n\n| architecture | ids |\n|---|---|\n| a | fine |\n")
        self.assertNotIn("fine", self.update(["a"]))

    def test_the_page_of_the_docs_is_what_is_made_of_its_rows(self):
        with open(os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "docs", "device.md"), encoding="utf-8") as file:
            text = file.read()
        rows = device.rows_of(text)
        self.assertGreater(len(rows), 60)
        first = next(line for line in text.splitlines() if line.startswith("Planted model: "))
        lacking = text.rpartition("\nNot tried: ")[2].rstrip(".\n").split(", ") if "\nNot tried: " in text else []
        self.assertEqual(device.page(first, rows, [*rows, *lacking]), text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
