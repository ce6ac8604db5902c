"""The files of a trace, which may have rolled over into further ones, and everything in them but the rows."""

from __future__ import annotations

import os
from typing import Iterator, NamedTuple, Optional

from . import _chunks
from ._chunks import Chunk, ChunkList
from ._layout import BlockLayout, GraphLayout, read_layout
from ._records import AccessList, Counts, MemoryEvent, ModelInfo, TraceInfo
from ._records import read_access, read_counts, read_memory, read_model, read_pieces
from .errors import TraceError, damaged


class RowsChunk(NamedTuple):
    """A chunk of frames."""

    chunk: Chunk
    n_layouts: int  # of its file that were known before it


class Part:
    """One file. Layouts and access lists are numbered anew in each."""

    def __init__(self, path: str) -> None:
        self.list = ChunkList(path)
        self.parsed = 0  # chunks
        self.layouts: list[GraphLayout] = []
        self.access: list[AccessList] = []
        self.rows: list[RowsChunk] = []
        self.next = ""  # the file in which the trace goes on

    @property
    def path(self) -> str:
        return self.list.file.path


class TraceFiles:
    """Follows a trace through its parts, and again after refresh()."""

    parts: list[Part]
    info: TraceInfo
    model: ModelInfo
    notes: list[str]
    layouts: list[GraphLayout]  #: every one of the trace, once
    access_lists: list[AccessList]  #: the same
    counts: Optional[Counts]  #: of a trace without rows
    memory: list[MemoryEvent]  #: in the order in which they happened
    first_ubatch: int  #: number of the first that is here: more than 0 where earlier parts are not

    def __init__(self, path: str) -> None:
        self.info, self.model, self.notes = TraceInfo(path), ModelInfo(), []
        self.layouts, self.access_lists, self.counts = [], [], None
        self.memory, self.first_ubatch = [], 0
        self._by_blocks: dict[tuple[BlockLayout, ...], GraphLayout] = {}
        self._pieces: dict[int, bytes] = {}
        self._unread_pieces: list[tuple[Part, Chunk]] = []
        self._part_number = 1  # of the latest part
        self.parts = [Part(path)]
        self.refresh()

    def refresh(self) -> bool:
        """Looks for what was appended; returns whether there is anything."""
        before = len(self.parts), self.info.bytes
        self._read_on(self.parts[-1])
        while self._open_following_part():
            self._read_on(self.parts[-1])
        self.info.n_parts = len(self.parts)
        self.info.bytes = sum(p.list.file.size for p in self.parts)
        return (len(self.parts), self.info.bytes) != before

    def pieces(self) -> dict[int, bytes]:
        """Token id -> the bytes of its text."""
        while self._unread_pieces:
            part, chunk = self._unread_pieces[0]
            self._pieces.update(read_pieces(part.list.decoder(chunk)))
            del self._unread_pieces[0]
        return self._pieces

    def _read_on(self, part: Part) -> None:
        part.list.walk()
        if part.list.damage:
            raise part.list.damage
        chunks = part.list.chunks
        self.info.lost_bytes, self.info.lost_offset = part.list.lost_bytes, part.list.lost_offset
        if not chunks:
            raise TraceError("the trace ends before its head: there is nothing to read", part.path)
        if chunks[0].kind != _chunks.HEAD:
            raise damaged("it does not begin with a head", part.path, chunks[0].offset)
        while part.parsed < len(chunks):
            self._read_chunk(part, chunks[part.parsed])
            part.parsed += 1

    def _read_chunk(self, part: Part, chunk: Chunk) -> None:
        """Rows and pieces are read when they are asked for; unknown kinds are of a newer moescope, and not needed."""
        kind = chunk.kind
        if kind == _chunks.ROWS:
            part.rows.append(RowsChunk(chunk, len(part.layouts)))
        elif kind == _chunks.PIECES:
            self._unread_pieces.append((part, chunk))
        elif kind == _chunks.HEAD:
            self._read_head(part, chunk)
        elif kind == _chunks.MODEL:
            self.model = read_model(part.list.decoder(chunk).pairs())
        elif kind == _chunks.LAYOUT:
            part.layouts.append(self._known(read_layout(part.list.decoder(chunk))))
        elif kind == _chunks.ACCESS:
            access = read_access(part.list.decoder(chunk))
            part.access.append(access)
            if access not in self.access_lists:
                self.access_lists.append(access)
        elif kind == _chunks.COUNTS:
            self.counts = read_counts(part.list.decoder(chunk), part.layouts)
        elif kind == _chunks.NOTE:
            self.notes.append(part.list.decoder(chunk).take(chunk.size).decode(errors="replace"))
        elif kind == _chunks.MEMORY:
            self.memory += read_memory(part.list.decoder(chunk))
        elif kind == _chunks.END:
            self._read_end(part, chunk)

    def _known(self, blocks: tuple[BlockLayout, ...]) -> GraphLayout:
        """The layout of these blocks: the same object each time, whatever part names it."""
        if blocks not in self._by_blocks:
            self._by_blocks[blocks] = GraphLayout(blocks)
            self.layouts.append(self._by_blocks[blocks])
        return self._by_blocks[blocks]

    def _read_head(self, part: Part, chunk: Chunk) -> None:
        pairs = part.list.decoder(chunk).pairs()
        self.info.read_head(pairs)
        self._part_number = max(1, pairs.number("part"))
        if len(self.parts) == 1 and self._part_number > 1:
            self.info.first_part = self._part_number
            self.first_ubatch = pairs.number("ubatches_before")
            self.notes.append(f"this is part {self._part_number} of a trace; the parts before it are not read")

    def _read_end(self, part: Part, chunk: Chunk) -> None:
        pairs = part.list.decoder(chunk).pairs()
        part.next = pairs.file_name("next")
        if not part.next:  # else only this part ends here
            self.info.read_end(pairs)

    def _open_following_part(self) -> bool:
        """A part that does not name the next one has lost its end: going on behind it would leave a hole."""
        named = self.parts[-1].next
        candidates = list(self._following_paths(named))
        self.info.unread_part = candidates[0] if named else ""
        for path in candidates:
            part = self._open_if_next(path)
            if part is None:
                continue
            if not named:
                used = any(c.kind in (_chunks.ROWS, _chunks.COUNTS) for c in part.list.chunks)
                self.info.unread_part = path if used else ""  # unused: it was created a moment ago
                return False
            self.info.unread_part = ""
            self.parts.append(part)
            return True
        return False

    def _following_paths(self, named: str) -> Iterator[str]:
        if named:
            yield os.path.join(os.path.dirname(self.info.path), named)
        suffix = ".moetrace"  # the files may have been renamed together
        stem = self.info.path[: -len(suffix)] if self.info.path.endswith(suffix) else self.info.path
        yield f"{stem}.part{len(self.parts) + 1}{self.info.path[len(stem):]}"

    def _open_if_next(self, path: str) -> Optional[Part]:
        """None: no such file, no trace, or a file of that name which belongs to another trace."""
        try:
            part = Part(path)
            part.list.walk()
            chunks = part.list.chunks
            if not chunks or chunks[0].kind != _chunks.HEAD:
                return None
            head = part.list.decoder(chunks[0]).pairs()
        except (OSError, TraceError):
            return None
        joins = head.number("trace_id") == self.info.trace_id and head.number("part") == self._part_number + 1
        return part if joins else None
