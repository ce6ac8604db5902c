"""The rows of MoE blocks as arrays: what `trace.layers[3]` and the blocks of a ubatch offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._layout import FLOAT_COLUMNS, BlockLayout


class RowColumns(ABC):
    """Rows of one MoE block: row r of every column belongs to the same token.

    A column that was not captured raises AttributeError; `columns` names those that were. Arrays are read-only.
    """

    def __init__(self, layout: BlockLayout, columns: int) -> None:
        """columns: bits, of the layout's own or of others of the same block besides."""
        self._layout, self._columns = layout, columns

    @property
    def layer(self) -> int:
        return self._layout.layer

    @property
    def block(self) -> int:
        """0; 1 for the second block of a layer (GroveMoE)."""
        return self._layout.block

    @property
    def n_expert(self) -> int:
        """Experts of the block."""
        return self._layout.n_expert

    @property
    def n_expert_used(self) -> int:
        """k, experts that a row selects."""
        return self._layout.n_expert_used

    @property
    def n_embd(self) -> int:
        """Width of the gate input."""
        return self._layout.n_embd

    @property
    def weight_sum(self) -> float:
        """What a row's weights add up to where the model normalises them, else 0."""
        return self._layout.weight_sum

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what was captured, ids first."""
        return ("ids",) + tuple(name for bit, name in FLOAT_COLUMNS.items() if self._columns & bit)

    @property
    def mtp(self) -> bool:
        """It belongs to a multi-token-prediction layer, behind the model's own."""
        return bool(self._layout.flags & 1)

    @property
    def ids_repeat(self) -> bool:
        """A row's ids need not be distinct (GroveMoE's second blocks)."""
        return bool(self._layout.flags & 2)

    @property
    def norms_gated(self) -> bool:
        """Norms already contain the gate weight (Llama 4)."""
        return bool(self._layout.flags & 4)

    @property
    def given_ids(self) -> bool:
        """Ids come from a table rather than from scores (hash routing)."""
        return bool(self._layout.flags & 8)

    @property
    def ids(self) -> NDArray[Any]:
        """[rows, k] uint8, uint16 or uint32: the selected experts, in the order in which the model selected them.

        The type is the narrowest that holds n_expert - 1: convert before doing arithmetic with ids.
        """
        return self._column("ids")

    @property
    def weights(self) -> NDArray[np.float32]:
        """[rows, k] float32: final gate weights, what multiplies the experts' outputs."""
        return self._column("weights")

    @property
    def weights_raw(self) -> NDArray[np.float32]:
        """[rows, k] float32: gate weights before normalisation, softmax over k, and scale."""
        return self._column("weights_raw")

    @property
    def logits(self) -> NDArray[np.float32]:
        """[rows, n_expert] float32: what the router put out, with its bias."""
        return self._column("logits")

    @property
    def probs(self) -> NDArray[np.float32]:
        """[rows, n_expert] float32: after softmax or sigmoid, without the selection bias."""
        return self._column("probs")

    @property
    def selection(self) -> NDArray[np.float32]:
        """[rows, n_expert] float32: the scores that top-k read, biased, masked by group (masked ones may be -inf)."""
        return self._column("selection")

    @property
    def norms(self) -> NDArray[np.float32]:
        """[rows, k] float32: Euclidean norm of each selected expert's output."""
        return self._column("norms")

    @property
    def gate_input(self) -> NDArray[np.float32]:
        """[rows, n_embd] float32: what the router read."""
        return self._column("gate_input")

    @property
    def gram(self) -> NDArray[np.float32]:
        """[rows, m * m] float32: dot products of m vectors. These are the k expert outputs, that of the runner-up where it
        is recorded, the residual stream in front of the block, and behind it. reshape(-1, m, m) makes matrices of it.
        """
        return self._column("gram")

    @property
    def runner_up(self) -> NDArray[np.float32]:
        """[rows, 2] float32: id of the expert that would be selected next, and its gate before normalisation."""
        return self._column("runner_up")

    @property
    def peaks(self) -> NDArray[np.float32]:
        """[rows, k] float32: the largest absolute element of each selected expert's output."""
        return self._column("peaks")

    def _column(self, name: str) -> NDArray[Any]:
        if name not in self.columns:
            option = name.replace("_", "-")
            have = ", ".join(self.columns)
            raise AttributeError(
                f"layer {self.layer} has no {name}: record it with --capture {option} (there are: {have})"
            )
        return self._read(name)

    @abstractmethod
    def _read(self, name: str) -> NDArray[Any]:
        ...
