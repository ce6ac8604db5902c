"""A recorded trace (`.moetrace`, docs/trace-format.md) as numpy arrays."""

from __future__ import annotations

import os
from typing import Iterator, Optional, Union

import numpy as np

from ._cache import ArrayCache
from ._index import FrameIndex
from ._layout import BlockLayout
from ._parts import TraceFiles
from ._records import AccessList, Counts, MemoryEvent, ModelInfo, TraceInfo
from ._selections import joined, selections
from ._tables import Table
from ._types import Array, Columns
from .block import Block
from .tokens import Tokens, read_tokens
from .ubatch import Ubatch


class Trace(Table):
    """What one stream of a program routed, over all files that the trace rolled over into.

    Opening reads the headers of the file's chunks and little else. Rows are found when somebody asks for them; their
    checksums are verified then, where the package xxhash is installed. Whatever is damaged raises TraceError.

    to_pandas() and its like give the selections of all blocks (see Block): k rows for each token and layer.
    """

    info: TraceInfo  #: where it comes from, and whether it is whole
    model: ModelInfo  #: that ran
    notes: list[str]  #: what a reader of the results must know
    access_lists: list[AccessList]  #: the weights that graphs read, where recorded with --capture access
    memory: list[MemoryEvent]  #: what the program did to its context's memory, in order
    layers: dict[int, Block]  #: layer -> its block 0, by layer

    def __init__(self, path: Union[str, os.PathLike[str]], cache_bytes: int = 256 << 20) -> None:
        self._files = TraceFiles(os.fspath(path))
        self._index = FrameIndex(self._files)
        self._cache = ArrayCache(cache_bytes)
        self._blocks: dict[tuple[int, int], Block] = {}
        self._tokens: Optional[Tokens] = None
        self._text: Optional[dict[int, str]] = None
        self._take_over()

    def __repr__(self) -> str:
        state = "ended" if self.info.ended else "not ended"
        return f"<moescope.Trace {self.info.path}: {self.model.architecture}, {len(self.layers)} MoE layers, {state}>"

    @property
    def counts(self) -> Optional[Counts]:
        """What a trace of --counts-only holds in place of rows; else None."""
        return self._files.counts if self.info.counts_only else None

    @property
    def blocks(self) -> list[Block]:
        """Every MoE block, by layer and block."""
        return list(self._blocks.values())

    def block(self, layer: int, block: int = 0) -> Block:
        """One MoE block; block 1 is the second of a layer (GroveMoE). KeyError where there is none."""
        return self._blocks[layer, block]

    @property
    def tokens(self) -> Tokens:
        """Every token of every ubatch. Gathered when first asked for, then kept: 30 bytes for each."""
        if self._tokens is None:
            self._tokens = read_tokens(self._index, self._texts, self._taken_back())
        return self._tokens

    @property
    def pieces(self) -> dict[int, bytes]:
        """Token id -> its text's bytes, of the tokens that occur. A token may hold a part of a character."""
        return self._files.pieces()

    @property
    def text(self) -> dict[int, str]:
        """Token id -> its text; bytes that are no UTF-8 become U+FFFD."""
        if self._text is None:
            self._text = {token: piece.decode(errors="replace") for token, piece in self.pieces.items()}
        return self._text

    def ubatches(self, start: int = 0) -> Iterator[Ubatch]:
        """The ubatches in the order in which they ran, from number `start` on. Hands out what lies before damage."""
        for number, frame in enumerate(self._index.frames(start), start):
            yield Ubatch(number, frame)

    def refresh(self) -> bool:
        """Looks for what a running program has written since, and returns whether there is anything.

        Arrays that were handed out stay as they are; ask for them again.
        """
        grown = self._files.refresh()
        if grown:
            self._cache.clear()
            self._tokens = self._text = None
            self._take_over()
        return grown

    def _take_over(self) -> None:
        """Makes a block for each that a layout names, with the columns of all of them."""
        f = self._files
        self.info, self.model, self.notes, self.access_lists = f.info, f.model, f.notes, f.access_lists
        self.memory = f.memory
        found: dict[tuple[int, int], tuple[BlockLayout, int]] = {}
        for layout in f.layouts:
            for b in layout.blocks:
                first, columns = found.get((b.layer, b.block), (b, 0))
                found[b.layer, b.block] = first, columns | b.columns
        self._blocks = {
            key: Block(layout, columns, self._index, self._cache, self._selections_of)
            for key, (layout, columns) in sorted(found.items(), key=lambda item: item[0])
        }
        self.layers = {layer: b for (layer, block), b in self._blocks.items() if block == 0}

    def _taken_back(self) -> Array:
        """[n, 2]: number of the ubatch, counted from the first that is here, and place in it."""
        places = [e.taken_back for e in self.memory]
        return np.concatenate([np.empty((0, 2), np.int64)] + places) - [self._files.first_ubatch, 0]

    def _texts(self, tokens: Array) -> Array:
        """Texts of token ids, as objects; None where unknown."""
        text = self.text
        ids, which = np.unique(tokens, return_inverse=True)
        return np.array([text.get(int(t)) for t in ids] + [None], object)[which]

    def _selections_of(self, block: Block) -> Columns:
        return selections(block, self.tokens, self._texts)

    def _table(self) -> Columns:
        return joined([self._selections_of(b) for b in self.blocks])


def open_trace(path: Union[str, os.PathLike[str]], *, cache_bytes: int = 256 << 20) -> Trace:
    """Opens a trace; parts that it rolled over into are read as one.

    Arrays that were gathered stay in memory up to `cache_bytes`. Raises TraceError where the file is not a trace or is
    damaged, OSError where it cannot be opened. A trace that was cut (its program was killed) reads up to its last whole
    chunk; `trace.info.lost_bytes` says what is missing.
    """
    return Trace(path, cache_bytes)
