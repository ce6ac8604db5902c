"""A file that is mapped into memory and may grow."""

from __future__ import annotations

import mmap
import os
import stat
import weakref

import numpy as np

from ._types import Array, DType
from .errors import TraceError


class MappedFile:
    """A regular file, mapped for reading. Arrays that point into it keep their map alive, also over refresh()."""

    path: str
    size: int  #: bytes that are mapped

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0
        self._map: mmap.mmap | None = None
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # non-blocking: a pipe must not hold us up
        weakref.finalize(self, os.close, self._fd)
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise TraceError("not a regular file", path)
        self.refresh()

    def refresh(self) -> None:
        """Maps what was appended."""
        size = os.fstat(self._fd).st_size
        if size < self.size:
            raise TraceError("the file became shorter while it was read", self.path)
        if size > self.size:
            self._map = mmap.mmap(self._fd, size, access=mmap.ACCESS_READ)
            self.size = size

    def read(self, offset: int, n: int) -> bytes:
        """Up to n bytes, read without the map: a look here and there maps no pages."""
        return os.pread(self._fd, n, offset)

    def copy(self, offset: int, n: int) -> bytes:
        """n bytes of what is mapped."""
        return self._map[offset : offset + n] if self._map is not None else b""

    def view(
        self, offset: int, shape: tuple[int, ...], dtype: DType | str, strides: tuple[int, ...] | None = None
    ) -> Array:
        """A read-only array of the file's own bytes."""
        if 0 in shape:
            return np.empty(shape, dtype)  # an empty file has no map
        return np.ndarray(shape, dtype, self._map, offset, strides)

    def release(self, begin: int, end: int) -> None:
        """These bytes need not stay in memory; whoever looks at them again finds them all the same.

        For large stretches: whoever looks at a byte gets 64 KiB around it into memory.
        """
        begin -= begin % mmap.PAGESIZE
        if self._map is not None and end > begin and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, begin, end - begin)


class Sweep:
    """For who goes through a file from the front to the end: what was passed does not stay in memory."""

    _STEP = 16 << 20

    def __init__(self, file: MappedFile) -> None:
        self.file, self._released = file, 0

    def passed(self, at: int) -> None:
        """What lies before `at` is not needed again soon."""
        if at - self._released >= self._STEP:
            self.file.release(self._released, at)
            self._released = at

    def finish(self) -> None:
        self.file.release(self._released, self.file.size)
        self._released = self.file.size
