"""What is stored of a row, and where in a frame it lies."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ._decode import Decoder, padded
from ._types import Array, DType

#: Columns of floats by bit, in the order in which they are stored behind the ids (bit 0).
FLOAT_COLUMNS = {
    1 << 1: "weights",
    1 << 2: "weights_raw",
    1 << 3: "logits",
    1 << 4: "probs",
    1 << 5: "selection",
    1 << 6: "norms",
    1 << 7: "gate_input",
    1 << 9: "gram",
    1 << 10: "runner_up",
    1 << 11: "peaks",
}
_IDS, _ACCESS = 1 << 0, 1 << 8
_ALL = _IDS | _ACCESS | sum(FLOAT_COLUMNS)

_RECORD = struct.Struct("<iiIIIIIfII")
_MOST_BLOCKS, _MOST_WIDTH = 1 << 16, 1 << 24  # more than any model has; a hostile file must not ask for all memory


@dataclass(frozen=True)
class BlockLayout:
    """One MoE block of a graph, as its rows are stored."""

    layer: int
    block: int  #: 0; 1 for the second block of a layer (GroveMoE)
    n_expert: int
    n_expert_used: int  #: k, experts that a row selects
    n_embd: int  #: width of the gate input
    flags: int  #: bits, see docs/trace-format.md
    columns: int  #: bits
    weight_sum: float  #: what a row's weights add up to where the model normalises them, else 0
    value_bytes: int  #: 4: floats are f32; 2: f16

    @property
    def id_dtype(self) -> DType:
        """The narrowest unsigned integers that hold n_expert - 1."""
        return np.dtype("u1" if self.n_expert <= 1 << 8 else "<u2" if self.n_expert <= 1 << 16 else "<u4")

    @property
    def value_dtype(self) -> DType:
        return np.dtype("<f4" if self.value_bytes == 4 else "<f2")

    @property
    def float_columns(self) -> list[str]:
        return [name for bit, name in FLOAT_COLUMNS.items() if self.columns & bit]

    @property
    def n_gram(self) -> int:
        """Vectors whose dot products are in the column gram."""
        return self.n_expert_used + (3 if self.columns & 1 << 10 else 2)

    def width(self, column: str) -> int:
        """Values per row: k, n_expert, n_embd, …"""
        if column in ("logits", "probs", "selection"):
            return self.n_expert
        if column == "gram":
            return self.n_gram**2
        if column == "runner_up":
            return 2
        return self.n_embd if column == "gate_input" else self.n_expert_used


class Place(NamedTuple):
    """Where a column of a block lies in a frame."""

    offset: int  # from the frame's begin
    dtype: DType
    width: int  # values per row


class GraphLayout:
    """The MoE blocks of one graph, in execution order."""

    blocks: tuple[BlockLayout, ...]
    number: dict[tuple[int, int], int]  #: (layer, block) -> its place in blocks

    def __init__(self, blocks: tuple[BlockLayout, ...]) -> None:
        self.blocks = blocks
        self.number = {(b.layer, b.block): i for i, b in enumerate(blocks)}
        widths = [[b.width(c) for c in b.float_columns] for b in blocks]
        self._id_bytes = np.array([b.n_expert_used * b.id_dtype.itemsize for b in blocks], np.int64)
        self._value_bytes = np.array([b.value_bytes * sum(w) for b, w in zip(blocks, widths)], np.int64)
        # A column of f16 is padded where it has an odd number of values: an odd width and an odd number of rows.
        self._odd_halves = np.array(
            [sum(x % 2 for x in w) * (b.value_bytes == 2) for b, w in zip(blocks, widths)], np.int64
        )

    def block_bytes(self, n_rows: Array) -> Array:
        """[n_blocks] bytes of each block that holds so many rows, without its list of tokens."""
        ids = (n_rows * self._id_bytes + 3) // 4 * 4
        return ids + n_rows * self._value_bytes + 2 * (n_rows % 2) * self._odd_halves


def column_offset(b: BlockLayout, column: str, n_rows: int) -> int:
    """Bytes from a block's ids to the column."""
    if column == "ids":
        return 0
    offset = padded(n_rows * b.n_expert_used * b.id_dtype.itemsize, 4)
    for name in b.float_columns:
        if name == column:
            return offset
        offset += padded(n_rows * b.width(name) * b.value_bytes, 4)
    raise KeyError(column)


def read_layout(d: Decoder) -> tuple[BlockLayout, ...]:
    """Of a layout chunk."""
    n = d.u32()
    if n > _MOST_BLOCKS:
        raise d.fail(f"a layout of {n} blocks")
    blocks = tuple(_read_block(d) for _ in range(n))
    if len({(b.layer, b.block) for b in blocks}) < n:
        raise d.fail("a layout that has a block twice")
    return blocks


def _read_block(d: Decoder) -> BlockLayout:
    b = BlockLayout(*d.unpack(_RECORD)[:-1])
    if not 0 < b.n_expert <= _MOST_WIDTH or not 0 < b.n_expert_used <= _MOST_WIDTH or b.n_embd > _MOST_WIDTH:
        raise d.fail("an impossible layout")
    if b.value_bytes not in (2, 4):
        raise d.fail("an impossible layout")
    if b.columns & ~_ALL or not b.columns & _IDS:
        raise d.fail("a layout with columns that this package does not know")  # their width, too, is unknown
    return b
