"""All rows of one MoE block over a trace."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

from ._cache import ArrayCache
from ._gather import BlockGatherer
from ._index import FrameIndex
from ._layout import BlockLayout
from ._tables import Table
from ._types import Columns
from .rows import RowColumns


class Block(RowColumns, Table):
    """All rows of one MoE block, in the order in which they ran.

    Each array is gathered from the whole trace when it is asked for, and kept while the trace's cache has room. Rows of
    graphs that did not capture a column are NaN in it.

    to_pandas() and its like give one row for each selection: token_index, sequence, position, phase, token, text,
    layer, block, rank, expert, and weight, weight_raw and norm where captured.
    """

    def __init__(
        self,
        layout: BlockLayout,
        columns: int,
        index: FrameIndex,
        cache: ArrayCache,
        selections: Callable[[Block], Columns],
    ) -> None:
        super().__init__(layout, columns)
        self._gatherer, self._cache, self._selections = BlockGatherer(layout, index), cache, selections

    def __len__(self) -> int:
        """Rows."""
        return self._gatherer.n_rows()

    def __repr__(self) -> str:
        name = f"layer {self.layer}" + (f", block {self.block}" if self.block else "")
        return f"<moescope.Block {name}: top-{self.n_expert_used} of {self.n_expert}; {', '.join(self.columns)}>"

    @property
    def token_index(self) -> NDArray[np.int64]:
        """[rows] int64: index of each row's token into the arrays of trace.tokens; -1 where it is not known.

        In most models the last layer computes fewer rows than there are tokens.
        """
        return self._cache.get((self.layer, self.block, "token_index"), self._gatherer.token_index)

    def _read(self, name: str) -> NDArray[Any]:
        gather = self._gatherer.ids if name == "ids" else lambda: self._gatherer.floats(name)
        return self._cache.get((self.layer, self.block, name), gather)

    def _table(self) -> Columns:
        return self._selections(self)
