"""Reads values out of a chunk's payload, every length checked."""

from __future__ import annotations

import os
import re
import struct
from typing import Any

from .errors import TraceError, damaged


def padded(size: int, alignment: int) -> int:
    """The next multiple of alignment."""
    return -(-size // alignment) * alignment


class Decoder:
    """Takes values from the front of `data`, which lies at byte `origin` of the file `path`."""

    def __init__(self, data: bytes, path: str, origin: int) -> None:
        self._data, self._path, self._origin = data, path, origin
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at == len(self._data)

    def fail(self, reason: str) -> TraceError:
        """The error to raise about the place that was reached."""
        return damaged(reason, self._path, self._origin + self._at)

    def take(self, n: int) -> bytes:
        if n > len(self._data) - self._at:
            raise self.fail("a record is longer than its chunk")
        self._at += n
        return self._data[self._at - n : self._at]

    def unpack(self, fields: struct.Struct) -> tuple[Any, ...]:
        return fields.unpack(self.take(fields.size))

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def i32(self) -> int:
        return int.from_bytes(self.take(4), "little", signed=True)

    def text(self) -> bytes:
        """`length:u32 bytes padding-to-4`."""
        text = self.take(self.u32())
        self.take(padded(self._at, 4) - self._at)
        return text

    def pairs(self) -> Pairs:
        pairs = []
        while not self.done:
            key = self.text()
            pairs.append((key, self.text()))
        return Pairs(pairs)


class Pairs:
    """Keys and values of a chunk; the first of a key counts."""

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, bytes] = {}
        for key, value in pairs:
            self._values.setdefault(key, value)

    def text(self, key: str) -> str:
        """Empty where the key is missing."""
        return self._values.get(key.encode(), b"").decode(errors="replace")

    def number(self, key: str) -> int:
        """0 where it is missing or no number: unknown."""
        digits = re.match(rb"-?[0-9]{1,20}(?![0-9])", self._values.get(key.encode(), b""))
        return int(digits.group()) if digits else 0

    def file_name(self, key: str) -> str:
        """Empty where the key is missing; without folder."""
        return os.path.basename(os.fsdecode(self._values.get(key.encode(), b"")))

    def with_prefix(self, prefix: str) -> dict[str, str]:
        """The values of all keys that begin so, by the rest of the key."""
        start = prefix.encode()
        found = {k[len(start) :]: v for k, v in self._values.items() if k.startswith(start)}
        return {k.decode(errors="replace"): v.decode(errors="replace") for k, v in found.items()}
