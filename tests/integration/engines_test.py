"""Files of other engines, written by torch, numpy and json with known routing, come back exactly; hostile ones are refused with
one line, and nothing in them is executed."""

import base64
import collections
import io
import json
import os
import pickle
import resource
import struct
import subprocess
import tempfile
import unittest
import zipfile

import numpy as np

try:
    import torch
except ImportError:
    torch = None

MOESCOPE = os.environ["MOESCOPE_BIN"]
GOLDEN = os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "tests", "golden", "v1.moetrace")


def run(*arguments):
    return subprocess.run([MOESCOPE, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def rows(path):
    done = run("export", path, "-f", "jsonl")
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def counts(path):
    done = run("analyze", "frequency", path, "--json")
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return {(e["layer"], e["expert"]): e["count"] for e in json.loads(done.stdout)["experts"]}


def counted(ids_by_layer):
    """(layer, expert) -> count, of {layer: rows of ids}."""
    return collections.Counter((l, int(e)) for l, ids in ids_by_layer.items() for e in np.ravel(ids))


def nonzero(table):
    return {k: v for k, v in table.items() if v}


def routing(seed, n, experts=16, k=4):
    r = np.random.default_rng(seed)
    return np.argsort(r.random((n, experts)), axis=1)[:, :k]


class Engines(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def at(self, name):
        return os.path.join(self.folder, name)

    def notes(self, path):
        return " ".join(json.loads(run("info", path, "--json").stdout)["notes"])

    def every_verb_takes(self, path, with_rows=True):
        verbs = [
            ["stats", path],
            ["info", path],
            ["check", path],
            ["analyze", "frequency", path],
            ["report", path, "-o", self.at("page.html"), "--force"],
            ["sql", path, "SELECT sum(selections) FROM experts"],
        ]
        if with_rows:
            verbs += [["analyze", "compare", path, path], ["analyze", "coactivation", path]]
        for verb in verbs:
            done = run(*verb)
            self.assertEqual(done.returncode, 0, f"{verb}: {done.stderr}")


@unittest.skipIf(torch is None, "needs Debian's python3-torch")
class Torch(Engines):
    def save(self, value, name="x.pt"):
        torch.save(value, self.at(name))
        return self.at(name)

    def test_sglang_stat(self):
        r = np.random.default_rng(1)
        logical = r.integers(0, 50, (3, 5, 12)).astype("i4")
        logical[:, 1] = 0  # a dense layer
        path = self.save(
            {"rank": 0, "logical_count": torch.from_numpy(logical), "average_utilization_rate_over_window": None}
        )
        total = logical.sum(0)
        want = {(l, e): int(total[l, e]) for l in range(5) for e in range(12)}
        self.assertEqual(nonzero(counts(path)), nonzero(want))
        self.assertIn("dense", self.notes(path))
        self.assertIn("how many experts a row selects", self.notes(path))
        self.every_verb_takes(path, with_rows=False)
        summary = run("stats", path).stdout
        self.assertNotIn("nan", summary)
        self.assertNotIn("top-0", summary)

    def test_sglang_per_token_in_logical_experts(self):
        layers, k, logical, physical = 4, 8, 16, 20
        r = np.random.default_rng(2)
        to_logical = np.stack(
            [np.concatenate([r.permutation(logical), r.integers(0, logical, 4)]) for _ in range(layers)]
        )
        records, want = [], []
        for step, n in enumerate((7, 1, 1, 0, 3)):
            topk = np.full((layers, n, k), -1, "i4")
            for l in range(layers):
                if l == 0:
                    continue  # dense: nothing but padding
                for t in range(n):  # different experts, each at any of its places
                    chosen = r.permutation(logical)[:6]
                    topk[l, t, :6] = [r.choice(np.flatnonzero(to_logical[l] == e)) for e in chosen]
            tokens, positions = r.integers(0, 999, n).tolist(), list(range(100 * step, 100 * step + n))
            records.append(
                {
                    "forward_pass_id": step,
                    "rank": 0,
                    "gatherer_key": "primary",
                    "input_ids": tokens,
                    "positions": torch.tensor(positions) if step else positions,
                    "extend_seq_lens": [n] if step == 0 else None,
                    "forward_mode": 1 if step in (0, 4) else 2,
                    "topk_ids_of_layer": torch.from_numpy(topk),
                    "misc_objects": [],
                }
            )
            for l in range(1, layers):
                for t in range(n):
                    ids = to_logical[l][topk[l, t, :6]].tolist()
                    want.append((l, "decode" if step in (1, 2) else "prefill", tokens[t], positions[t], ids))
        path = self.save({"records": records, "last_physical_to_logical_map": torch.from_numpy(to_logical)})
        got = [(r["layer"], r["phase"], r["token"], r["position"], r["ids"]) for r in rows(path)]
        self.assertEqual(sorted(map(repr, got)), sorted(map(repr, want)))
        self.assertEqual({r["sequence"] for r in rows(path)}, {None})
        self.every_verb_takes(path)

    def test_sglang_per_pass(self):
        r = np.random.default_rng(3)
        to_logical = np.stack([np.concatenate([r.permutation(6), [0, 5]]) for _ in range(2)])
        passes = r.integers(0, 9, (4, 2, 8))
        records = [
            {"forward_pass_id": i, "rank": 0, "global_physical_count": torch.from_numpy(p)}
            for i, p in enumerate(passes)
        ]
        path = self.save({"records": records, "last_physical_to_logical_map": torch.from_numpy(to_logical)})
        want = collections.Counter()
        for l in range(2):
            for p in range(8):
                want[l, int(to_logical[l, p])] += int(passes[:, l, p].sum())
        self.assertEqual(nonzero(counts(path)), nonzero(want))

    def test_ktransformers(self):
        freq = np.random.default_rng(4).integers(0, 99, (3, 7))
        for tensor in (
            torch.from_numpy(freq),
            torch.from_numpy(freq.astype("f4")),
            torch.from_numpy(freq).T.contiguous().T,
        ):
            path = self.save({"activation_freq": tensor})
            self.assertEqual(counts(path), {(l, e): int(freq[l, e]) for l in range(3) for e in range(7)})
        done = run("stats", self.save({"activation_freq": torch.rand(3, 7)}))
        self.assertEqual(done.returncode, 1)
        self.assertIn("no count", done.stderr)

    def test_cerebras(self):
        ids = {l: routing(10 + l, 50) for l in (0, 2)}
        observations = {}
        for l, chosen in ids.items():
            freq = torch.from_numpy(np.bincount(chosen.ravel(), minlength=16))
            observations[l] = {
                "total_tokens": torch.tensor(50),
                "expert_frequency": freq,
                "pairwise_expert_frequency": freq[None, :] + freq[:, None],
                "ean_sum": torch.rand(16, dtype=torch.float64),
                "reap": torch.rand(16),
                "ttm_similarity_matrix": torch.rand(16, 16).to(torch.bfloat16),
            }
        path = self.save(observations)
        self.assertEqual(nonzero(counts(path)), dict(counted(ids)))
        info = json.loads(run("info", path, "--json").stdout)
        self.assertEqual({b["n_expert_used"] for b in info["blocks"]}, {4})
        self.every_verb_takes(path, with_rows=False)

    def test_other_files_of_torch_are_named(self):
        for value in ({"weight": torch.rand(3)}, [torch.rand(2)], 7, {}, collections.OrderedDict(a=torch.rand(2))):
            done = run("stats", self.save(value))
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            self.assertIn("recorder", done.stderr)
        legacy = self.at("legacy.pt")
        torch.save({"a": 1}, legacy, _use_new_zipfile_serialization=False)
        done = run("stats", legacy)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)


@unittest.skipIf(torch is None, "needs Debian's python3-torch")
class Exports(Engines):
    """What is written for other engines, read by torch alone; of the golden trace, whose routing is a formula."""

    E, K, LAYERS, UBATCHES = 16, 4, (1, 2, 3), [[0, 1, 2], [3, 4], [5], [6], [7]]
    WEIGHTS = [2.0 ** (-1 - r) / (1 - 2.0**-4) for r in range(4)]

    def loaded(self, form):
        path = self.at(form + ".pt")
        done = run("export", GOLDEN, "-f", form, "-o", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("second MoE block", done.stderr)
        return torch.load(path, weights_only=True), path

    def sums(self, layer):
        """(tokens, count, Σ weight, Σ norm, Σ weight · norm) of the layer's first block; the last one computes the last row alone."""
        n, table = 0, np.zeros((4, self.E))
        for positions in self.UBATCHES:
            for pos in positions if layer != 3 else positions[-1:]:
                n += 1
                for rank, weight in enumerate(np.float32(self.WEIGHTS).astype("f8")):
                    e = (7 * pos + 3 * layer + rank) % self.E
                    norm = 1 + layer + 0.125 * e
                    table[:, e] += 1, weight, norm, weight * norm
        return (n, *table)

    def test_sglang_stat(self):
        value, path = self.loaded("sglang-stat")
        self.assertEqual(set(value), {"rank", "logical_count", "average_utilization_rate_over_window"})
        self.assertEqual((value["logical_count"].dtype, tuple(value["logical_count"].shape)), (torch.int32, (1, 4, 16)))
        want = [np.zeros(16) if l == 0 else self.sums(l)[1] for l in range(4)]
        np.testing.assert_array_equal(value["logical_count"][0].numpy(), want)
        self.assertEqual(
            nonzero(counts(path)), {(l, e): int(want[l][e]) for l in range(4) for e in range(16) if want[l][e]}
        )

    def test_ktransformers(self):
        value, path = self.loaded("ktransformers")
        want = [np.zeros(16) if l == 0 else self.sums(l)[1] for l in range(4)]
        np.testing.assert_array_equal(value["activation_freq"].numpy(), want)
        self.assertEqual(sum(counts(path).values()), int(np.sum(want)))

    def test_cerebras(self):
        value, path = self.loaded("cerebras")
        self.assertEqual(set(value), {1, 2, 3})
        for layer, facts in value.items():
            n, count, weight, norm, weighted = self.sums(layer)
            self.assertEqual(int(facts["total_tokens"]), n)
            np.testing.assert_array_equal(facts["expert_frequency"].numpy(), count)
            np.testing.assert_array_equal(facts["pairwise_expert_frequency"].numpy(), count[:, None] + count[None, :])
            for name, want in (
                ("weighted_expert_frequency_sum", weight),
                ("ean_sum", norm),
                ("weighted_ean_sum", weighted),
                ("ean_mean", norm / np.maximum(count, 1)),
                ("reap", weighted / np.maximum(count, 1)),
            ):
                np.testing.assert_allclose(facts[name].numpy(), want, rtol=1e-12, err_msg=name)
        want = {(l, e): int(self.sums(l)[1][e]) for l in self.LAYERS for e in range(self.E)}
        self.assertEqual(nonzero(counts(path)), nonzero(want))

    def test_counts_go_round(self):
        """SGLang's counts in, ktransformers' out."""
        logical = np.random.default_rng(5).integers(0, 1 << 30, (4, 3, 8)).astype("i4")
        torch.save({"rank": 0, "logical_count": torch.from_numpy(logical)}, self.at("in.pt"))
        run("export", self.at("in.pt"), "-f", "ktransformers", "-o", self.at("out.pt")).check_returncode()
        want = logical.astype("i8").sum(0)
        np.testing.assert_array_equal(torch.load(self.at("out.pt"))["activation_freq"].numpy(), want)
        done = run("export", self.at("in.pt"), "-f", "sglang-stat", "-o", self.at("again.pt"))
        self.assertIn("64 bits", done.stderr)
        np.testing.assert_array_equal(torch.load(self.at("again.pt"))["logical_count"][0].numpy(), want)
        self.assertEqual(run("export", self.at("in.pt"), "-f", "cerebras", "-o", self.at("no.pt")).returncode, 1)


class Hope(Engines):
    MODEL = os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "models", "demo.gguf")

    def plan(self, *options):
        done = run("prune", self.MODEL, "--dry-run", "--json", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return {int(l): layer["kept"] for l, layer in json.loads(done.stdout)["layers"].items()}

    def test_a_pruneset_says_what_goes_and_comes_back(self):
        r = np.random.default_rng(1)
        gone = {l: sorted(r.permutation(32)[:9].tolist()) for l in range(6)}
        with open(self.at("pruneset.json"), "w") as f:
            json.dump({str(l): ids[::-1] for l, ids in gone.items()}, f)
        kept = {l: [e for e in range(32) if e not in gone[l]] for l in gone}
        self.assertEqual(self.plan("--drop-ids", self.at("pruneset.json")), kept)
        with open(self.at("keep.json"), "w") as f:
            json.dump({str(l): ids for l, ids in kept.items()}, f)
        self.assertEqual(self.plan("--keep-ids", self.at("keep.json"), "--pruneset", self.at("back.json")), kept)
        with open(self.at("back.json")) as f:
            self.assertEqual({int(l): ids for l, ids in json.load(f).items()}, gone)

    def test_what_cannot_be(self):
        for value, code in (({"0": [32]}, 2), ({"0": [1]}, None), ({"0": ["a"]}, 1)):
            with open(self.at("bad.json"), "w") as f:
                json.dump(value, f)
            done = run("prune", self.MODEL, "--dry-run", "--drop-ids", self.at("bad.json"))
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertIn(done.returncode, (code,) if code else (1, 2))
        done = run("prune", self.MODEL, "--dry-run", "--drop-ids", self.at("bad.json"), "--keep", "3")
        self.assertEqual(done.returncode, 2)


class Vllm(Engines):
    def response(self, seed, n_prompt, lengths, cached=0, npy=False, names=True):
        """(response, rows that it means), two layers of which the first is dense."""
        r = np.random.default_rng(seed)
        total = n_prompt + max(lengths, default=0)
        tokens = r.integers(0, 500, total).tolist()
        ids = np.stack([np.zeros((total, 4), int), routing(seed, total), routing(seed + 1, total)], axis=1)
        cube = ids.copy()
        cube[:cached] = -1
        choices = []
        for n in lengths:
            part = cube[n_prompt : n_prompt + n]
            choice = {"index": len(choices), "token_ids": tokens[n_prompt : n_prompt + n]}
            if npy:
                data = io.BytesIO()
                np.save(data, cube[: n_prompt + n].astype("i2"))
                choice["routed_experts"] = base64.b64encode(data.getvalue()).decode()
            else:
                choice["routed_experts"] = part.tolist()
            choices.append(choice)
        response = {"id": "x", "choices": choices, "prompt_token_ids": tokens[:n_prompt]}
        if not npy:
            response["prompt_routed_experts"] = cube[:n_prompt].tolist()
        want = []
        for c, n in enumerate(lengths):
            for t in range(0 if c == 0 or npy else n_prompt, n_prompt + n):
                for l in (1, 2):
                    if t >= cached:
                        phase = "prefill" if t < n_prompt else "decode"
                        want.append((l, phase, c, t, tokens[t], ids[t, l].tolist()))
        return response, want

    def got(self, path):
        return sorted((r["layer"], r["phase"], r["sequence"], r["position"], r["token"], r["ids"]) for r in rows(path))

    def test_responses(self):
        for npy in (False, True):
            response, want = self.response(1, 6, [5, 3], cached=2, npy=npy)
            with open(self.at("r.json"), "w") as f:
                json.dump(response, f, indent=1)
            self.assertEqual(self.got(self.at("r.json")), sorted(want))
        self.every_verb_takes(self.at("r.json"))
        self.assertIn("dense", self.notes(self.at("r.json")))

    def test_many_responses_one_a_line(self):
        want = []
        with open(self.at("r.jsonl"), "w") as f:
            for i in range(5):
                response, rows_ = self.response(20 + i, 4 + i, [3])
                f.write(json.dumps(response) + "\n\n")
                want += [(l, p, s + i, t, token, ids) for l, p, s, t, token, ids in rows_]
        self.assertEqual(self.got(self.at("r.jsonl")), sorted(want))

    def test_npy(self):
        ids = np.stack([routing(5, 700), routing(6, 700)], axis=1)
        for array in (ids.astype("i2"), np.asfortranarray(ids.astype("i8")), ids.astype("u1")):
            np.save(self.at("x.npy"), array)
            got = rows(self.at("x.npy"))
            self.assertEqual(len(got), 1400)
            for row in got:
                self.assertEqual(row["ids"], ids[row["position"], row["layer"]].tolist())
        self.assertIn("largest id + 1", self.notes(self.at("x.npy")))
        self.every_verb_takes(self.at("x.npy"))

    def test_bad_ones(self):
        bad = {
            "uneven.json": {"choices": [{"routed_experts": [[[1, 2]], [[3]]]}]},
            "text.json": {"choices": [{"routed_experts": [[["a"]]]}]},
            "none.json": {"choices": [{"text": "hello"}]},
            "base64.json": {"choices": [{"routed_experts": "§§§"}]},
            "no-npy.json": {"choices": [{"routed_experts": "aGVsbG8gd29ybGQ="}]},
            "large.json": {"choices": [{"routed_experts": [[[1 << 30]]]}]},
            "deep.json": None,
        }
        for name, value in bad.items():
            with open(self.at(name), "w") as f:
                f.write("[" * 200000 if value is None else json.dumps(value))
            done = run("stats", self.at(name))
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), f"{name}: {done.stderr}")
        for name, data in {
            "short.npy": b"\x93NUMPY\x01\x00",
            "objects.npy": b"\x93NUMPY\x01\x00\x46\x00"
            + b"{'descr': '|O', 'fortran_order': False, 'shape': (1, 1, 1), }".ljust(69)
            + b"\n",
            "huge.npy": b"\x93NUMPY\x01\x00\x76\x00"
            + b"{'descr': '<i4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), }".ljust(117)
            + b"\n",
            "cut.npy": b"\x93NUMPY\x01\x00\x46\x00"
            + b"{'descr': '<i4', 'fortran_order': False, 'shape': (9, 9, 9), }".ljust(69)
            + b"\nabc",
        }.items():
            with open(self.at(name), "wb") as f:
                f.write(data)
            done = run("stats", self.at(name))
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), f"{name}: {done.stderr}")


class Logits(Engines):
    def test_router_logits(self):
        r = np.random.default_rng(7)
        logits = {f"layer_{l}": r.standard_normal((600, 24)).astype("f4") for l in (0, 3, 11)}
        ids = r.integers(0, 99, (2, 300))
        for save in (np.savez, np.savez_compressed):
            save(self.at("x.npz"), top_k=3, input_ids=ids, **logits)
            got = rows(self.at("x.npz"))
            self.assertEqual(len(got), 1800)
            for row in got:
                want = logits[f"layer_{row['layer']}"][300 * row["sequence"] + row["position"]]
                np.testing.assert_array_equal(np.array(row["logits"], "f4"), want)
                self.assertEqual(row["ids"], np.argsort(-want)[:3].tolist())
                self.assertEqual(row["token"], ids[row["sequence"], row["position"]])
        self.every_verb_takes(self.at("x.npz"))

    def test_without_top_k_nothing_is_selected(self):
        logits = np.random.default_rng(8).standard_normal((5, 4)).astype("f2")
        np.savez(self.at("y.npz"), logits)
        (got,) = {tuple(r["ids"]) for r in rows(self.at("y.npz"))}
        self.assertEqual(got, ())
        got = np.array([r["logits"] for r in rows(self.at("y.npz"))], "f4")
        np.testing.assert_array_equal(got, logits.astype("f4"))
        self.assertIn("logits alone", self.notes(self.at("y.npz")))


class Megatron(Engines):
    def test_router_trace(self):
        want, lines = collections.Counter(), []
        in_order = []
        for step in range(3):
            for layer in (1, 2, 4):
                ids = np.sort(routing(100 * step + layer, 9), axis=1)
                lines.append(
                    {
                        "step": step,
                        "stage": "pre_dispatch",
                        "block": "decoder",
                        "layer": layer,
                        "rank": 0,
                        "num_tokens": 9,
                        "topk": 4,
                        "top_indices": ids.tolist(),
                    }
                )
                in_order += [(step, layer, row) for row in ids.tolist()]
                want.update(counted({layer: ids}))
            ids = np.sort(routing(100 * step + 99, 9), axis=1)
            lines.append(
                {
                    "step": step,
                    "stage": "pre_dispatch",
                    "block": "mtp",
                    "layer": 1,
                    "mtp_idx": 0,
                    "rank": 0,
                    "num_tokens": 9,
                    "topk": 4,
                    "top_indices": ids.tolist(),
                }
            )
            in_order += [(step, 5, row) for row in ids.tolist()]
            want.update(counted({5: ids}))
        path = self.at("router_trace_rank0.jsonl")
        with open(path, "w") as f:
            f.writelines(json.dumps(line) + "\n" for line in lines)
        self.assertEqual([(r["batch"], r["layer"], r["ids"]) for r in rows(path)], in_order)
        self.assertEqual(nonzero(counts(path)), dict(want))
        self.assertIn("rank", self.notes(path))
        self.every_verb_takes(path)
        with open(path, "a") as f:
            f.write('{"step": 9, "layer": ')
        done = run("stats", path)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertIn("line 13", done.stderr)


def stored_zip(members):
    """An archive of stored members, as torch.save writes them."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as z:
        for name, content in members.items():
            z.writestr(name, content)
    return data.getvalue()


class Hostile(Engines):
    """Nothing that a pickle or an archive says is done; each is refused in one line, quickly and in little memory."""

    def refused(self, data, *words, limit_mib=400):
        with open(self.at("hostile.pt"), "wb") as f:
            f.write(data)
        limits = lambda: (
            resource.setrlimit(resource.RLIMIT_DATA, (limit_mib << 20, limit_mib << 20)),
            resource.setrlimit(resource.RLIMIT_CPU, (20, 20)),
        )
        command = [MOESCOPE, "stats", self.at("hostile.pt")]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", preexec_fn=limits, timeout=300)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        for word in ("hostile.pt", *words):
            self.assertIn(word, done.stderr)

    def pickled(self, data):
        return stored_zip({"archive/data.pkl": data, "archive/version": b"3\n"})

    def test_calls_are_refused_and_not_made(self):
        canary = self.at("canary")

        class Evil:
            def __init__(self, callee, arguments):
                self.made = callee, arguments

            def __reduce__(self):
                return self.made

        touch = f"touch {canary}"
        for callee, arguments, name in (
            (os.system, (touch,), "system"),
            (subprocess.call, (["touch", canary],), ".call"),
            (eval, (f"open({canary!r}, 'w')",), "eval"),
            (exec, (f"open({canary!r}, 'w')",), "exec"),
            (getattr, (os, "system"), "getattr"),
        ):
            for protocol in (2, 4):
                try:
                    data = pickle.dumps({"logical_count": Evil(callee, arguments)}, protocol)
                except TypeError:
                    continue  # modules cannot be pickled
                self.refused(self.pickled(data), name, "nothing was executed")
        for data in (
            b"\x80\x02cos\nsystem\nX" + struct.pack("<I", len(touch)) + touch.encode() + b"\x85R.",
            b"\x80\x02cposix\nsystem\n.",
            b"\x80\x02(X\x02\x00\x00\x00osios\nsystem\n.",  # INST
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01tR.",
            b"\x80\x02ccollections\nOrderedDict\n]q\x00(K\x01K\x02e\x85R.",
            b"\x80\x02ctorch\nload\n.",
            b"\x80\x02}q\x00X\x01\x00\x00\x00ab.",  # BUILD
            b"\x80\x02\x82\x01.",  # EXT1
            b"\x80\x02X\x05\x00\x00\x00helloQ.",
            b"\x80\x02c" + b"x" * 100000 + b"\ny\n.",
        ):
            self.refused(self.pickled(data))
        self.assertFalse(os.path.exists(canary))

    def test_pickles_that_make_no_sense(self):
        nested = b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b"."
        for data in (
            b"",
            b"\x80\x02",
            b"\x80\x02.",
            b"\x80\x02K\x01K\x02.",
            b"\x80\x02h\x05.",
            b"\x80\x02e.",
            b"\x80\x02(.",
            b"\x80\x02K\x01(tR.",
            b"\x80\x02\x8a\xff" + b"\x01" * 255 + b".",
            b"\x80\x02X\xff\xff\xff\xff.",
            b"\x80\x02\x8d" + b"\xff" * 8 + b".",
            b"\x80\x02\x8b" + b"\xff" * 4 + b".",
            b"\x80\x02K\x01K\x02s.",
            b"\x80\x02}K\x01K\x02K\x03es.",
            nested,
            b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
            b"\x80\x02" + b"(" * 3_000_000 + b".",
        ):
            self.refused(self.pickled(data))
        self.refused(self.pickled(b"\x80\x02" + b"]" * 5_000_000), "too many", limit_mib=700)

    def tensor_pickle(self, key="0", offset=0, shape=(2, 2), strides=(2, 1), storage="IntStorage"):
        number = lambda n: b"\x8a\x08" + struct.pack("<q", n)
        text = lambda t: b"X" + struct.pack("<I", len(t)) + t.encode()
        pid = b"(" + text("storage") + b"ctorch\n" + storage.encode() + b"\n" + text(key) + text("cpu") + b"K\x04tQ"
        sizes = lambda s: b"(" + b"".join(number(n) for n in s) + b"t"
        return (
            b"\x80\x02}"
            + text("activation_freq")
            + b"ctorch._utils\n_rebuild_tensor_v2\n("
            + pid
            + number(offset)
            + sizes(shape)
            + sizes(strides)
            + b"\x89ccollections\nOrderedDict\n)RtRs."
        )

    def test_tensors_that_lie(self):
        content = np.arange(4, dtype="<i4").tobytes()
        good = stored_zip({"archive/data.pkl": self.tensor_pickle(), "archive/data/0": content})
        with open(self.at("good.pt"), "wb") as f:
            f.write(good)
        self.assertEqual(counts(self.at("good.pt")), {(0, 0): 0, (0, 1): 1, (1, 0): 2, (1, 1): 3})
        for how in (
            {"shape": (3, 2)},
            {"shape": (2, 2), "strides": (1 << 40, 1)},
            {"shape": (1 << 62, 1 << 62), "strides": (1, 1)},
            {"shape": (1 << 40, 2), "strides": (0, 0)},
            {"offset": 1},
            {"offset": 1 << 62},
            {"offset": -1},
            {"shape": (-2, 2)},
            {"strides": (2,)},
            {"key": "1"},
            {"key": "../../../../etc/passwd"},
            {"storage": "QInt8Storage"},
            {"shape": (2,) * 9, "strides": (1,) * 9},
        ):
            self.refused(stored_zip({"archive/data.pkl": self.tensor_pickle(**how), "archive/data/0": content}))

    def test_archives_that_are_cut_or_lie(self):
        good = stored_zip({"archive/data.pkl": self.tensor_pickle(), "archive/data/0": bytes(16)})
        for n in list(range(4, len(good), 7)) + [len(good) - 1]:
            self.refused(good[:n])
        end = good.rindex(b"PK\x05\x06")
        directory = good.index(b"PK\x01\x02")
        patched = lambda at, value: good[:at] + value + good[at + len(value) :]
        for data in (
            patched(end + 12, b"\xff\xff\xff\x7f"),  # the directory's size
            patched(end + 16, b"\xff\xff\xff\x7f"),  # its place
            patched(end + 10, b"\xff\xff"),  # its members
            patched(directory + 20, b"\xff\xff\xff\x7f"),  # a member's packed size
            patched(directory + 24, b"\xff\xff\xff\x7f"),  # its size
            patched(directory + 24, b"\xff\xff\xff\xff"),  # which is in a field that is not there
            patched(directory + 42, b"\xff\xff\xff\x7f"),  # its place
            patched(directory + 28, b"\xff\xff"),  # the length of its name
            patched(directory + 8, b"\x01\x00"),  # encrypted
            patched(directory + 10, b"\x0c\x00"),  # bzip2
            b"PK\x03\x04" + bytes(100),
            b"PK\x03\x04" + b"PK\x05\x06" * 20000,
        ):
            self.refused(data)

    def test_bombs(self):
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as z:
            header = (
                b"\x93NUMPY\x01\x00\x76\x00"
                + b"{'descr': '<f4', 'fortran_order': False, 'shape': (4194304, 64), }".ljust(117)
                + b"\n"
            )
            with z.open("layer_0.npy", "w") as f:
                f.write(header)
                for _ in range(256):
                    f.write(bytes(4 << 20))
        self.refused(bomb.getvalue(), "unpack")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr("archive/data.pkl", b"\x80\x02" + b"N" * 50_000_000 + b".")
        self.refused(packed.getvalue(), "compressed")
        # A member that unpacks to more than it says.
        lying = io.BytesIO()
        with zipfile.ZipFile(lying, "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr("layer_0.npy", os.urandom(1000) + bytes(100000))
        data = bytearray(lying.getvalue())
        data[data.index(b"PK\x01\x02") + 24 :][:4] = struct.pack("<I", 2000)
        at = data.index(b"PK\x01\x02") + 24
        data[at : at + 4] = struct.pack("<I", 2000)
        self.refused(bytes(data), "unpack")

    def test_damaged_arrays_are_noticed(self):
        np.savez_compressed(self.at("x.npz"), layer_0=np.random.default_rng(1).standard_normal((50, 8)).astype("f4"))
        with open(self.at("x.npz"), "rb") as f:
            data = bytearray(f.read())
        self.assertEqual(run("stats", self.at("x.npz")).returncode, 0)
        data[200] ^= 1
        self.refused(bytes(data))


if __name__ == "__main__":
    unittest.main()
