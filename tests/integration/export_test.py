"""Every export of the golden trace, read as its users read it, against the formulas behind the trace
(tests/support/planted_trace.hpp, recomputed here)."""

import csv
import io
import json
import os
import subprocess
import tempfile
import unittest

import numpy as np

try:
    import pandas
except ImportError:
    pandas = None

MOESCOPE = os.environ["MOESCOPE_BIN"]
GOLDEN = os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "tests", "golden", "v1.moetrace")

E, K, EMBD, LAYERS = 16, 4, 6, (1, 2, 3)
UBATCHES = [[0, 1, 2], [3, 4], [5], [6], [7]]  # positions; the first two are the prompt


def rank(layer, pos, e):
    return (e - 7 * pos - 3 * layer) % E


def ids(layer, pos, block=0):
    chosen = [(7 * pos + 3 * layer + r) % E for r in range(K)]
    return chosen if block == 0 else [e // 2 for e in chosen]


def f32(x):
    return float(np.float32(x))


WEIGHTS = [f32(2.0 ** (-1 - r) / (1 - 2.0**-K)) for r in range(K)]


def rows():
    """(ubatch, row, position, layer, block) in execution order."""
    for u, positions in enumerate(UBATCHES):
        for layer in LAYERS:
            for block in (0, 1) if layer == 1 else (0,):
                whole = list(enumerate(positions))
                for row, pos in whole if layer != 3 else [(0, positions[-1])]:
                    yield u, row, pos, layer, block


def columns(layer, pos, block):
    want = {"ids": ids(layer, pos, block), "weights": WEIGHTS}
    if block == 0:
        halves = [f32(2.0 ** (-1 - rank(layer, pos, e))) for e in range(E)]
        want.update(
            weights_raw=[2.0 ** (-1 - r) for r in range(K)],
            logits=[2 - 0.25 * rank(layer, pos, e) for e in range(E)],
            probs=halves,
            selection=halves,
            norms=[1 + layer + 0.125 * e for e in ids(layer, pos)],
            gate_input=[(pos + 1) * (j - EMBD / 2) / 16 + layer for j in range(EMBD)],
        )
    return want


def run(*args, ok=True):
    done = subprocess.run([MOESCOPE, *args], capture_output=True, text=True)
    if ok and done.returncode != 0:
        raise AssertionError(done.stderr)
    return done


def load(*path):
    with open(os.path.join(*path)) as file:
        return json.load(file)


def export(form, *args):
    return run("export", GOLDEN, "-f", form, *args).stdout


class Exports(unittest.TestCase):
    def check_object(self, o, want):
        u, row, pos, layer, block = want
        head = {
            k: o[k]
            for k in (
                "stream",
                "batch",
                "ubatch",
                "row",
                "sequence",
                "position",
                "phase",
                "prompt",
                "token",
                "text",
                "layer",
                "block",
            )
        }
        self.assertEqual(
            head,
            {
                "stream": 1,
                "batch": max(0, u - 1),
                "ubatch": u,
                "row": row,
                "sequence": 0,
                "position": pos,
                "phase": "prefill" if u < 2 else "decode",
                "prompt": 0,
                "token": 100 + 10 * pos,
                "text": f" t{100 + 10 * pos}",
                "layer": layer,
                "block": block,
            },
        )
        wanted = columns(layer, pos, block)
        self.assertEqual({k: [f32(v) for v in o[k]] for k in o if k in wanted}, wanted)
        self.assertEqual(set(o) - set(head) - {"time_ns"}, set(wanted))

    def test_jsonl(self):
        lines = [json.loads(line) for line in export("jsonl").splitlines()]
        wanted = list(rows())
        self.assertEqual(len(lines), len(wanted))
        for o, want in zip(lines, wanted):
            self.check_object(o, want)

    def test_json(self):
        doc = json.loads(export("json"))
        self.assertEqual(doc["model"]["architecture"], "planted")
        self.assertEqual(doc["trace"]["notes"], ["made by formula"])
        self.assertEqual([(b["layer"], b["block"]) for b in doc["blocks"]], [(1, 0), (1, 1), (2, 0), (3, 0)])
        wanted = list(rows())
        self.assertEqual(len(doc["rows"]), len(wanted))
        for o, want in zip(doc["rows"], wanted):
            self.check_object(o, want)

    def test_csv(self):
        lines = list(csv.reader(io.StringIO(export("csv"))))
        self.assertEqual(lines[0], ["Layer", "Token", "ExpertIDs", "ExpertWeights", "Prompt", "Label"])
        self.assertEqual({(line[4], line[5]) for line in lines[1:]}, {("0", "")})
        wanted = [(layer, pos) for _, _, pos, layer, block in rows() if block == 0]
        self.assertEqual(len(lines) - 1, len(wanted))
        for line, (layer, pos) in zip(lines[1:], wanted):
            self.assertEqual((int(line[0]), int(line[1])), (layer, pos))
            self.assertEqual([int(x) for x in line[2].strip("[]").split()], ids(layer, pos))
            self.assertEqual([f32(x) for x in line[3].strip("[]").split()], WEIGHTS)

    def test_selection_csv(self):
        wanted = [f"{layer}," + " ".join(map(str, ids(layer, pos))) for _, _, pos, layer, block in rows() if block == 0]
        self.assertEqual(export("selection-csv").splitlines(), ["layer_id,expert_ids"] + wanted)

    def test_gate_csv_numbers_rows_by_batch(self):
        lines = [line.split(",") for line in export("gate-csv").splitlines()]
        wanted = [(u, pos, layer) for u, _, pos, layer, block in rows() if block == 0]
        self.assertEqual(len(lines), len(wanted))
        for (tag, layer_id, token_id, values), (u, pos, layer) in zip(lines, wanted):
            self.assertEqual((tag, int(layer_id)), ("gate_input", layer))
            self.assertEqual(int(token_id), pos if u < 2 else 0, "a generated token is row 0 of its batch")
            self.assertEqual([float(v) for v in values.split()], columns(layer, pos, 0)["gate_input"])

    def test_log(self):
        text = export("log")
        self.assertTrue(
            text.startswith("=== MoE Expert Selection Log ===\nPrompt:  t100 t110 t120 t130 t140\nTokens: 5\n\n")
        )
        self.assertTrue(text.endswith("\n\n=== Inference Complete ===\n"))
        block = (
            "Layer 2 - Selected Expert IDs (top-4):\n"
            + "".join(f"  Token {pos}: {ids(2, pos)}\n" for pos in (0, 1, 2))
            + "Layer 2 - Expert Routing Weights:\n"
        )
        self.assertIn(block, text)
        self.assertIn("  Token 7: [0.533, 0.267, 0.133, 0.067] (sum=1.000)\n", text)

    def test_npy(self):
        with tempfile.TemporaryDirectory() as tmp:
            out = os.path.join(tmp, "arrays")
            run("export", GOLDEN, "-f", "npy", "-o", out)
            schema = load(out, "schema.json")
            for a in schema["arrays"]:
                array = np.load(os.path.join(out, a["file"]), mmap_mode="r")
                self.assertEqual((list(array.shape), array.dtype), (a["shape"], np.dtype(a["dtype"])), a["file"])
            position = np.load(os.path.join(out, "position.npy"))
            self.assertEqual(position.tolist(), list(range(8)))
            self.assertEqual(np.load(os.path.join(out, "phase.npy")).tolist(), [0] * 5 + [1] * 3)
            self.assertEqual(np.load(os.path.join(out, "token.npy")).tolist(), [100 + 10 * p for p in range(8)])
            self.assertEqual(load(out, "tokens.json")["130"], " t130")
            for layer, block in ((1, 0), (1, 1), (2, 0), (3, 0)):
                folder = os.path.join(out, f"layer-{layer:03}" + (".1" if block else ""))
                where = position[np.load(os.path.join(folder, "token_index.npy"))]
                wanted = [pos for _, _, pos, l, b in rows() if (l, b) == (layer, block)]
                self.assertEqual(where.tolist(), wanted)
                for name in columns(layer, 0, block):
                    array = np.load(os.path.join(folder, name + ".npy"), mmap_mode="r")
                    self.assertEqual(
                        array.tolist(), [columns(layer, pos, block)[name] for pos in wanted], (layer, block, name)
                    )
            self.assertEqual(run("export", GOLDEN, "-f", "npy", "-o", out, ok=False).returncode, 1, "it exists")
            run("export", GOLDEN, "-f", "npy", "-o", out, "--force")
            self.assertEqual(sorted(os.listdir(tmp)), ["arrays"], "nothing temporary stays")

    def test_access_json(self):
        with tempfile.TemporaryDirectory() as tmp:
            out = os.path.join(tmp, "access")
            done = run("export", GOLDEN, "-f", "access-json", "-o", out)
            self.assertIn("planted.gguf", done.stderr, "the model that is not there is named")
            steps = sorted(os.listdir(os.path.join(out, "traces")))
            self.assertEqual(steps, [f"token-{i:05}.json" for i in range(4)], "the prompt's two ubatches are one batch")
            for i, name in enumerate(steps):
                step = load(out, "traces", name)
                ubatches = UBATCHES[:2] if i == 0 else [UBATCHES[i + 1]]
                self.assertEqual(
                    (step["phase"], step["n_tokens"]), ("decode" if i else "prefill", sum(map(len, ubatches)))
                )
                wanted = []
                for positions in ubatches:
                    wanted += [
                        {
                            "operation_type": "MUL_MAT",
                            "dst_name": "ffn_moe_logits-1",
                            "layer_id": 1,
                            "sources": [{"name": "blk.1.ffn_gate_inp.weight"}],
                        },
                        {
                            "operation_type": "MUL_MAT_ID",
                            "dst_name": "ffn_moe_gate-1",
                            "layer_id": 1,
                            "sources": [{"name": "blk.1.ffn_gate_exps.weight"}],
                            "expert_ids": [ids(1, p) for p in positions],
                            "num_experts": K,
                        },
                        {
                            "operation_type": "MUL_MAT",
                            "dst_name": "result_output",
                            "layer_id": -1,
                            "sources": [{"name": "output.weight"}],
                        },
                    ]
                self.assertEqual(step["entries"], wanted)

    @unittest.skipIf(pandas is None, "python3-pandas is not installed")
    def test_pandas(self):
        frame = pandas.read_json(io.StringIO(export("jsonl")), lines=True)
        self.assertEqual(len(frame), len(list(rows())))
        self.assertEqual(frame[frame.layer == 2].ids.tolist(), [ids(2, p) for p in range(8)])
        table = pandas.read_csv(io.StringIO(export("csv")))
        self.assertEqual(table.columns.tolist(), ["Layer", "Token", "ExpertIDs", "ExpertWeights", "Prompt", "Label"])

    def test_an_export_is_read_back_as_a_log(self):
        with tempfile.TemporaryDirectory() as tmp:
            for form in ("csv", "selection-csv", "log"):
                path = os.path.join(tmp, form)
                run("export", GOLDEN, "-f", form, "-o", path)
                again = run("export", path, "-f", "selection-csv").stdout
                self.assertEqual(again, export("selection-csv"), form)

    def test_errors(self):
        done = run("export", GOLDEN, "-f", "nonsense", ok=False)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1))
        done = run("export", "/nonexistent", "-f", "csv", ok=False)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))
        done = run("export", GOLDEN, "-f", "npy", ok=False)
        self.assertEqual(done.returncode, 2, "a folder needs a name")
        if os.path.exists("/dev/full"):
            with open("/dev/full", "w") as full:
                done = subprocess.run(
                    [MOESCOPE, "export", GOLDEN, "-f", "jsonl"], stdout=full, stderr=subprocess.PIPE, text=True
                )
            self.assertEqual(done.returncode, 1)
            self.assertIn("cannot write", done.stderr)


class Check(unittest.TestCase):
    def test_whole_and_cut(self):
        self.assertTrue(json.loads(run("check", GOLDEN, "--json").stdout)["ok"])
        with tempfile.TemporaryDirectory() as tmp:
            path = os.path.join(tmp, "cut.moetrace")
            with open(GOLDEN, "rb") as whole, open(path, "wb") as cut:
                cut.write(whole.read()[:-100])
            done = run("check", path, "--json", ok=False)
            self.assertEqual(done.returncode, 1)
            self.assertEqual([f["name"] for f in json.loads(done.stdout)["findings"]], ["file-cut"])

    def test_info(self):
        info = json.loads(run("info", GOLDEN, "--json").stdout)
        self.assertEqual((info["kind"], info["model"]["n_expert"], len(info["blocks"])), ("trace", 16, 4))
        self.assertIn("planted", run("info", GOLDEN).stdout)


if __name__ == "__main__":
    unittest.main()
