"""What bench/pruning_tables.py works out, on cases by hand."""

import os
import sys
import types
import unittest

SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
sys.path[:0] = [os.path.join(SOURCE, "bench"), os.path.join(SOURCE, "tools", "train-demo")]
sys.dont_write_bytecode = True
from pruning_tables import bits_per_byte, group, lost_share, shown, winner  # noqa: E402


def models(**values):
    return {name: {"prose": {"value": v}} for name, v in values.items()}


class Tables(unittest.TestCase):
    def test_selections_of_experts_beyond_the_best_are_lost(self):
        scores = {"0": [4.0, 1.0, 3.0, 2.0], "1": [1.0, 1.0, 1.0, 1.0]}
        counts = {"0": [10, 20, 30, 40], "1": [25, 25, 0, 50]}
        # layer 0 loses experts 1 and 3: 60 of 100; layer 1, all equal, the higher ids 2 and 3: 50 of 100
        self.assertAlmostEqual(lost_share(scores, counts, 2), 0.55)
        self.assertEqual(lost_share(scores, counts, 4), 0)

    def test_the_winner_is_better_in_every_single_model(self):
        compared = {"reap": ["a", "b"], "ean": ["c", "d"]}
        self.assertEqual(winner(models(a=5, b=9, c=2, d=4), compared, "prose"), "ean")
        self.assertIsNone(winner(models(a=5, b=9, c=2, d=6), compared, "prose"))

    def test_one_draw_has_no_winner(self):
        self.assertIsNone(winner(models(a=5, c=2), {"reap": ["a"], "ean": ["c"]}, "prose"))

    def test_several_are_shown_by_their_geometric_mean_and_range(self):
        self.assertEqual(shown(models(a=4, b=9), ["a", "b"], "prose"), "6.0 (4.0 to 9.0)")
        self.assertEqual(shown(models(a=4.04), ["a"], "prose"), "4.0")

    def test_only_the_mixed_profile_is_drawn_again(self):
        args = types.SimpleNamespace(draws=2, seeds=[1, 5])
        self.assertEqual(group("mixed", 8, args)["ean"], ["mixed/8/ean/1", "mixed/8/ean/2"])
        self.assertEqual(group("code", 8, args)["ean"], ["code/8/ean/1"])
        self.assertEqual(group("code", 8, args)["random"], ["random/8/1", "random/8/5"])

    def test_bits_per_byte(self):
        self.assertAlmostEqual(bits_per_byte(16.0, {"tokens": 100, "bytes": 200}), 2.0)  # 4 bits a token of 2 bytes


if __name__ == "__main__":
    unittest.main()
