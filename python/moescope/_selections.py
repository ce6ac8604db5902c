"""Selections as a table: one row for each expert that a row selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import numpy as np

from ._types import Array, Columns, Texts
from .tokens import Tokens, phase_names

if TYPE_CHECKING:
    from .block import Block

#: Columns with k values a row, as the table names them.
_VALUES = {"weights": "weight", "weights_raw": "weight_raw", "norms": "norm"}


def selections(block: Block, tokens: Tokens, texts: Texts) -> Columns:
    """[rows * k] each, in the order of the rows, then of the ranks. -1 and None: unknown."""
    k = block.n_expert_used
    of_rows = _of_tokens(block.token_index, tokens, texts)
    table = {name: np.repeat(values, k) for name, values in of_rows.items()}
    n = len(block.token_index) * k
    table["layer"] = np.full(n, block.layer, np.int32)
    table["block"] = np.full(n, block.block, np.int32)
    table["rank"] = np.tile(np.arange(k, dtype=np.int32), len(block.token_index))
    table["expert"] = block.ids.astype(np.int32).ravel()
    table.update({name: getattr(block, column).ravel() for column, name in _VALUES.items() if column in block.columns})
    return table


def joined(tables: list[Columns]) -> Columns:
    """One below the other; NaN where a table lacks a column that another has."""
    names = list(dict.fromkeys(name for t in tables for name in t))
    absent = [np.full(len(t["expert"]), np.nan, np.float32) for t in tables]
    return {name: np.concatenate([t.get(name, nan) for t, nan in zip(tables, absent)]) for name in names}


def _of_tokens(token_index: Array, tokens: Tokens, texts: Texts) -> Columns:
    """[rows] each: what is known of the rows' tokens."""

    def take(values: Array, unknown: Optional[int] = -1) -> Array:
        return np.concatenate([values, np.array([unknown], values.dtype)])[token_index]  # index -1 is the last

    token = take(tokens.token)
    return {
        "token_index": token_index,
        "sequence": take(tokens.sequence),
        "position": take(tokens.position),
        "phase": take(phase_names(tokens.phase), None),
        "token": token,
        "text": texts(token),
        "taken_back": take(tokens.taken_back, False),
    }
