"""Where two outputs differ first, said shortly."""

import json
import re

NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")
WHOLE = re.compile(r"-?\d+")
SHOWN = 60  # characters of either side


def difference(expected, got, tolerance=0.0):
    """'' where the bytes are the same, or differ only in fractions by no more than `tolerance` (of the larger one, and of
    one thousandth); counts must be the same."""
    if expected is None:
        return "    there is no expected file; README.md says how one is made"
    if expected == got or (tolerance > 0 and _close(expected, got, tolerance)):
        return ""
    if b"\0" in expected or b"\0" in got:
        return _first_byte(expected, got)
    return _first_line(expected.decode("utf-8", "replace"), got.decode("utf-8", "replace"), tolerance)


def _close(expected, got, tolerance):
    a, b = (NUMBER.split(data.decode("latin-1")) for data in (expected, got))
    return len(a) == len(b) and all(_same(x, y, tolerance) for x, y in zip(a, b))


def _same(a, b, tolerance):
    if a == b:
        return True
    if tolerance == 0 or not (NUMBER.fullmatch(a) and NUMBER.fullmatch(b)) or WHOLE.fullmatch(a) and WHOLE.fullmatch(b):
        return False
    x, y = float(a), float(b)
    return abs(x - y) <= tolerance * max(abs(x), abs(y), 1e-3)


def _first_byte(expected, got):
    at = next((i for i, (a, b) in enumerate(zip(expected, got)) if a != b), min(len(expected), len(got)))
    folder = re.findall(rb"^--- (.*)$", expected[:at], re.MULTILINE)
    within = f" of {folder[-1].decode()}" if folder else ""
    start = expected.rfind(b"\n", 0, expected.rfind(b"\n--- ", 0, at) + 2) + 1 if folder else 0
    sides = [
        f"    {who} {data[at:at + 16].hex(' ') or 'the end'}" for who, data in (("expected", expected), ("got", got))
    ]
    return "\n".join([f"    byte {at - start}{within}", *sides])


def _first_line(expected, got, tolerance):
    a, b = expected.splitlines(), got.splitlines()
    pairs = [(x, y) for x, y in zip(a, b) if x != y and not (tolerance and _close(x.encode(), y.encode(), tolerance))]
    if not pairs:
        more, whose = (a, "expected") if len(a) > len(b) else (b, "got")
        return f"    {whose} has more lines: {_short(more[min(len(a), len(b))], 0)}"
    key, x, y = _inside(*pairs[0], tolerance)
    offset = next((i for i, (p, q) in enumerate(zip(x, y)) if p != q), min(len(x), len(y)))
    lines = f" (and {len(pairs) - 1} more lines)" if len(pairs) > 1 else ""
    return f"    {key}{lines}\n    expected {_short(x, offset)}\n    got      {_short(y, offset)}"


def _inside(a, b, tolerance):
    """The key and the two values; of a line 'key = JSON', down to the first key or index of the JSON that differs."""
    (key, _, x), (other, _, y) = a.partition(" = "), b.partition(" = ")
    if key != other or not x:
        return "line", a, b
    try:
        x, y = (json.loads(v, parse_float=str) for v in (x, y))
    except json.JSONDecodeError:
        return key, x, y
    if isinstance(x, dict) and isinstance(y, dict):
        for k in sorted(x.keys() | y.keys()):
            if k not in x or k not in y or not _same(str(x[k]), str(y[k]), tolerance):
                return f"{key}.{k}", str(x.get(k, "nothing")), str(y.get(k, "nothing"))
    if isinstance(x, list) and isinstance(y, list):
        for i, (p, q) in enumerate(zip(x, y)):
            if not _same(str(p), str(q), tolerance):
                return f"{key}[{i}]", str(p), str(q)
        return f"length of {key}", str(len(x)), str(len(y))
    return key, str(x), str(y)


def _short(text, offset):
    start = max(0, offset - SHOWN // 2) if len(text) > SHOWN else 0
    return ("…" if start else "") + text[start : start + SHOWN] + ("…" if start + SHOWN < len(text) else "")
