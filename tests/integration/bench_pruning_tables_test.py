"""What bench/pruning_tables.py and bench/moeval.py work out, on cases by hand."""

import contextlib
import io
import os
import struct
import sys
import tempfile
import unittest

import numpy as np

SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
sys.path[:0] = [os.path.join(SOURCE, "bench")]
sys.dont_write_bytecode = True
import moeval  # noqa: E402
import pruning_tables as tables  # noqa: E402


def units(*rows):
    """[units, 8] of (tokens, NLL of the full model, NLL of the changed one)."""
    return np.array([[*row, 0, 0, 0, 0, 0] for row in rows], float)


# two draws; the winner costs 0.1 and 0.3 nats per token on code, its rival 0.5 and 0.7
MEASURED = {
    f"mixed-{draw + 1}": {
        (criterion, 24): {"code": units((10, 20, 20 + 10 * cost), (30, 60, 60 + 30 * cost)), "code*": units((5, 5, 6))}
        for criterion, cost in costs.items()
    }
    for draw, costs in enumerate(({"removal, labels": 0.1, "reap": 0.5}, {"removal, labels": 0.3, "reap": 0.7}))
}


def printed(f, *args):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        f(*args)
    return [[c.strip() for c in line.strip("| \n").split("|")] for line in out.getvalue().splitlines() if "|" in line]


class Tables(unittest.TestCase):
    def test_an_increase_is_per_token_whatever_the_length_of_a_sample(self):
        self.assertAlmostEqual(tables.increase(units((10, 20, 21), (30, 60, 63))), 4 / 40)

    def test_text_of_other_sources_is_told_apart(self):
        self.assertEqual(tables.labels_of(MEASURED, False), ["code"])
        self.assertEqual(tables.labels_of(MEASURED, True), ["code*"])

    def test_draws_count_the_same_and_the_worst_comes_first(self):
        rows = printed(tables.print_increases, MEASURED, [24], False)[2:]
        self.assertEqual([r[:2] for r in rows], [["reap", "0.600"], ["removal, labels", "0.200"]])

    def test_paired_ratio_and_difference(self):
        row = printed(tables.print_paired, MEASURED, [24], False, "removal, labels", ["reap"])[-1]
        self.assertEqual(row, ["24", "reap", "0.33 [0.333, 0.333]", "-0.400 [-0.400, -0.400]"])

    def test_units_are_drawn_whole(self):
        draws = tables.unit_draws(MEASURED, ["code"])["code"]
        self.assertTrue((draws.sum(1) == 2).all())
        self.assertGreater(draws[:, 0].std(), 0)


class Moeval(unittest.TestCase):
    def test_what_a_file_holds(self):
        sums = struct.pack("<16d", *range(16))
        cbor = (
            b"\xa3"  # a map of three
            + b"\x66labels\x82\x61a\x62bc"
            + b"\x6aunit_label\x82\x01\x00"
            + b"\x64sums\x81\x58\x80"
            + sums
        )
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.moeval")
            with open(path, "wb") as f:
                f.write(moeval.MAGIC + cbor)
            (plan,) = moeval.read_plans(path)
            np.testing.assert_array_equal(plan["bc"], [np.arange(8)])
            np.testing.assert_array_equal(plan["a"], [np.arange(8, 16)])
            with open(path, "wb") as f:
                f.write(b"something else")
            with self.assertRaisesRegex(ValueError, "no .moeval"):
                moeval.read_plans(path)

    def test_items_of_every_kind(self):
        for data, value in (
            (b"\x18\x64", 100),
            (b"\x39\x01\x00", -257),
            (b"\xf5", True),
            (b"\xf6", None),
            (b"\xfb" + struct.pack(">d", 1.5), 1.5),
            (b"\xa1\x61k\x80", {"k": []}),
        ):
            self.assertEqual(moeval.Cbor(data).item(), value)


if __name__ == "__main__":
    unittest.main()
