"""A profile (`.moestats`, docs/profile.md): sums over a corpus, and the scores that follow from them."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from operator import index
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from ._checksum import payload_hash
from ._decode import padded
from ._mapped import MappedFile
from ._records import ModelInfo
from ._tables import Table
from ._types import Array, Columns
from .errors import TraceError

_HEAD = struct.Struct("<8sII")  # magic, version, size of the JSON
_VERSIONS = (1, 2)
_MOST_EXPERTS = 1 << 20


@dataclass(frozen=True)
class CorpusPart:
    """Which corpus was read, and how much of it."""

    name: str  #: file name without folder
    bytes: int
    hash: int  #: XXH3-64 of the file
    selection: str  #: what was taken of it and how
    samples: int  #: that are in the sums
    tokens: int
    truncated: int  #: samples cut to the context
    empty: int  #: samples skipped
    malformed: int  #: lines skipped
    failed: list[int]  #: line numbers of samples that failed to decode
    next_unit: int  #: where a resume goes on
    next_group: int
    complete: bool  #: nothing is left to do


@dataclass(frozen=True)
class ProfileBlock:
    """One MoE block's sums over the rows routed to each expert; g is the gate weight, f the expert's output."""

    layer: int
    block: int  #: 0; 1 for the second block of a layer (GroveMoE)
    n_expert: int
    n_expert_used: int  #: k
    flags: int  #: bits, see docs/trace-format.md
    rows: int  #: tokens that the block routed

    count: NDArray[np.uint64]  #: [n_expert] rows routed to the expert; sums to k * rows
    gate: NDArray[np.float64]  #: [n_expert] sum of g
    gated_norm: NDArray[np.float64]  #: [n_expert] sum of g * |f|
    norm: NDArray[np.float64]  #: [n_expert] sum of |f|
    max_norm: NDArray[np.float32]  #: [n_expert] largest |f|
    label_rows: NDArray[np.uint64]  #: [n_labels] rows of each label
    label_count: NDArray[np.uint64]  #: [n_labels, n_expert] the same as count

    # Empty arrays where a profile has them not (version 1, or `profile --sums norms`); docs/prune.md defines them.
    norm_squared: NDArray[np.float64]  #: [n_expert] sum of |f|^2
    gated_squared: NDArray[np.float64]  #: [n_expert] sum of g^2 * |f|^2
    easy_ep: NDArray[np.float64]  #: [n_expert] sum of g * |f| * max(0, 1 - cos(h, h + y))
    removal: NDArray[np.float64]  #: [n_expert] sum of |y - y'|^2 / |h + y|^2, y' the output without the expert
    peak: NDArray[np.float32]  #: [n_expert] largest absolute element of f
    pair_count: NDArray[np.uint64]  #: [n_expert, n_expert] rows that select both; 0 on the diagonal
    pair_product: NDArray[np.float64]  #: [n_expert, n_expert] sum of g_i * |f_i| * g_j * |f_j|; 0 on the diagonal
    label_sums: dict[
        str, NDArray[np.float64]
    ]  #: name of a sum above, of gate, gated_norm, norm -> [n_labels, n_expert]

    @property
    def frequency(self) -> NDArray[np.float64]:
        """[n_expert] share of the rows that were routed to the expert; 0 without rows."""
        return self.count / self.rows if self.rows else np.zeros(self.n_expert)

    @property
    def mean_gate(self) -> NDArray[np.float64]:
        """[n_expert] mean gate weight over the expert's rows; 0 where it was never selected."""
        return self._mean(self.gate)

    @property
    def ean(self) -> NDArray[np.float64]:
        """[n_expert] expert activation norm: mean |f| over the expert's rows; 0 where it was never selected."""
        return self._mean(self.norm)

    @property
    def reap(self) -> NDArray[np.float64]:
        """[n_expert] mean g * |f| over the expert's rows (arXiv:2510.13999, Eq. 9); 0 where it was never selected."""
        return self._mean(self.gated_norm)

    @property
    def norms_gated(self) -> bool:
        """Norms already contain the gate weight (Llama 4): norm and gated_norm are the same sum."""
        return bool(self.flags & 4)

    def _mean(self, total: Array) -> Array:
        return np.divide(total, self.count, out=np.zeros(self.n_expert), where=self.count > 0)


@dataclass(frozen=True, repr=False)
class Profile(Table):
    """What `moescope profile` or `moescope merge` wrote.

    to_pandas() and its like give one row for each expert: layer, block, expert, count, frequency, mean_gate, ean, reap,
    max_norm.
    """

    path: str
    model: ModelInfo  #: whose `metadata` a profile does not keep
    fingerprint: int  #: of the weights file
    gate: str  #: which gate weight was taken: "final" or "raw"
    options: dict[str, str]  #: what else changes the sums
    numerics: dict[str, str]  #: what changes rounding alone
    labels: list[str]  #: by their number in label_rows and label_count
    corpora: list[CorpusPart]
    blocks: list[ProfileBlock]  #: by layer and block

    @property
    def layers(self) -> dict[int, ProfileBlock]:
        """Layer -> its block 0."""
        return {b.layer: b for b in self.blocks if b.block == 0}

    def block(self, layer: int, block: int = 0) -> ProfileBlock:
        """KeyError where there is none."""
        return {(b.layer, b.block): b for b in self.blocks}[layer, block]

    @property
    def samples(self) -> int:
        return sum(c.samples for c in self.corpora)

    @property
    def tokens(self) -> int:
        return sum(c.tokens for c in self.corpora)

    @property
    def complete(self) -> bool:
        """Nothing of the corpora is left to do."""
        return all(c.complete for c in self.corpora)

    def __repr__(self) -> str:
        n_layers, architecture = len(self.layers), self.model.architecture
        return f"<moescope.Profile {self.path}: {architecture}, {n_layers} MoE layers, {self.tokens:,} tokens>"

    def _table(self) -> Columns:
        names = ("count", "frequency", "mean_gate", "ean", "reap", "max_norm")
        table = {
            "layer": np.repeat([b.layer for b in self.blocks], [b.n_expert for b in self.blocks]),
            "block": np.repeat([b.block for b in self.blocks], [b.n_expert for b in self.blocks]),
            "expert": np.concatenate([np.arange(b.n_expert) for b in self.blocks] + [np.arange(0)]),
        }
        for name in names:
            table[name] = np.concatenate([getattr(b, name) for b in self.blocks] + [np.zeros(0, np.float32)])
        return table


def open_profile(path: Union[str, os.PathLike[str]]) -> Profile:
    """Reads a profile. Raises TraceError where the file is none or damaged, OSError where it cannot be opened."""
    file = MappedFile(os.fspath(path))
    text, sums = _split(file, file.copy(0, file.size))
    try:
        return _profile(file.path, json.loads(text), _Sums(file.path, sums, _HEAD.size + len(text)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise TraceError(f"the head is damaged: {e}", file.path) from None


def _split(file: MappedFile, data: bytes) -> tuple[bytes, bytes]:
    """JSON and sums, without the hash behind them."""
    magic, version, text_size = _HEAD.unpack(data[: _HEAD.size]) if len(data) >= _HEAD.size else (b"", 0, 0)
    if magic != b"MOESTATS":
        raise TraceError("not a .moestats file", file.path, advice="moescope profile writes them")
    if version not in _VERSIONS:
        reason = f"this is version {version} of the format, but this package reads 1 to {_VERSIONS[-1]}"
        raise TraceError(reason, file.path, advice="use a newer moescope")
    body, text_end = len(data) - 8, _HEAD.size + text_size
    own_hash = int.from_bytes(data[max(0, body) :], "little")
    if text_end > body or (payload_hash is not None and payload_hash(data[:body]) != own_hash):
        raise TraceError("the file is cut or damaged: its hash does not match", file.path)
    return data[_HEAD.size : text_end], data[text_end:body]


class _Sums:
    """Takes array after array."""

    def __init__(self, path: str, data: bytes, origin: int) -> None:
        self._path, self._data, self._origin, self._at = path, data, origin, 0

    def take(self, dtype: str, n: int) -> Array:
        """[n], read-only."""
        n_bytes = n * np.dtype(dtype).itemsize
        if n_bytes > len(self._data) - self._at:
            raise TraceError("the sums are cut", self._path, self._origin + self._at)
        array = np.frombuffer(self._data, dtype, n, self._at) if n else np.zeros(0, dtype)
        self._at = min(self._at + padded(n_bytes, 8), len(self._data))
        return array

    def finish(self) -> None:
        if self._at != len(self._data):
            raise TraceError("there are bytes after the last sum", self._path, self._origin + self._at)


def _profile(path: str, head: dict[str, Any], sums: _Sums) -> Profile:
    model = dict(head["model"])
    fingerprint = model.pop("fingerprint")
    model.pop("shapes", None)
    labels = list(head["labels"])
    blocks = [_block(b, len(labels), sums) for b in head["blocks"]]
    sums.finish()
    return Profile(
        path=path,
        model=ModelInfo(**model),
        fingerprint=fingerprint,
        gate=head["gate"],
        options=dict(head["options"]),
        numerics=dict(head["numerics"]),
        labels=labels,
        corpora=[CorpusPart(**c) for c in head["corpora"]],
        blocks=blocks,
    )


_FIRST_SUMS = ("gate", "gated_norm", "norm")
_FURTHER_SUMS = ("norm_squared", "gated_squared", "easy_ep", "removal")


def _block(head: dict[str, Any], n_labels: int, sums: _Sums) -> ProfileBlock:
    names = list(head.get("sums", []))
    fields: dict[str, Any] = {name: index(value) for name, value in head.items() if name != "sums"}
    n = fields["n_expert"]
    if not 0 <= n <= _MOST_EXPERTS:
        raise ValueError(f"a block claims {n} experts")
    types = {"count": "<u8", "gate": "<f8", "gated_norm": "<f8", "norm": "<f8", "max_norm": "<f4"}
    fields.update((name, sums.take(dtype, n)) for name, dtype in types.items())
    fields["label_rows"] = sums.take("<u8", n_labels)
    fields["label_count"] = sums.take("<u8", n_labels * n).reshape(n_labels, n)
    fields.update((name, sums.take("<f8", n if name in names else 0)) for name in _FURTHER_SUMS)
    fields["peak"] = sums.take("<f4", n if "peak" in names else 0)
    n_paired = n if "pairs" in names else 0
    fields["pair_count"] = _square(sums.take("<u8", n_paired * (n_paired - 1) // 2), n_paired)
    fields["pair_product"] = _square(sums.take("<f8", n_paired * (n_paired - 1) // 2), n_paired)
    by_label = [*_FIRST_SUMS, *_FURTHER_SUMS] if "norm_squared" in names else []
    rows = {name: n_labels if name in (*_FIRST_SUMS, *names) else 0 for name in by_label}
    fields["label_sums"] = {name: sums.take("<f8", k * n).reshape(k, n) for name, k in rows.items()}
    return ProfileBlock(**fields)


def _square(pairs: Array, n: int) -> Array:
    """[n, n] of what is stored once for each pair of experts."""
    matrix = np.zeros((n, n), pairs.dtype)
    matrix[np.triu_indices(n, 1)] = pairs
    return matrix + matrix.T
