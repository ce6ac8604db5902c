"""What this package raises about the content of a file."""

from __future__ import annotations

from typing import Optional


class TraceError(Exception):
    """A file that is not a trace or profile, or is damaged.

    A file that is missing or may not be read raises the usual OSError instead.
    """

    path: str  #: the file
    offset: Optional[int]  #: the byte at which it went wrong, where there is one
    reason: str  #: what is wrong, without file and offset

    def __init__(self, reason: str, path: str = "", offset: Optional[int] = None, advice: str = "") -> None:
        self.reason, self.path, self.offset = reason, path, offset
        line = f"{path}: {reason}" if path else reason
        line += f" (at byte {offset})" if offset is not None else ""
        super().__init__(f"{line}; {advice}" if advice else line)


def damaged(reason: str, path: str, offset: int) -> TraceError:
    """The error of a trace whose content cannot be."""
    return TraceError(f"damaged trace: {reason}", path, offset, "'moescope check' says what can be saved")
