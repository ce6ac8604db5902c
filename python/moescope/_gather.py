"""Gathers a block's rows from all frames of a trace, and checks what it finds."""

from __future__ import annotations

from typing import Iterator, NamedTuple

import numpy as np

from ._index import FrameGroup, FrameIndex
from ._layout import BlockLayout
from ._types import Array
from .errors import TraceError, damaged


class _Rows(NamedTuple):
    """The block's rows in some frames."""

    group: FrameGroup
    number: int  # of the block in their layout
    rows: Array  # [n_frames * n_rows] i8, among all rows of the block

    def read(self, name: str) -> Array:
        """[n_frames, n_rows * width] as stored."""
        place = self.group.shape.place(self.number, name)
        n_values = int(self.group.shape.n_rows[self.number]) * place.width
        return self.group.read(place.offset, n_values * place.dtype.itemsize).view(place.dtype)


class BlockGatherer:
    """Gathers the columns of one block of the trace."""

    def __init__(self, layout: BlockLayout, index: FrameIndex) -> None:
        self._layout, self._index = layout, index

    def n_rows(self) -> int:
        self._index.complete()
        return int(self._rows_by_frame().sum())

    def ids(self) -> Array:
        """[rows, k]"""
        out = np.empty((self.n_rows(), self._layout.n_expert_used), self._layout.id_dtype)
        for part in self._parts():
            stored = part.group.shape.layout.blocks[part.number]
            if stored.n_expert_used != self._layout.n_expert_used or stored.n_expert > self._layout.n_expert:
                reason = f"layer {self._layout.layer} has rows of different shapes, which one array cannot hold"
                raise TraceError(reason, part.group.file.path, advice="take them from trace.ubatches()")
            ids = part.read("ids")
            check_ids(ids, stored, part.group.file.path, part.group.offsets)
            out[part.rows] = ids.reshape(-1, stored.n_expert_used)
        return out

    def floats(self, name: str) -> Array:
        """[rows, width] f4; NaN where a graph did not capture the column."""
        width = self._layout.width(name)
        out = np.empty((self.n_rows(), width), np.float32)
        for part in self._parts():
            stored = part.group.shape.layout.blocks[part.number]
            there = name in stored.float_columns and stored.width(name) == width
            out[part.rows] = part.read(name).reshape(-1, width) if there else np.nan
        return out

    def token_index(self) -> Array:
        """[rows] i8, among all tokens of the trace; -1 unknown."""
        out = np.empty(self.n_rows(), np.int64)
        n_tokens = self._index.by_shape(lambda shape: shape.n_tokens)
        first_token = np.cumsum(n_tokens) - n_tokens
        for part in self._parts():
            shape = part.group.shape
            local = np.arange(shape.n_rows[part.number])[None]
            if shape.listed[part.number]:
                local = part.read("row_token")
                check_row_tokens(local, shape.n_tokens, part.group.file.path, part.group.offsets)
            out[part.rows] = np.where(local < 0, -1, first_token[part.group.numbers, None] + local).ravel()
        return out

    def _rows_by_frame(self) -> Array:
        key = self._layout.layer, self._layout.block
        return self._index.by_shape(lambda s: int(s.n_rows[s.layout.number[key]]) if key in s.layout.number else 0)

    def _parts(self) -> Iterator[_Rows]:
        """All of the block's rows, some frames at a time."""
        n_rows = self._rows_by_frame()
        first_row = np.cumsum(n_rows) - n_rows
        for group in self._index.groups():
            number = group.shape.layout.number.get((self._layout.layer, self._layout.block))
            if number is not None and group.shape.n_rows[number] > 0:
                within = np.arange(group.shape.n_rows[number])
                yield _Rows(group, number, (first_row[group.numbers, None] + within).ravel())


def check_ids(ids: Array, layout: BlockLayout, path: str, offsets: Array) -> None:
    """ids: [n_frames, …], the frames at these offsets. Raises TraceError where one is none of the layer's."""
    wrong = ids >= layout.n_expert
    if wrong.any():
        raise damaged("an expert id that the layer does not have", path, _first(wrong, offsets))


def check_row_tokens(row_token: Array, n_tokens: int, path: str, offsets: Array) -> None:
    """The same for rows of tokens that their frame does not have."""
    wrong = (row_token < -1) | (row_token >= n_tokens)
    if wrong.any():
        raise damaged("a row of a token that the frame does not have", path, _first(wrong, offsets))


def _first(wrong: Array, offsets: Array) -> int:
    """Where the first frame lies in which something is wrong."""
    return int(offsets[wrong.reshape(len(offsets), -1).any(axis=1)][0])
