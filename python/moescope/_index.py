"""Which frames a trace has, over all its parts, and values gathered from them."""

from __future__ import annotations

from bisect import bisect_right
from typing import Callable, Iterator, NamedTuple, Optional

import numpy as np

from ._frames import FrameScanner, FrameShape, RowsSource
from ._mapped import MappedFile, Sweep
from ._parts import TraceFiles
from ._records import AccessList
from ._types import Array
from .errors import TraceError

_WINDOW = 16 << 20  # bytes of the file that are looked at before what was passed is released


class Frame(NamedTuple):
    """One frame."""

    file: MappedFile
    offset: int  # in the file
    shape: FrameShape
    access_lists: list[AccessList]  # as its file numbers them, from 1


class FrameGroup(NamedTuple):
    """Frames of one shape that lie near each other in one file, in order."""

    file: MappedFile
    numbers: Array  # [n_frames] i8, among all frames of the trace
    offsets: Array  # [n_frames] i8, in the file
    shape: FrameShape

    def read(self, offset: int, n_bytes: int) -> Array:
        """[n_frames, n_bytes] u1: a copy of what lies at this offset (a multiple of 4) in each frame."""
        # One row for each multiple of 4 in the file: taking rows copies stretches, without an index for every byte.
        n_places = (self.file.size - n_bytes) // 4 + 1
        return self.file.view(0, (n_places, n_bytes), "u1", (4, 1))[(self.offsets + offset) // 4]


class FrameIndex:
    """The frames of a trace in the order in which they ran. Found when somebody asks; goes on after a refresh."""

    def __init__(self, files: TraceFiles) -> None:
        self._files = files
        self._found = FrameScanner()
        self._begins = [0]  # first frame of each part that is scanned; the last is being scanned
        self._next_chunk = 0  # of the last of these parts
        self._sweep = Sweep(files.parts[0].list.file)
        self._damage: Optional[TraceError] = None

    def complete(self) -> None:
        """Scans whatever is not yet. Raises TraceError where the trace is damaged."""
        while self._scan_next_chunk():
            pass

    def by_shape(self, value: Callable[[FrameShape], int]) -> Array:
        """[n_frames] i8: what follows from the shape of each frame that was scanned."""
        values = np.array([value(shape) for shape in self._found.shapes], np.int64)
        return values[np.array(self._found.shape_numbers)]

    def frames(self, start: int) -> Iterator[Frame]:
        """From this number on. Scans as it goes, so that what lies before damage is handed out."""
        n, sweep = start, None
        while n < len(self._found.offsets) or self._scan_next_chunk():
            if n < len(self._found.offsets):
                part = self._files.parts[bisect_right(self._begins, n) - 1]
                sweep = sweep if sweep and sweep.file is part.list.file else Sweep(part.list.file)
                sweep.passed(self._found.offsets[n])
                shape = self._found.shapes[self._found.shape_numbers[n]]
                yield Frame(part.list.file, self._found.offsets[n], shape, part.access)
                n += 1

    def groups(self) -> Iterator[FrameGroup]:
        """All frames once, window after window of each file. What was passed does not stay in memory."""
        offsets = np.array(self._found.offsets).astype(np.int64)
        for part, begin, end in zip(self._files.parts, self._begins, self._begins[1:] + [len(offsets)]):
            while begin < end:
                behind = begin + int(np.searchsorted(offsets[begin:end], offsets[begin] + _WINDOW))
                yield from self._groups_of(part.list.file, offsets, begin, behind)
                part.list.file.release(int(offsets[begin]), int(offsets[behind - 1]))
                begin = behind

    def _groups_of(self, file: MappedFile, offsets: Array, begin: int, end: int) -> Iterator[FrameGroup]:
        numbers = np.array(self._found.shape_numbers[begin:end])
        for number in np.unique(numbers):
            chosen = begin + np.flatnonzero(numbers == number)
            yield FrameGroup(file, chosen, offsets[chosen], self._found.shapes[number])

    def _scan_next_chunk(self) -> bool:
        """False at the end of what there is."""
        if self._damage:
            raise self._damage
        part = self._files.parts[len(self._begins) - 1]
        if self._next_chunk == len(part.rows):
            self._sweep.finish()
            if len(self._begins) == len(self._files.parts):
                return False
            self._begins.append(len(self._found.offsets))
            self._next_chunk = 0
            self._sweep = Sweep(self._files.parts[len(self._begins) - 1].list.file)
            return True
        chunk, n_layouts = part.rows[self._next_chunk]
        try:
            part.list.check(chunk)
            self._found.scan(RowsSource(part.list.file, chunk, part.layouts[:n_layouts], len(part.access)))
        except TraceError as e:
            self._damage = e  # what comes behind it is not handed out
            raise
        self._sweep.passed(chunk.offset)
        self._next_chunk += 1
        return True
