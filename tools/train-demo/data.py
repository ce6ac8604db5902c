"""Corpora as token streams, and batches that depend only on (seed, step), so that a resumed run sees the same ones."""
from pathlib import Path

import numpy as np
import torch

import bpe
from corpus import DOMAINS, read_corpora


def stream(tokenizer, documents):
    ids = []
    for text in documents:
        ids.append(tokenizer.end_of_text)
        ids += tokenizer.encode(text)
    return np.array(ids, dtype=np.uint16)


def train_tokenizer(corpora, n_vocab):
    size = {d: sum(map(len, train)) for d, (train, _) in corpora.items()}
    largest = max(size.values())
    weighted = [(text, round(largest / size[d])) for d in DOMAINS for text in corpora[d][0]]
    return bpe.train(weighted, n_vocab)


def prepare(args, n_vocab):
    """(tokenizer, {domain: training stream}, {domain: held-out stream}), kept in the work folder for a resume."""
    tokenizer_path, streams_path = Path(args.work) / "tokenizer.json", Path(args.work) / "streams.npz"
    if not streams_path.exists():
        corpora = read_corpora(args)
        tokenizer = train_tokenizer(corpora, n_vocab)
        tokenizer.save(tokenizer_path)
        streams = {}
        for d in DOMAINS:
            for part, documents in zip(("train", "held_out"), corpora[d]):
                streams[f"{d}_{part}"] = stream(tokenizer, documents)
        np.savez(streams_path, **streams)
    saved = np.load(streams_path)
    parts = [{d: saved[f"{d}_{part}"] for d in DOMAINS} for part in ("train", "held_out")]
    return bpe.Tokenizer.load(tokenizer_path), *parts


def windows(stream_, starts, n_ctx):
    rows = np.stack([stream_[s : s + n_ctx + 1] for s in starts]).astype(np.int64)
    return torch.from_numpy(rows)


def training_batch(train, seed, step, batch, n_ctx):
    """[batch, n_ctx + 1] ids; the domains take turns, so that each gets the same number of tokens."""
    rng = np.random.default_rng([seed, step])
    rows = []
    for b in range(batch):
        ids = train[DOMAINS[(step * batch + b) % len(DOMAINS)]]
        rows.append(windows(ids, [rng.integers(len(ids) - n_ctx)], n_ctx))
    return torch.cat(rows)


def held_out_windows(ids, n, n_ctx):
    """n windows spread evenly over a held-out stream."""
    return windows(ids, np.linspace(0, len(ids) - n_ctx - 1, n).astype(int), n_ctx)
