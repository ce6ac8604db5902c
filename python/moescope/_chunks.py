"""The chunks of one file, found by walking from header to header (docs/trace-format.md)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ._checksum import header_hash, payload_hash
from ._decode import Decoder, padded
from ._mapped import MappedFile
from .errors import TraceError, damaged

HEAD, MODEL, LAYOUT, PIECES, ACCESS, ROWS, COUNTS, NOTE, END, MEMORY = range(1, 11)

_FILE_HEADER = struct.Struct("<8sII")  # magic, version, zero
_HEADER = struct.Struct("<4sIQQQ")  # magic, kind, size, hash, head_hash
_VERSION = 2  # the newest that is known


class Chunk(NamedTuple):
    """Where the payload of a whole chunk lies."""

    kind: int
    offset: int
    size: int
    hash: int


class ChunkList:
    """Walks over the headers alone: a file of 2 GB has some thousand."""

    chunks: list[Chunk]  #: those that are whole; what is in them has not been checked
    lost_offset: int  #: of the first byte behind the last whole chunk, where the file ends inside another; else 0
    lost_bytes: int  #: from there on
    damage: TraceError | None  #: of a header; nothing is known of what comes behind it

    def __init__(self, path: str) -> None:
        self.file = MappedFile(path)
        self.chunks = []
        self.lost_offset = self.lost_bytes = 0
        self.damage = None
        self._check_file_header()
        self._next = _FILE_HEADER.size

    def _check_file_header(self) -> None:
        start = self.file.read(0, _FILE_HEADER.size)
        magic, version, _ = _FILE_HEADER.unpack(start) if len(start) == _FILE_HEADER.size else (b"", 0, 0)
        if magic != b"MOETRACE":
            raise TraceError("not a moescope trace" if start else "the file is empty", self.file.path)
        if not 1 <= version <= _VERSION:
            reason = (
                f"trace format version {version} is not known to this package, which reads versions up to {_VERSION}"
            )
            raise TraceError(reason, self.file.path, advice="use a newer moescope")

    def walk(self) -> None:
        """Finds the chunks that were appended since, up to one that is not whole or has a damaged header."""
        self.file.refresh()
        self.lost_offset, self.lost_bytes, self.damage = 0, 0, None
        while self._next < self.file.size:
            left = self.file.size - self._next
            header = self.file.read(self._next, _HEADER.size) if left >= _HEADER.size else b""
            if len(header) < _HEADER.size:
                break
            magic, kind, size, content_hash, own_hash = _HEADER.unpack(header)
            if magic != b"CHNK" or own_hash != header_hash(header[:-8]):
                self.damage = damaged("a chunk's header is damaged", self.file.path, self._next)
                break
            end = _HEADER.size + padded(size, 8)
            if end > left:
                break
            self.chunks.append(Chunk(kind, self._next + _HEADER.size, size, content_hash))
            self._next += end
        if self._next < self.file.size:
            self.lost_offset, self.lost_bytes = self._next, self.file.size - self._next

    def check(self, chunk: Chunk) -> None:
        """Raises TraceError unless the payload is what was written, as far as that can be told here."""
        if payload_hash is not None and payload_hash(self.file.view(chunk.offset, (chunk.size,), "u1")) != chunk.hash:
            raise damaged("a chunk's checksum does not match", self.file.path, chunk.offset)

    def decoder(self, chunk: Chunk) -> Decoder:
        """Of a payload that is checked first."""
        self.check(chunk)
        return Decoder(self.file.read(chunk.offset, chunk.size), self.file.path, chunk.offset)
