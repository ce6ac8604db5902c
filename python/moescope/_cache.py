"""Keeps arrays that were gathered."""

from __future__ import annotations

from typing import Callable, Hashable


from ._types import Array


class ArrayCache:
    """Keeps the arrays that were asked for last, up to a number of bytes; the latest in any case."""

    def __init__(self, n_bytes: int) -> None:
        self._limit = n_bytes
        self._arrays: dict[Hashable, Array] = {}  # the latest last

    def get(self, key: Hashable, make: Callable[[], Array]) -> Array:
        array = self._arrays.pop(key, None)
        if array is None:
            array = make()
            array.flags.writeable = False  # whoever asks gets the same one
        self._arrays[key] = array
        while len(self._arrays) > 1 and sum(a.nbytes for a in self._arrays.values()) > self._limit:
            del self._arrays[next(iter(self._arrays))]
        return array

    def clear(self) -> None:
        self._arrays.clear()
