"""The yardstick: a byte model of order 3, interpolated with all lower orders (Witten and Bell, 1991)."""
import numpy as np

ORDER = 3


def grams(data, n):
    """Keys of all n-grams: n bytes packed into one integer, one key per position where the gram ends."""
    keys = np.zeros(len(data), dtype=np.int64)
    for i in range(n):
        keys[n - 1 :] = keys[n - 1 :] * 256 + data[i : len(data) - n + 1 + i]
    return keys


class Counts:
    def __init__(self, keys):
        self.keys, self.n = np.unique(keys, return_counts=True)

    def of(self, keys):
        at = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.n[at], 0)


def bits_per_byte(train, test):
    """Mean -log2 p of the bytes of test from the fourth on, for the model counted on train."""
    train, test = (np.frombuffer(x, dtype=np.uint8).astype(np.int64) for x in (train, test))
    p = np.full(len(test) - ORDER, 1 / 256)
    for n in range(ORDER + 1):
        seen = Counts(grams(train, n + 1)[n:])
        contexts, kinds = np.unique(seen.keys >> 8, return_counts=True)
        totals = np.bincount(np.searchsorted(contexts, seen.keys >> 8), weights=seen.n)
        keys = grams(test, n + 1)[ORDER:]
        at = np.searchsorted(contexts, keys >> 8).clip(max=len(contexts) - 1)
        known = contexts[at] == keys >> 8
        mixed = (seen.of(keys) + kinds[at] * p) / (totals[at] + kinds[at])
        p = np.where(known, mixed, p)
    return -np.log2(p).mean()
