"""The three domains, and which of their documents training never sees.

A domain is a list of documents (str). The held-out rule depends only on the text's own order or names, never on
a random draw, so that anybody who has the texts can repeat the split:
  prose       the last 1/20 of the characters
  arithmetic  every problem whose line index is 19 modulo 20
  code        every file whose path below the given folder has crc32 % 20 == 0
"""
import json
import zlib
from pathlib import Path

DOMAINS = ("code", "arithmetic", "prose")
HELD_OUT_SHARE = 20


def read_prose(path):
    text = Path(path).read_text(encoding="utf-8")
    cut = len(text) - len(text) // HELD_OUT_SHARE
    return [text[:cut]], [text[cut:]]


def read_arithmetic(path):
    train, held_out = [], []
    with open(path, encoding="utf-8") as lines:
        for i, line in enumerate(lines):
            problem = json.loads(line)
            text = problem["question"] + "\n" + problem["answer"] + "\n"
            (held_out if i % HELD_OUT_SHARE == HELD_OUT_SHARE - 1 else train).append(text)
    return train, held_out


def read_code(folder):
    train, held_out = [], []
    for path in sorted(Path(folder).rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if "-packages/" in name or name.startswith("tkinter/"):  # what else is installed on the machine
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if text.strip():
            (held_out if zlib.crc32(name.encode()) % HELD_OUT_SHARE == 0 else train).append(text)
    return train, held_out


def read_corpora(args):
    """{domain: (training documents, held-out documents)} from the paths in args."""
    return {
        "code": read_code(args.code),
        "arithmetic": read_arithmetic(args.arithmetic),
        "prose": read_prose(args.prose),
    }


def pieces(documents, n, n_chars):
    """n stretches of n_chars characters, evenly spread over the joined documents; fewer where that would overlap."""
    text = "".join(documents)
    n = min(n, max(1, len(text) // n_chars))
    starts = [i * (len(text) - n_chars) // max(1, n - 1) for i in range(n)]
    return [text[s : s + n_chars] for s in starts]


def add_corpus_options(parser):
    parser.add_argument("--prose", required=True, help="a text file: tiny Shakespeare")
    parser.add_argument("--arithmetic", required=True, help="GSM8K as JSON lines with question and answer")
    parser.add_argument("--code", required=True, help="folder of the Python standard library")
