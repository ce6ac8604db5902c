"""A trace as arrays by name, read by the Python package and, for comparison, by `moescope export -f npy`."""

import os
import subprocess
import tempfile

import numpy as np

import moescope

MOESCOPE = os.environ["MOESCOPE_BIN"]
SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
GOLDEN = os.path.join(SOURCE, "tests", "golden", "v1.moetrace")
DERIVED = ("prompt", "label")  # of the export: they follow from sequences, positions and notes
TOKEN_COLUMNS = ("token", "position", "sequence", "phase", "batch", "ubatch")


def run(*args):
    """Runs moescope, which must succeed, and returns what it printed."""
    done = subprocess.run([MOESCOPE, *args], capture_output=True, timeout=600)
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    return done.stdout


def exported(path):
    """Arrays by their file's name in the folder of the export, e.g. "layer-003/gate_input"."""
    arrays = {}
    with tempfile.TemporaryDirectory() as folder:
        run("export", path, "-f", "npy", "-o", os.path.join(folder, "out"))
        for parent, _, names in os.walk(os.path.join(folder, "out")):
            for name in names:
                if name.endswith(".npy") and name[:-4] not in DERIVED:
                    key = os.path.relpath(os.path.join(parent, name[:-4]), os.path.join(folder, "out"))
                    arrays[key] = np.load(os.path.join(parent, name))
    return arrays


def folder_of(block):
    return f"layer-{block.layer:03}" + (f".{block.block}" if block.block else "")


def gathered(trace):
    """The same by the package's whole arrays."""
    arrays = {name: getattr(trace.tokens, name) for name in TOKEN_COLUMNS}
    for block in trace.blocks:
        for name in block.columns + ("token_index",):
            arrays[f"{folder_of(block)}/{name}"] = getattr(block, name)
    return arrays


def walked(trace):
    """The same, put together ubatch by ubatch. A graph's missing column is left out."""
    pieces = {}
    n_tokens = 0
    for u in trace.ubatches():
        for name in ("token", "position", "sequence", "phase"):
            pieces.setdefault(name, []).append(getattr(u, name))
        pieces.setdefault("batch", []).append(np.full(len(u), u.batch, np.uint32))
        pieces.setdefault("ubatch", []).append(np.full(len(u), u.number, np.uint32))
        for block in u.blocks:
            index = block.row_token.astype(np.int64)
            pieces.setdefault(f"{folder_of(block)}/token_index", []).append(np.where(index < 0, -1, index + n_tokens))
            for name in block.columns:
                pieces.setdefault(f"{folder_of(block)}/{name}", []).append(getattr(block, name))
        n_tokens += len(u)
    return {name: np.concatenate(parts) for name, parts in pieces.items()}


def assert_same(test, got, want):
    """Equal names, types, shapes and bits; NaN equals NaN."""
    test.assertEqual(set(got), set(want))
    for name in want:
        test.assertEqual((got[name].dtype, got[name].shape), (want[name].dtype, want[name].shape), name)
        np.testing.assert_array_equal(got[name], want[name], name)


def read_everything(path):
    """What a reader of the whole trace sees: (arrays, number of ubatches, lost bytes). Raises TraceError if damaged."""
    trace = moescope.open(path)
    arrays = {**gathered(trace), **{"walked/" + name: a for name, a in walked(trace).items()}}
    accesses = [u.access for u in trace.ubatches()]
    texts = trace.text
    return arrays, (len(accesses), accesses, texts, trace.notes, trace.access_lists, trace.model, trace.info.lost_bytes)
