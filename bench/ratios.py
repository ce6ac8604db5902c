"""How two ways of doing the same work are compared: paired ratios, their median, and its interval.

Wall time repeats to about 1 % at best, so nothing here compares two averages: each round runs every way once, and only
ratios within a round are used.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Median of the paired ratios with its 95 % bootstrap interval."""

    median: float
    low: float
    high: float
    pairs: int

    @property
    def spread(self):
        return self.high - self.low

    def __str__(self):
        return f"{self.median:.4f} [{self.low:.4f}, {self.high:.4f}]"


def paired_ratio(measured, against, resamples=10_000, seed=1):
    """measured[i] / against[i] for every pair i of one round each."""
    return median_ratio(turn_ratios(measured, against), resamples, seed)


def turn_ratios(measured, against):
    """The ratio of every pair."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.asarray(measured, dtype=float) / np.asarray(against, dtype=float)
    if ratios.ndim != 1 or len(ratios) == 0 or not np.all(np.isfinite(ratios)):
        raise ValueError("needs one positive time of each side per pair")
    return ratios


def median_ratio(ratios, resamples=10_000, seed=1):
    """The Ratio of independent ratios."""
    ratios = np.asarray(ratios, dtype=float)
    picks = np.random.default_rng(seed).integers(0, len(ratios), (resamples, len(ratios)))
    low, high = np.percentile(np.median(ratios[picks], axis=1), [2.5, 97.5])
    return Ratio(float(np.median(ratios)), float(low), float(high), len(ratios))


MIN_PAIRS = 30  # fewer show a tendency and are not judged
MEASURABLE_SPREAD = 0.01


def verdict(cpu, bare_cpu, target):
    """Whether a target is met, from the user+system ratio and that of the bare program against itself."""
    if cpu.pairs < MIN_PAIRS:
        return f"not judged: {cpu.pairs} pairs of {MIN_PAIRS}"
    if cpu.high <= target:
        return "reached"
    if bare_cpu.spread > MEASURABLE_SPREAD:
        return "not measurable here"
    return "reached: within the bare program's own spread" if cpu.high <= bare_cpu.high else "missed"
