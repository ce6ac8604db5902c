"""bench/ratios.py on times whose ratio is known."""

import os
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "bench"))
sys.dont_write_bytecode = True
from ratios import Ratio, paired_ratio, verdict  # noqa: E402


class PairedRatio(unittest.TestCase):
    def test_a_drift_that_both_sides_share_cancels(self):
        drift = np.linspace(1, 3, 30)
        self.assertAlmostEqual(paired_ratio(1.02 * drift, drift).median, 1.02)

    def test_the_order_of_the_sides(self):
        self.assertAlmostEqual(paired_ratio([2, 2, 2], [1, 1, 1]).median, 2.0)

    def test_the_interval_holds_the_truth_19_times_of_20(self):
        rng = np.random.default_rng(7)
        inside = 0
        for trial in range(200):
            bare = 1 + 0.01 * rng.standard_normal(31)
            measured = 1.003 * (1 + 0.01 * rng.standard_normal(31))
            r = paired_ratio(measured, bare, resamples=1000, seed=trial)
            inside += r.low <= 1.003 <= r.high
        # Binomial(200, 0.95) lies in [181, 198] 99 times of 100; the median's bootstrap is a little wide.
        self.assertGreaterEqual(inside, 180)
        self.assertLess(inside, 200)

    def test_refuses_times_that_are_missing(self):
        with self.assertRaises(ValueError):
            paired_ratio([], [])
        with self.assertRaises(ValueError):
            paired_ratio([1, 2], [1, 0])


class Verdict(unittest.TestCase):
    steady = Ratio(1.000, 0.998, 1.002, 30)
    restless = Ratio(1.000, 0.980, 1.020, 30)

    def test_the_upper_bound_counts_not_the_median(self):
        self.assertEqual(verdict(Ratio(1.003, 1.001, 1.005, 30), self.steady, 1.005), "reached")
        self.assertEqual(verdict(Ratio(1.003, 1.001, 1.006, 30), self.steady, 1.005), "missed")

    def test_nothing_can_be_asked_below_the_bare_programs_own_spread(self):
        self.assertTrue(verdict(Ratio(1.000, 0.998, 1.002, 30), self.steady, 1.001).startswith("reached"))

    def test_a_restless_machine_judges_only_what_is_clear(self):
        self.assertEqual(verdict(Ratio(1.000, 0.98, 1.02, 30), self.restless, 1.005), "not measurable here")
        self.assertEqual(verdict(Ratio(0.900, 0.88, 0.92, 30), self.restless, 1.005), "reached")

    def test_few_pairs_are_not_judged(self):
        self.assertTrue(verdict(Ratio(1.0, 1.0, 1.0, 29), self.steady, 1.005).startswith("not judged"))


if __name__ == "__main__":
    unittest.main()
