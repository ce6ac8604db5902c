"""What a trace says about itself and its model."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Tuple

import numpy as np

from ._decode import Decoder, Pairs
from ._layout import GraphLayout
from ._types import Array

_COUNTS_HEADER = struct.Struct("<IIQQQ")
_EVENT = struct.Struct("<IiiiiiiIIIQ")
_TAKEN_BACK = np.dtype([("ubatch", "<u8"), ("token", "<u4"), ("zero", "<u4")])


@dataclass
class TraceInfo:
    """Where a trace comes from, and whether it is whole. Unknown numbers are 0, unknown texts empty."""

    path: str  #: as opened, of the first part
    program: str = ""  #: that ran
    writer_version: str = ""  #: of moescope
    pid: int = 0
    stream: int = 1  #: number of the stream within its process
    started_unix_ns: int = 0
    captured: str = ""  #: the capture list that was asked for
    mask: str = ""  #: under which it ran, such as "omit 5:15"; empty: the routing is the model's own
    left_out: str = ""  #: what was not to be kept: "text" of tokens, or "text,tokens"; empty: nothing
    counts_only: bool = False  #: there are no rows; trace.counts has everything
    trace_id: int = 0

    first_part: int = 1  #: larger where the file that was opened is a later part of a trace
    n_parts: int = 1
    bytes: int = 0  #: of all parts
    ended: bool = False  #: the program came to its end; False: it was killed, or still runs
    end_reason: str = ""
    run_ns: int = 0  #: 0 where it has not ended
    capture_ns: int = 0  #: of it, spent in marking, reading and writing
    compute_ns: int = 0  #: of run_ns, not idle; 0 where it is not known

    lost_bytes: int = 0  #: at the end of a file that was cut inside a chunk; not part of anything read
    lost_offset: int = 0  #: where they begin
    unread_part: str = ""  #: the trace goes on in this file, which is missing or cannot be joined: not read

    def read_head(self, p: Pairs) -> None:
        self.program, self.writer_version, self.captured = p.text("program"), p.text("moescope"), p.text("captured")
        self.mask, self.left_out = p.text("mask"), p.text("left_out")
        self.pid, self.started_unix_ns, self.trace_id = (
            p.number("pid"),
            p.number("started_unix_ns"),
            p.number("trace_id"),
        )
        self.stream = max(1, p.number("stream"))
        self.counts_only = p.text("mode") == "counts"

    def read_end(self, p: Pairs) -> None:
        self.ended, self.end_reason = True, p.text("reason")
        self.run_ns, self.capture_ns = p.number("run_ns"), p.number("capture_ns")
        self.compute_ns = p.number("compute_ns")


@dataclass
class ModelInfo:
    """The model that ran. Unknown numbers are 0, unknown texts empty."""

    architecture: str = ""  #: as GGUF names it, e.g. "qwen3moe"
    name: str = ""
    file: str = ""  #: path of the (first) GGUF file
    file_size: int = 0  #: bytes, of that file
    n_layer: int = 0  #: without MTP blocks
    n_expert: int = 0  #: routed experts of a layer, the largest over the layers
    n_expert_used: int = 0  #: top-k, the largest over the layers
    n_embd: int = 0
    n_vocab: int = 0
    metadata: dict[str, str] = field(default_factory=dict)  #: the GGUF keys that speak of experts, as text


def read_model(p: Pairs) -> ModelInfo:
    """Of a model chunk."""
    values: dict[str, Any] = {name: p.text(name) for name in ("architecture", "name", "file")}
    for name in ("file_size", "n_layer", "n_expert", "n_expert_used", "n_embd", "n_vocab"):
        values[name] = p.number(name)
    return ModelInfo(**values, metadata=p.with_prefix("meta."))


@dataclass(frozen=True)
class AccessEntry:
    """One node of a graph that reads weights."""

    op: str  #: ggml's name, e.g. "MUL_MAT_ID"
    dst: str  #: the node's name
    layer: int  #: -1 outside the layers
    block: int  #: place in the ubatch's blocks of the one whose ids choose the slices, -1: none
    sources: Tuple[str, ...]  #: the weight tensors read


#: The nodes of one graph that read weights, in the order in which they are computed.
AccessList = Tuple[AccessEntry, ...]


def read_access(d: Decoder) -> AccessList:
    """Of an access chunk."""
    return tuple(_read_access_entry(d) for _ in range(d.u32()))


def _read_access_entry(d: Decoder) -> AccessEntry:
    op, dst = d.text().decode(errors="replace"), d.text().decode(errors="replace")
    layer, block = d.i32(), d.i32()
    return AccessEntry(op, dst, layer, block, tuple(d.text().decode(errors="replace") for _ in range(d.u32())))


@dataclass(frozen=True)
class BlockCounts:
    """Selections of one MoE block."""

    rows: int
    rows_decoded: int  #: of them, rows of decoded tokens
    count: Array  #: [n_expert] uint64, rows that selected the expert; sums to k * rows


@dataclass(frozen=True)
class Counts:
    """What a trace of `--counts-only` holds in place of rows."""

    tokens: int
    decoded: int  #: of them, decoded rather than prefilled
    ubatches: int
    blocks: dict[tuple[int, int], BlockCounts]  #: by (layer, block)


def read_counts(d: Decoder, layouts: list[GraphLayout]) -> Counts:
    """Of a counts chunk; `layouts` as its file numbers them."""
    layout, _, tokens, decoded, ubatches = d.unpack(_COUNTS_HEADER)
    if layout >= len(layouts):
        raise d.fail("counts of an unknown layout")
    blocks = {}
    for b in layouts[layout].blocks:
        rows, rows_decoded = d.unpack(struct.Struct("<QQ"))
        blocks[b.layer, b.block] = BlockCounts(rows, rows_decoded, np.frombuffer(d.take(8 * b.n_expert), "<u8"))
    return Counts(tokens, decoded, ubatches, blocks)


@dataclass(frozen=True)
class MemoryEvent:
    """What the program did to its context's memory. Positions are [p0, p1), each without bound where negative."""

    kind: str  #: "remove", "copy", "keep", "shift", "divide"; "" where this package does not know it
    why: str  #: of a removal, what went: "rejected" (drafts), "cut", "discard", "drop" (text); else ""
    ubatches: int  #: of the trace, that came before it
    sequence: int  #: -1: every one
    to: int  #: of a copy
    p0: int
    p1: int
    delta: int  #: of a shift or a division
    last: int  #: of a removal: the position that the sequence had reached, -1 where unknown
    taken_back: Array  #: [n, 2] i8: number of the ubatch and place in it of each token that is no text because of this


_KINDS = ("remove", "copy", "keep", "shift", "divide")
_WHY = ("", "rejected", "cut", "discard", "drop")


def read_memory(d: Decoder) -> list[MemoryEvent]:
    """Of a memory chunk."""
    events = []
    while not d.done:
        kind, sequence, to, p0, p1, delta, last, why, n, _, ubatches = d.unpack(_EVENT)
        tokens = np.frombuffer(d.take(n * _TAKEN_BACK.itemsize), _TAKEN_BACK)
        places = np.stack([tokens["ubatch"].astype(np.int64), tokens["token"].astype(np.int64)], axis=1)
        names = (_KINDS[kind] if kind < len(_KINDS) else "", _WHY[why] if why < len(_WHY) else "")
        events.append(MemoryEvent(*names, ubatches, sequence, to, p0, p1, delta, last, places))
    return events


def read_pieces(d: Decoder) -> dict[int, bytes]:
    """Of a pieces chunk: token id -> its text's bytes."""
    pieces = {}
    while not d.done:
        token = d.i32()
        pieces[token] = d.text()
    return pieces
