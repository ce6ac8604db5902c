"""What a command gives, brought into a form in which only figures are compared.

JSON becomes one line for each object or list that holds no other, `key[3].key = {...}`, keys sorted and numbers as they
were printed; prose is left out.
"""

import base64
import hashlib
import json
import os
import re
import struct
import subprocess
import zlib
from array import array

from served import served

# What may be said in other words; notes that are JSON (labels of prompts) are kept.
PROSE = {
    "evaluate",  # a command
    "notes",
    "warnings",
    "problems",
    "what",
    "reason",
    "is",
    "moe",
    "part",
    "measure",
    "written_by",
    "writer_version",
    "generator",
}
TIMEOUT = 120  # seconds


class Printed(str):
    """A number as it was printed."""


class Job:
    """One command, run in the folder where the inputs lie."""

    def __init__(self, moescope, words, folder, name):
        self.moescope, self.folder = moescope, folder
        self.words = [re.sub(r"^OUT", f"out-{name}", word) for word in words]
        self.out = os.path.join(folder, f"out-{name}")

    def run(self, *words):
        """(exit code, stdout)"""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LLAMA_", "MOESCOPE_", "LD_PRELOAD"))}
        done = subprocess.run(
            [self.moescope, *(words or self.words)],
            cwd=self.folder,
            env=dict(env, OMP_WAIT_POLICY="passive", LC_ALL="C.UTF-8"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
        )
        if done.returncode not in (0, 1) or (done.returncode == 1 and not done.stdout):
            raise AssertionError(f"{' '.join(self.words)}: exit {done.returncode}, {done.stderr.decode()[-400:]}")
        return done.returncode, done.stdout

    def read(self, suffix=""):
        with open(self.out + suffix, "rb") as file:
            return file.read()


def _text(value):
    if isinstance(value, Printed):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {_text(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return json.dumps(value)


def _lines(value, path=""):
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(v, (dict, list)) for v in inner):
        yield f"{path or 'value'} = {_text(value)}\n"
    elif isinstance(value, dict):
        plain = {k: v for k, v in value.items() if not isinstance(v, (dict, list))}
        if plain:
            yield from _lines(plain, path)
        for key in sorted(value.keys() - plain.keys()):
            yield from _lines(value[key], f"{path}.{key}" if path else key)
    else:
        for i, v in enumerate(value):
            yield from _lines(v, f"{path}[{i}]")


def _without_prose(value):
    if isinstance(value, list):
        return [_without_prose(v) for v in value]
    if not isinstance(value, dict):
        return value
    kept = {k: _without_prose(v) for k, v in value.items() if k not in PROSE}
    labels = [n for n in value.get("notes") or [] if n.startswith("{")]
    return dict(kept, labels=labels) if labels else kept


def lines_of(value):
    return "".join(_lines(_without_prose(value))).encode()


def parse(data):
    return json.loads(data, parse_float=Printed, parse_int=Printed)


def figures(job):
    code, text = job.run()
    return f"exit = {code}\n".encode() + lines_of(parse(text))


def written(path):
    """The bytes of a file, or those of all files of a folder, each behind a line with its name."""
    if not os.path.isdir(path):
        with open(path, "rb") as file:
            return file.read()
    names = sorted(os.path.relpath(os.path.join(f, n), path) for f, _, found in os.walk(path) for n in found)
    return b"".join(b"--- %s\n%s\n" % (name.encode(), written(os.path.join(path, name))) for name in names)


def output_bytes(job):
    code, text = job.run()
    assert code == 0, job.words
    return written(job.out) if os.path.exists(job.out) else text


ARRAYS = {"u8": "B", "u16": "H", "u32": "I", "i32": "i", "f32": "f", "f64": "d"}


def page_document(data):
    """The document of a page's data (src/report/bundle.hpp), every reference replaced by the array it stands for."""
    magic, data = data[:8], data[8:]
    assert magic in (b"MOEPAGE0", b"MOEPAGEZ"), magic
    data = zlib.decompress(data) if magic == b"MOEPAGEZ" else data
    (length,) = struct.unpack_from("<I", data)
    document, data = parse(data[4 : 4 + length]), data[4 + length :]
    arrays = []
    for a in document.pop("arrays"):
        values = array(ARRAYS[a["type"]])
        start = int(a["offset"])
        values.frombytes(data[start : start + int(a["length"]) * values.itemsize])
        arrays.append({"type": a["type"], "values": [Printed(repr(v)) for v in values]})

    def resolve(value):
        if isinstance(value, dict):
            return arrays[int(value["@"])] if "@" in value else {k: resolve(v) for k, v in value.items()}
        return [resolve(v) for v in value] if isinstance(value, list) else value

    return resolve(document)


def page(job):
    job.run()
    found = re.search(rb'<script type="application/moescope" id="data">([^<]*)</script>', job.read())
    return lines_of(page_document(base64.b64decode(found[1])))


def charts(job):
    """The drawings without their words."""
    job.run()
    svg = [name for name in sorted(os.listdir(job.out)) if name.endswith(".svg")]
    assert svg, "no chart"
    pictures = [(name, written(os.path.join(job.out, name))) for name in svg]
    return b"".join(b"--- %s\n%s\n" % (n.encode(), re.sub(rb"<(text|title).*?</\1>", b"", p)) for n, p in pictures)


def model(job):
    """A model that was written, its tensors and the bytes of their data; and the importance matrix beside it."""
    job.run()
    text = b""
    for suffix in (".gguf", ".imatrix.gguf"):
        name = os.path.basename(job.out) + suffix
        _, info = job.run("map", name, "--json", "--no-split-experts")
        start = int(parse(info)["files"][0]["data_offset"])
        digest = hashlib.sha256(job.read(suffix)[start:]).hexdigest()
        text += b"--- %s\ndata = %s\n" % (suffix.encode(), digest.encode()) + job.run("map", name)[1]
    return text


def moestats_arrays(block, n_label):
    """Name, type and length of each array of a block, in order."""
    n, names = int(block["n_expert"]), block.pop("sums", [])
    further = [name for name in ("norm_squared", "gated_squared", "easy_ep", "removal") if name in names]
    yield from (("count", "Q", n), ("gate", "d", n), ("gated_norm", "d", n), ("norm", "d", n), ("max_norm", "f", n))
    yield from (("label_rows", "Q", n_label), ("label_count", "Q", n_label * n))
    yield from ((name, "d", n) for name in further)
    if "peak" in names:
        yield "peak", "f", n
    if "pairs" in names:
        yield from (("pair_count", "Q", n * (n - 1) // 2), ("pair_product", "d", n * (n - 1) // 2))
    if further and n_label > 0:
        yield from ((f"label_{name}", "d", n_label * n) for name in ("gate", "gated_norm", "norm", *further))


def moestats_document(data):
    """The head of a .moestats file (docs/profile.md) and its sums."""
    assert data[:8] == b"MOESTATS"
    _, size = struct.unpack_from("<II", data, 8)
    head, at = parse(data[16 : 16 + size]), 16 + size
    n_label = len(head["labels"])
    for block in head["blocks"]:
        sums = {}
        for name, code, length in moestats_arrays(block, n_label):
            values = struct.unpack_from(f"<{length}{code}", data, at)
            at += (struct.calcsize(f"<{length}{code}") + 7) // 8 * 8
            sums[name] = [Printed(repr(v)) for v in values]
        block["sums"] = sums
    assert at + 8 == len(data), "bytes that docs/profile.md does not know"
    return head


def profile(job):
    job.run()
    parts = [(".moestats", moestats_document(job.read(".moestats"))), (".json", parse(job.read(".json")))]
    return b"".join(b"--- %s\n%s" % (suffix.encode(), lines_of(document)) for suffix, document in parts)


def sums(job):
    """A profile that no model computed: the bytes of the file as well."""
    text = profile(job)
    return text + f"sha256 = {hashlib.sha256(job.read('.moestats')).hexdigest()}\n".encode()


def trace(job):
    """What a run recorded, but for times."""
    job.run()
    _, text = job.run("export", os.path.basename(job.out), "-f", "jsonl")
    rows = [json.loads(line, parse_float=Printed, parse_int=Printed) for line in text.splitlines()]
    return "".join(_text({k: v for k, v in row.items() if k != "time_ns"}) + "\n" for row in rows).encode()


def served_page(job):
    return b"".join(
        b"--- %s\n%s" % (what.encode(), data if what == "metrics" else lines_of(page_document(data)))
        for what, data in served(job, page_document)
    )


kinds = {
    "figures": figures,
    "bytes": output_bytes,
    "page": page,
    "charts": charts,
    "served": served_page,
    "model": model,
    "profile": profile,
    "sums": sums,
    "trace": trace,
}
