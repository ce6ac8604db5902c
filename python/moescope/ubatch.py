"""A trace ubatch by ubatch: what the model computed at once."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from ._frames import HEADER, FrameShape
from ._gather import check_ids, check_row_tokens
from ._index import Frame
from ._records import AccessList
from ._types import Array
from .rows import RowColumns


class UbatchBlock(RowColumns):
    """The rows of one MoE block in one ubatch. f32 columns and ids are views of the file, nothing is copied."""

    def __init__(self, frame: Frame, number: int) -> None:
        layout = frame.shape.layout.blocks[number]
        super().__init__(layout, layout.columns)
        self._frame, self._number = frame, number

    def __len__(self) -> int:
        """Rows."""
        return int(self._frame.shape.n_rows[self._number])

    def __repr__(self) -> str:
        return f"<moescope.UbatchBlock layer {self.layer}: {len(self)} rows>"

    @property
    def row_token(self) -> NDArray[np.int32]:
        """[rows] int32: index of each row's token into the arrays of the ubatch; -1 where it is not known."""
        if not self._frame.shape.listed[self._number]:
            return np.arange(len(self), dtype=np.int32)
        tokens = self._view("row_token")[:, 0]
        check_row_tokens(tokens, self._frame.shape.n_tokens, self._frame.file.path, np.array([self._frame.offset]))
        return tokens

    def _read(self, name: str) -> NDArray[Any]:
        values = self._view(name)
        if name == "ids":
            check_ids(values, self._layout, self._frame.file.path, np.array([self._frame.offset]))
            return values
        return values.astype(np.float32, copy=False)

    def _view(self, name: str) -> Array:
        place = self._frame.shape.place(self._number, name)
        return self._frame.file.view(self._frame.offset + place.offset, (len(self), place.width), place.dtype)


class Ubatch:
    """One ubatch. Its arrays are views of the file, read-only."""

    number: int  #: in the trace, from 0
    time_ns: int  #: since the trace began
    batch: int  #: number of the llama_decode call
    access: Optional[AccessList]  #: the weights that its graph reads; None where they were not recorded

    def __init__(self, number: int, frame: Frame) -> None:
        head = frame.file.view(frame.offset, (1,), HEADER)[0]
        self.number, self.time_ns, self.batch = number, int(head["time_ns"]), int(head["batch"])
        self.access = frame.access_lists[head["access"] - 1] if head["access"] else None
        self._frame = frame

    def __len__(self) -> int:
        """Tokens."""
        return self._shape.n_tokens

    def __repr__(self) -> str:
        return f"<moescope.Ubatch {self.number}: {len(self)} tokens>"

    @cached_property
    def blocks(self) -> tuple[UbatchBlock, ...]:
        """Its MoE blocks, in the order in which they are computed."""
        return tuple(UbatchBlock(self._frame, i) for i in range(len(self._shape.layout.blocks)))

    @cached_property
    def layers(self) -> dict[int, UbatchBlock]:
        """Layer -> its block 0."""
        return {b.layer: b for b in self.blocks if b.block == 0}

    def block(self, layer: int, block: int = 0) -> UbatchBlock:
        """One MoE block; block 1 is the second of a layer (GroveMoE). KeyError where there is none."""
        return UbatchBlock(self._frame, self._shape.layout.number[layer, block])

    @property
    def token(self) -> NDArray[np.int32]:
        """[tokens] int32: token ids, -1 unknown."""
        return self._tokens(0, "<i4")

    @property
    def position(self) -> NDArray[np.int32]:
        """[tokens] int32: in the sequence, -1 unknown."""
        return self._tokens(1, "<i4")

    @property
    def sequence(self) -> NDArray[np.int32]:
        """[tokens] int32: sequence ids, -1 unknown."""
        return self._tokens(2, "<i4")

    @property
    def phase(self) -> NDArray[np.uint8]:
        """[tokens] uint8: 0 prefill, 1 decode."""
        return self._tokens(3, "u1")

    @property
    def _shape(self) -> FrameShape:
        return self._frame.shape

    def _tokens(self, column: int, dtype: str) -> Array:
        n = self._shape.n_tokens
        return self._frame.file.view(self._frame.offset + HEADER.itemsize + 4 * n * column, (n,), dtype)
