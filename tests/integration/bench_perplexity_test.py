"""bench/perplexity.py on output whose numbers are known."""

import math
import os
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "bench"))
sys.dont_write_bytecode = True
from perplexity import chunk_nats, parse, ratio  # noqa: E402


def printed(nats, announced=None):
    """What llama-perplexity prints for chunks of these mean losses."""
    running = [math.exp(np.mean(nats[: i + 1])) for i in range(len(nats))]
    return (
        f"0.1 I perplexity: calculating perplexity over {announced or len(nats)} chunks, n_ctx=512, batch_size=2048\n"
        + "".join(f"[{i + 1}]{p:.4f}," for i, p in enumerate(running))
        + f"\n0.2 I Final estimate: PPL = {running[-1]:.4f} +/- 0.50000\n"
    )


class Parse(unittest.TestCase):
    NATS = [3.0, 2.5, 4.0, 3.25]

    def test_single_chunks_come_out_of_the_running_values(self):
        found = parse(printed(self.NATS))
        self.assertAlmostEqual(found.value, math.exp(3.1875), places=4)
        self.assertEqual(found.error, 0.5)
        np.testing.assert_allclose(found.chunk_nats, self.NATS, atol=1e-4)

    def test_output_that_lost_its_end_is_no_result(self):
        whole = printed(self.NATS)
        self.assertIsNone(parse(whole[: whole.index("\n0.2 I Final")]))
        self.assertIsNone(parse(printed(self.NATS, announced=5)))
        self.assertIsNone(parse(""))


class Ratio(unittest.TestCase):
    def test_is_that_of_the_perplexities(self):
        a, b = [3.0, 2.5, 4.0], [2.5, 2.5, 3.0]
        self.assertAlmostEqual(ratio(a, b)[0], math.exp(np.mean(a)) / math.exp(np.mean(b)))

    def test_several_models_are_averaged(self):
        self.assertAlmostEqual(ratio([[2.0, 3.0], [4.0, 5.0]], [[3.0, 3.0]])[0], math.exp(0.5))

    def test_what_all_chunks_share_does_not_widen_the_interval(self):
        hard = np.random.default_rng(1).normal(4, 1, 40)
        value, low, high = ratio(hard + 0.1, hard)
        self.assertAlmostEqual(value, math.exp(0.1))
        self.assertAlmostEqual(high - low, 0)

    def test_the_interval_holds_the_truth_19_times_of_20(self):
        rng, inside = np.random.default_rng(3), 0
        for trial in range(200):
            _, low, high = ratio(rng.normal(0.05, 0.1, 40), np.zeros(40), resamples=1000, seed=trial)
            inside += low <= math.exp(0.05) <= high
        # Binomial(200, 0.95) lies in [181, 198] 99 times of 100; the bootstrap of 40 chunks is a little narrow.
        self.assertGreaterEqual(inside, 178)
        self.assertLess(inside, 200)

    def test_chunk_nats_of_one_chunk(self):
        self.assertAlmostEqual(chunk_nats([math.e])[0], 1.0)


if __name__ == "__main__":
    unittest.main()
