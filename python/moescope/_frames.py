"""Where the frames (ubatches) of a trace lie, and how they are laid out.

An index holds 12 bytes for each frame. Frames that follow each other with the same size, layout and numbers of rows, as
those of tokens that are decoded one by one, are found many at a time.
"""

from __future__ import annotations

import struct
from array import array
from functools import partial
from typing import NamedTuple

import numpy as np

from ._chunks import Chunk
from ._decode import padded
from ._layout import GraphLayout, Place, column_offset
from ._mapped import MappedFile
from ._types import Array
from .errors import damaged

HEADER = np.dtype(
    [
        ("size", "<u4"),
        ("layout", "<u4"),
        ("time_ns", "<u8"),
        ("batch", "<u4"),
        ("access", "<u4"),
        ("n_tokens", "<u4"),
        ("n_blocks", "<u4"),
    ]
)
_HEADER = struct.Struct("<IIQIIII")
_DECODE = 1  # the last of the phases
_ROWS_MASK, _ROWS_HAVE_TOKENS = (1 << 30) - 1, 1 << 30


class FrameShape:
    """How frames of one layout, number of tokens and numbers of rows are laid out. Offsets count from a frame's begin."""

    n_rows: Array  #: [n_blocks] i8
    listed: Array  #: [n_blocks] bool: a list says which token each row is of; else row i is of token i
    starts: Array  #: [n_blocks] i8, offsets

    def __init__(self, layout: GraphLayout, size: int, n_tokens: int, rows: Array) -> None:
        """Raises ValueError where such a frame cannot be."""
        self.layout, self.size, self.n_tokens = layout, size, n_tokens
        if (rows & ~np.uint32(_ROWS_MASK | _ROWS_HAVE_TOKENS)).any():
            raise ValueError("a block of rows that this package does not know")
        self.n_rows = (rows & _ROWS_MASK).astype(np.int64)
        self.listed = rows > _ROWS_MASK
        if (self.n_rows > n_tokens)[~self.listed].any():
            raise ValueError("more rows than tokens")
        bytes_ = layout.block_bytes(self.n_rows) + 4 * self.n_rows * self.listed
        ends = rows_begin(n_tokens) + 4 * len(rows) + np.cumsum(np.minimum(bytes_, size + 1))  # no sum overflows
        end = int(ends[-1]) if len(rows) else rows_begin(n_tokens)
        if end > size:
            raise ValueError("a record is longer than its chunk")
        if size - end >= 8:
            raise ValueError("a frame that is longer than its rows")
        self.starts = ends - bytes_

    def place(self, number: int, column: str) -> Place:
        """Of a column of the block of this number. KeyError where it is not stored."""
        b, start, n_rows = self.layout.blocks[number], int(self.starts[number]), int(self.n_rows[number])
        if column == "row_token":
            return Place(start, np.dtype("<i4"), 1)
        start += 4 * n_rows * int(self.listed[number])
        dtype = b.id_dtype if column == "ids" else b.value_dtype
        return Place(start + column_offset(b, column, n_rows), dtype, b.width(column))


def rows_begin(n_tokens: int) -> int:
    """Where the numbers of rows lie: behind the header, and token, pos, seq and phase of each token."""
    return phases_begin(n_tokens) + padded(n_tokens, 4)


def phases_begin(n_tokens: int) -> int:
    return _HEADER.size + 12 * n_tokens


class RowsSource(NamedTuple):
    """A chunk of frames, and what its frames may refer to."""

    file: MappedFile
    chunk: Chunk
    layouts: list[GraphLayout]  # by their number in the file; those that come before the chunk
    n_access: int  # access lists of the file


class FrameScanner:
    """Finds the frames of rows chunks. Its arrays grow with each chunk that is scanned."""

    offsets: array[int]  #: of each frame, in its file
    shape_numbers: array[int]  #: of each frame
    shapes: list[FrameShape]  #: that occur, by number

    def __init__(self) -> None:
        self.offsets, self.shape_numbers = array("Q"), array("I")
        self.shapes = []
        self._numbers: dict[tuple[int, int, int, bytes], int] = {}
        self._last, self._repeats = -1, 0  # shape of the last frame, and how many before it had the same

    def scan(self, source: RowsSource) -> None:
        """Frames before one that makes no sense are kept; then TraceError is raised."""
        at, end = source.chunk.offset, source.chunk.offset + source.chunk.size
        while at < end:
            number = self._read_head(source, at)
            size = self.shapes[number].size
            self._repeats = self._repeats + 1 if number == self._last else 0
            self._last = number
            alike = 1
            if self._repeats >= 4:  # the search for more costs as much as some frames
                alike = self._count_alike(source, at, (end - at) // size, self.shapes[number])
            self.offsets.extend(range(at, at + alike * size, size))
            self.shape_numbers.extend([number] * alike)
            at += alike * size

    def _read_head(self, source: RowsSource, at: int) -> int:
        """Checks the frame and returns the number of its shape."""
        fail = partial(damaged, path=source.file.path, offset=at)
        left = source.chunk.offset + source.chunk.size - at
        if left < _HEADER.size:
            raise fail("a record is longer than its chunk")
        size, layout, _, _, access, n_tokens, n_blocks = _HEADER.unpack(source.file.copy(at, _HEADER.size))
        if size < _HEADER.size or size % 8 or size > left or layout >= len(source.layouts) or access > source.n_access:
            raise fail("an impossible frame")
        graph = source.layouts[layout]
        if n_blocks != len(graph.blocks):
            raise fail(f"a frame of {n_blocks} blocks where the layout has {len(graph.blocks)}")
        if rows_begin(n_tokens) + 4 * n_blocks > size:
            raise fail("a record is longer than its chunk")
        if max(source.file.copy(at + phases_begin(n_tokens), n_tokens), default=0) > _DECODE:
            raise fail("a token of an unknown phase")
        try:
            return self._number(graph, size, n_tokens, source.file.copy(at + rows_begin(n_tokens), 4 * n_blocks))
        except ValueError as e:
            raise fail(str(e)) from None

    def _number(self, layout: GraphLayout, size: int, n_tokens: int, rows: bytes) -> int:
        """Of a shape, which is new or not."""
        key = (id(layout), size, n_tokens, rows)
        number = self._numbers.get(key)
        if number is None:
            self.shapes.append(FrameShape(layout, size, n_tokens, np.frombuffer(rows, "<u4")))
            number = self._numbers[key] = len(self.shapes) - 1
        return number

    def _count_alike(self, source: RowsSource, at: int, limit: int, shape: FrameShape) -> int:
        """How many frames from here on have the shape of the first; `limit` of its size fit into the chunk."""
        size_and_layout, access, n_tokens_and_n_blocks = (
            source.file.view(at + field, (limit,), dtype, (shape.size,))
            for field, dtype in ((0, "<u8"), (20, "<u4"), (24, "<u8"))
        )
        rows_at = at + rows_begin(shape.n_tokens)
        rows = source.file.view(rows_at, (limit, len(shape.n_rows)), "<u4", (shape.size, 4))
        phases = source.file.view(at + phases_begin(shape.n_tokens), (limit, shape.n_tokens), "u1", (shape.size, 1))
        n, more = 0, 64
        while n < limit:
            looked = slice(n, min(n + more, limit))
            alike = (rows[looked] == rows[0]).all(axis=1) & (phases[looked] <= _DECODE).all(axis=1)
            for field in (size_and_layout, access, n_tokens_and_n_blocks):
                alike &= field[looked] == field[0]
            if not alike.all():
                self._repeats = 0
                return n + int(np.argmin(alike))
            n, more = looked.stop, 2 * more
        return n
