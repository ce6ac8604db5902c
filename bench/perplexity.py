"""llama-perplexity, per chunk: so that two models can be compared on the same chunks, which is far sharper than comparing
their two perplexities."""

import dataclasses
import os
import re
import subprocess

import numpy as np


@dataclasses.dataclass(frozen=True)
class Perplexity:
    """Of one text, over chunks of equal size. `error` is llama-perplexity's own: one standard error over tokens."""

    value: float
    error: float
    chunk_nats: tuple  # mean negative log likelihood per scored token of each chunk, natural logarithm

    def __str__(self):
        return f"{self.value:.2f} ± {self.error:.2f}"


def chunk_nats(running):
    """From the running perplexity after each chunk, exp((s_1 + … + s_n) / n), the means s_n of the single chunks."""
    sums = np.log(np.asarray(running, dtype=float)) * np.arange(1, len(running) + 1)
    return tuple(np.diff(sums, prepend=0.0).tolist())


def parse(output):
    """The Perplexity that llama-perplexity printed, stdout and stderr together; None if the end of it is missing."""
    announced = re.search(r"calculating perplexity over (\d+) chunks", output)
    running = [float(p) for p in re.findall(r"\[\d+\]([0-9.]+),", output)]
    final = re.search(r"Final estimate: PPL = ([0-9.]+) \+/- ([0-9.]+)", output)
    if not announced or not final or len(running) != int(announced[1]):
        return None
    return Perplexity(float(final[1]), float(final[2]), chunk_nats(running))


def measure(program, model, text, n_ctx, attempts=8):
    """Runs llama-perplexity on a text file. The second half of each chunk of n_ctx tokens is scored.

    llama.cpp prints from a thread that its exit does not wait for; on a busy machine the last lines, the result among
    them, are sometimes lost (v0.5.0). Then it is run again.
    """
    command = [program, "-m", model, "-f", text, "-c", str(n_ctx), "-b", str(4 * n_ctx), "-t", "1"]
    env = {"OMP_WAIT_POLICY": "passive", **os.environ}
    for _ in range(attempts):
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=env
        )
        if done.returncode != 0:
            break
        found = parse(done.stdout)
        if found:
            return found
    raise ValueError(f"{' '.join(command)} gave no perplexity:\n{done.stdout[-2000:]}")


def ratio(of, against, resamples=10_000, seed=1):
    """The ratio of two perplexities of the same chunks, and its 95 % interval by bootstrap over chunks.

    `of` and `against` are chunk_nats, or lists of such (several seeds), which are averaged chunk by chunk: the geometric
    mean of their perplexities.
    """
    difference = np.atleast_2d(of).mean(axis=0) - np.atleast_2d(against).mean(axis=0)
    picks = np.random.default_rng(seed).integers(0, len(difference), (resamples, len(difference)))
    low, high = np.percentile(difference[picks].mean(axis=1), [2.5, 97.5])
    return float(np.exp(difference.mean())), float(np.exp(low)), float(np.exp(high))
