"""Damage at every kind of place: the Python package reads what is there, or raises TraceError; never anything else."""

import os
import random
import struct
import sys
import tempfile
import unittest
from unittest import mock

import numpy as np
import xxhash

import moescope
from moescope import _checksum, _chunks

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from package_reader import GOLDEN, exported, gathered, read_everything  # noqa: E402

LAYOUT, ROWS = 3, 6


def chunks(data):
    """(kind, header's offset, payload's size) of the whole chunks, by the grammar of docs/trace-format.md."""
    at = 16
    while at + 32 <= len(data):
        kind, size = struct.unpack_from("<IQ", data, at + 4)
        if at + 32 + (size + 7) // 8 * 8 > len(data):
            return
        yield kind, at, size
        at += 32 + (size + 7) // 8 * 8


def whole_bytes(data):
    """Bytes up to the end of the last whole chunk."""
    return max((at + 32 + (size + 7) // 8 * 8 for _, at, size in chunks(data)), default=16)


def resealed(data):
    """The same with checksums that fit."""
    data = bytearray(data)
    for _, at, size in list(chunks(data)):
        struct.pack_into("<Q", data, at + 16, xxhash.xxh3_64_intdigest(bytes(data[at + 32 : at + 32 + size])))
        struct.pack_into("<Q", data, at + 24, xxhash.xxh3_64_intdigest(bytes(data[at : at + 24])))
    return bytes(data)


def flipped(data, at, bit):
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def same(a, b):
    return set(a) == set(b) and all(np.array_equal(a[n], b[n], equal_nan=a[n].dtype.kind == "f") for n in a)


def a_chunk_for_each_frame(data):
    """The same trace with its frames in chunks of their own, as those of a slow program are."""
    out = data[:16]
    for kind, at, size in chunks(data):
        payload, frames = data[at + 32 : at + 32 + size], []
        while kind == ROWS and payload:
            frame_size = struct.unpack_from("<I", payload)[0]
            frames.append(payload[:frame_size])
            payload = payload[frame_size:]
        for piece in frames or [payload]:
            out += struct.pack("<4sIQQQ", b"CHNK", kind, len(piece), 0, 0) + piece + bytes(-len(piece) % 8)
    return resealed(out)


with open(GOLDEN, "rb") as golden:
    BYTES = a_chunk_for_each_frame(golden.read())


class Damage(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "x.moetrace")

    def write(self, data):
        with open(self.path, "wb") as file:
            file.write(data)

    def read(self, data):
        """read_everything() of these bytes, or None for TraceError, which must name the file."""
        self.write(data)
        try:
            return read_everything(self.path)
        except moescope.TraceError as e:
            self.assertEqual(e.path, self.path)
            self.assertIn(self.path, str(e))
            return None

    def test_cut_at_every_byte(self):
        read = {}  # bytes that are whole -> what a trace of only these holds
        for cut in range(len(BYTES)):
            whole = whole_bytes(BYTES[:cut])
            if whole not in read:
                read[whole] = self.read(BYTES[:whole])
            self.write(BYTES[:cut])
            if whole == 16:
                with self.assertRaises(moescope.TraceError, msg=cut):
                    moescope.open(self.path)
                continue
            trace = moescope.open(self.path)
            self.assertEqual(
                (trace.info.lost_offset, trace.info.lost_bytes), (whole if cut > whole else 0, cut - whole)
            )
            self.assertFalse(trace.info.ended)
            self.assertEqual(read[whole][1][-1], 0)
            if cut % 37 == 0:
                self.assertTrue(
                    same(gathered(trace), {n: a for n, a in read[whole][0].items() if "walked" not in n}), cut
                )
        self.assertGreater(len(read), 10)
        self.assertEqual([r[1][0] for r in read.values() if r][-1], 5, "ubatches before the trace's end")

    def test_whatever_flips_is_seen(self):
        """Checksums hold for all but the padding of payloads and four bytes of the file's header."""
        whole = self.read(BYTES)
        unhashed = set(range(12, 16))
        for _, at, size in chunks(BYTES):
            unhashed.update(range(at + 32 + size, at + 32 + (size + 7) // 8 * 8))
        for at in range(0, len(BYTES), 5):
            got = self.read(flipped(BYTES, at, at // 5 % 8))
            self.assertEqual(got is not None, at in unhashed, at)
            self.assertTrue(got is None or same(got[0], whole[0]) and got[1:] == whole[1:], at)

    def test_without_xxhash_structure_is_checked_all_the_same(self):
        """Headers by the package's own hash; rows by what they must look like."""
        patches = {"payload_hash": None, "header_hash": _checksum.hash_24}
        headers = {i for _, at, _ in chunks(BYTES) for i in range(at, at + 32)}
        with_checksums = self.read(BYTES)
        with mock.patch.multiple(_chunks, **patches):
            self.assertTrue(same(self.read(BYTES)[0], with_checksums[0]))
            for at in range(1, len(BYTES), 7):
                got = self.read(flipped(BYTES, at, at // 7 % 8))
                self.assertFalse(at in headers and got is not None, at)

    def test_the_package_s_own_hash_is_xxh3(self):
        random.seed(1)
        for _ in range(1000):
            data = random.randbytes(24)
            self.assertEqual(_checksum.hash_24(data), xxhash.xxh3_64_intdigest(data))

    def test_nonsense_under_checksums_that_fit(self):
        for _, begin, size in chunks(BYTES):
            for at in range(begin + 32, begin + 32 + size, 5):
                self.read(resealed(flipped(BYTES, at, at // 5 % 8)))
        random.seed(2)
        for _ in range(300):
            data = bytearray(BYTES)
            kind, begin, size = random.choice(list(chunks(BYTES)))
            for _ in range(random.randint(1, 4)):
                word = begin + 32 + 4 * random.randrange(max(1, size // 4))
                struct.pack_into(
                    "<I",
                    data,
                    word,
                    random.choice([0, 1, 7, 2**31 - 1, 2**31, 2**32 - 1, random.getrandbits(32)]),
                )
            self.read(resealed(bytes(data)))

    def test_nonsense_is_judged_as_the_export_judges_it(self):
        rows = [
            at
            for kind, begin, size in chunks(BYTES)
            if kind in (LAYOUT, ROWS)
            for at in range(begin + 32, begin + 32 + size)
        ]
        random.seed(3)
        judged = set()
        for at in random.sample(rows, 150):
            bit = random.randrange(8)
            got = self.read(resealed(flipped(BYTES, at, bit)))
            try:
                want = exported(self.path)
            except AssertionError:
                want = None
            self.assertEqual(got is None, want is None, (at, bit))
            if want is not None:
                self.assertTrue(same({n: a for n, a in got[0].items() if "walked" not in n}, want), (at, bit))
            judged.add(want is None)
        self.assertEqual(judged, {True, False})

    def test_what_lies_before_damage_is_handed_out(self):
        whole = [u.position.tolist() for u in moescope.open(GOLDEN).ubatches()]
        kind, begin, size = [c for c in chunks(BYTES) if c[0] == ROWS][3]
        for data, offset in (
            (flipped(BYTES, begin + 32 + size // 2, 0), begin + 32),
            (resealed(flipped(BYTES, begin + 32, 0)), begin + 32),  # the frame's size
        ):
            self.write(data)
            trace = moescope.open(self.path)
            for _ in range(2):  # the second time says the same
                seen = []
                with self.assertRaises(moescope.TraceError) as caught:
                    for u in trace.ubatches():
                        seen.append(u.position.tolist())
                self.assertEqual((seen, caught.exception.offset), (whole[:3], offset))

    def test_files_that_are_no_traces(self):
        for data, word in ((b"", "empty"), (b"MOETRACE", "not a moescope trace"), (b"{}" * 20, "not a moescope trace")):
            self.write(data)
            with self.assertRaisesRegex(moescope.TraceError, word):
                moescope.open(self.path)
        for version in (0, 3):
            self.write(BYTES[:8] + struct.pack("<I", version) + BYTES[12:])
            with self.assertRaisesRegex(moescope.TraceError, f"version {version}"):
                moescope.open(self.path)
        with self.assertRaises(FileNotFoundError):
            moescope.open(self.path + ".none")
        with self.assertRaisesRegex(moescope.TraceError, "not a regular file"):
            moescope.open(os.path.dirname(self.path))
        os.mkfifo(self.path + ".pipe")
        with self.assertRaisesRegex(moescope.TraceError, "not a regular file"):
            moescope.open(self.path + ".pipe")


if __name__ == "__main__":
    unittest.main()
