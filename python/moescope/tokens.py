"""The tokens of a trace."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ._frames import HEADER
from ._index import FrameGroup, FrameIndex
from ._tables import Table
from ._types import Array, Columns, Texts


@dataclass(frozen=True, repr=False)
class Tokens(Table):
    """Every token of every ubatch, in the order in which they ran; all arrays are [tokens] and read-only."""

    token: NDArray[np.int32]  #: token ids, -1 unknown
    position: NDArray[np.int32]  #: in the sequence, -1 unknown
    sequence: NDArray[np.int32]  #: sequence ids, -1 unknown
    phase: NDArray[np.uint8]  #: 0 prefill, 1 decode
    batch: NDArray[np.uint32]  #: number of the llama_decode call
    ubatch: NDArray[np.uint32]  #: number of the ubatch in the trace
    time_ns: NDArray[np.uint64]  #: when the ubatch was computed: nanoseconds since the trace began
    taken_back: NDArray[np.bool_]  #: drafts that were rejected: computed, and no part of any text
    _text: Texts  # token ids -> texts

    def __len__(self) -> int:
        return len(self.token)

    def __repr__(self) -> str:
        return f"<moescope.Tokens: {len(self):,}>"

    def _table(self) -> Columns:
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "_text"}
        columns["phase"] = phase_names(self.phase)
        return {**columns, "text": self._text(self.token)}


def phase_names(phase: Array) -> Array:
    """prefill or decode, as objects; None where the phase is neither 0 nor 1."""
    return np.array(["prefill", "decode", None], object)[np.minimum(phase, 2)]


def read_tokens(index: FrameIndex, text: Texts, taken_back: Array) -> Tokens:
    """Gathers the tokens of the whole trace. taken_back: [n, 2], numbers of ubatches and places in them."""
    index.complete()
    n_tokens = index.by_shape(lambda shape: shape.n_tokens)
    begins, total = np.cumsum(n_tokens) - n_tokens, int(n_tokens.sum())
    types = {
        "token": "<i4",
        "position": "<i4",
        "sequence": "<i4",
        "phase": "u1",
        "batch": "<u4",
        "ubatch": "<u4",
        "time_ns": "<u8",
    }
    arrays = {name: np.empty(total, dtype) for name, dtype in types.items()}
    for group in index.groups():
        n = group.shape.n_tokens
        if n > 0:
            places = (begins[group.numbers, None] + np.arange(n)).ravel()
            for name, values in _columns(group, n).items():
                arrays[name][places] = values
    arrays["taken_back"] = np.zeros(total, bool)
    there = (taken_back[:, 0] >= 0) & (taken_back[:, 0] < len(begins))
    ubatch, place = taken_back[there].T
    in_it = place < n_tokens[ubatch]
    arrays["taken_back"][begins[ubatch[in_it]] + place[in_it]] = True
    for array in arrays.values():
        array.flags.writeable = False
    return Tokens(**arrays, _text=text)


def _columns(group: FrameGroup, n: int) -> Columns:
    """[n_frames * n] each."""
    heads = group.read(0, HEADER.itemsize).view(HEADER)[:, 0]
    numbers = group.read(HEADER.itemsize, 12 * n).view("<i4").reshape(-1, 3, n)
    columns = {name: numbers[:, i].ravel() for i, name in enumerate(("token", "position", "sequence"))}
    columns["phase"] = group.read(HEADER.itemsize + 12 * n, n).ravel()
    columns.update({name: np.repeat(heads[name], n) for name in ("batch", "time_ns")})
    columns["ubatch"] = np.repeat(group.numbers, n)
    return columns
