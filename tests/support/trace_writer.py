"""Writes a .moetrace as docs/trace-format.md describes it, independently of the C++ writer: for tests and benches that
compare moescope with numpy, scipy and pandas."""

import struct

import numpy as np
import xxhash

IDS, WEIGHTS, PROBS, GATE_INPUT = 1 << 0, 1 << 1, 1 << 4, 1 << 7
HEAD, MODEL, LAYOUT, ROWS, END = 1, 2, 3, 6, 9


def _pad(data, multiple):
    return data + bytes(-len(data) % multiple)


def _text(value):
    data = str(value).encode()
    return struct.pack("<I", len(data)) + _pad(data, 4)


def _pairs(pairs):
    return b"".join(_text(k) + _text(v) for k, v in pairs.items())


class TraceWriter:
    """layers: dicts with layer, n_expert, k, and optionally n_embd and columns (bits; ids are always stored)."""

    def __init__(self, path, layers):
        self.layers = layers
        self.file = open(path, "wb")
        self.file.write(b"MOETRACE" + struct.pack("<II", 1, 0))
        self.n_batch = 0
        self._chunk(
            HEAD,
            _pairs(
                {
                    "moescope": "0.1.0",
                    "trace_id": 7,
                    "part": 1,
                    "stream": 1,
                    "program": "test",
                    "pid": 1,
                    "started_unix_ns": 0,
                    "captured": "ids",
                    "mode": "rows",
                }
            ),
        )
        self._chunk(
            MODEL,
            _pairs(
                {
                    "architecture": "test",
                    "n_layer": len(layers),
                    "n_expert": max((l["n_expert"] for l in layers), default=0),
                }
            ),
        )
        layout = struct.pack("<I", len(layers))
        for l in layers:
            layout += struct.pack(
                "<iiIIIIIfII",
                l["layer"],
                0,
                l["n_expert"],
                l["k"],
                l.get("n_embd", 0),
                0,
                l.get("columns", IDS) | IDS,
                0.0,
                4,
                0,
            )
        self._chunk(LAYOUT, layout)
        self.pending = []
        self.pending_size = 0

    def _chunk(self, kind, payload):
        head = b"CHNK" + struct.pack("<IQQ", kind, len(payload), xxhash.xxh3_64_intdigest(payload))
        self.file.write(head + struct.pack("<Q", xxhash.xxh3_64_intdigest(head)) + _pad(payload, 8))

    def ubatch(self, blocks, pos, token=None, seq=None, decode=False):
        """blocks: a dict for each layer with ids [n][k] and the float columns of the layout, by bit. All rows computed."""
        n = len(pos)
        i32 = lambda v, default: np.full(n, default, "<i4").tobytes() if v is None else np.asarray(v, "<i4").tobytes()
        body = i32(token, -1) + i32(pos, -1) + i32(seq, 0) + _pad(bytes([int(decode)]) * n, 4)
        body += struct.pack("<%dI" % len(blocks), *[len(b["ids"]) for b in blocks])
        for l, b in zip(self.layers, blocks):
            width = "<u1" if l["n_expert"] <= 256 else "<u2" if l["n_expert"] <= 65536 else "<u4"
            body += _pad(np.asarray(b["ids"]).astype(width).tobytes(), 4)
            for bit in (WEIGHTS, PROBS, GATE_INPUT):
                if l.get("columns", IDS) & bit:
                    body += np.asarray(b[bit], "<f4").tobytes()
        body = _pad(body, 8)  # the header before it is 32 bytes
        frame = struct.pack("<IIQIIII", 32 + len(body), 0, 1000 * self.n_batch, self.n_batch, 0, n, len(blocks)) + body
        self.n_batch += 1
        self.pending.append(frame)
        self.pending_size += len(frame)
        if self.pending_size > 1 << 18:
            self.flush()

    def flush(self):
        if self.pending:
            self._chunk(ROWS, b"".join(self.pending))
        self.pending, self.pending_size = [], 0

    def close(self):
        self.flush()
        self._chunk(END, _pairs({"reason": "finished", "run_ns": 1, "capture_ns": 0}))
        self.file.close()
