"""XXH3-64, the checksum of traces and profiles.

The few bytes of a chunk's header are hashed here where the package `xxhash` is missing. Payloads are hashed only where
it is there: in pure Python that would take minutes.
"""

from __future__ import annotations

import struct
from typing import Callable, Optional

payload_hash: Optional[Callable[..., int]]  #: of any buffer; None where xxhash is not installed
try:
    from xxhash import xxh3_64_intdigest as payload_hash
except ImportError:
    payload_hash = None

_MASK = (1 << 64) - 1
_PRIME = 0x9E3779B185EBCA87
_SECRET = struct.unpack("<4Q", bytes.fromhex("b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"))


def _folded_product(a: int, b: int) -> int:
    product = a * b
    return (product & _MASK) ^ (product >> 64)


def hash_24(data: bytes) -> int:
    """XXH3-64 of exactly 24 bytes: its rule for 17 to 32 bytes, which mixes the first and the last 16."""
    first, middle, last = struct.unpack("<3Q", data)
    mixed = 24 * _PRIME
    mixed += _folded_product(first ^ _SECRET[0], middle ^ _SECRET[1])
    mixed += _folded_product(middle ^ _SECRET[2], last ^ _SECRET[3])
    mixed &= _MASK
    mixed = ((mixed ^ (mixed >> 37)) * 0x165667919E3779F9) & _MASK
    return mixed ^ (mixed >> 32)


header_hash: Callable[[bytes], int] = payload_hash or hash_24
