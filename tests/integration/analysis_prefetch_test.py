"""`analyze prefetch` against numpy on the recorded columns and a second, plainly written simulation; `analyze cache
--eviction-trace` against a replay; the routers of every planted family on their own inputs; a planted Markov routing."""

import csv
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import moescope
from trace_writer import TraceWriter

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
DEMO = os.path.join(SOURCE, "models", "demo.gguf")
NAMES = ["previous token", "hot list", "co-activated", "router, 1 ahead", "router, 2 ahead", "union"]


def run(*args, code=0):
    done = subprocess.run([MOESCOPE, *map(str, args)], capture_output=True, text=True, errors="replace", timeout=600)
    assert done.returncode == code, f"{args}: exit {done.returncode}, {done.stderr}"
    return done.stdout


def answer(*args):
    return json.loads(run("analyze", *args, "--json"))


def ratio_interval(part, whole):
    """Cochran 1977, Eq. 6.13, without finite-population correction."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    n, ratio = len(part), part.sum() / whole.sum()
    half = 1.959963984540054 * math.sqrt(n / (n - 1) * ((part - ratio * whole) ** 2).sum()) / whole.sum()
    return ratio - half, ratio + half


def routers(model):
    """{layer: [n_expert, n_embd]} float64 of an F32 file, found by `moescope map`."""
    found = {}
    with open(model, "rb") as f:
        for row in csv.DictReader(io.StringIO(run("map", model, "--absolute"))):
            if row["tensor_name"].endswith("ffn_gate_inp.weight"):
                n_embd, n_expert = int(row["dim0"]), int(row["dim1"])
                assert int(row["size_bytes"]) == 4 * n_embd * n_expert
                f.seek(int(row["file_offset"]))
                found[int(row["layer_id"])] = np.frombuffer(f.read(4 * n_embd * n_expert), "<f4").reshape(
                    n_expert, n_embd
                )
    return found


class Recording:
    """The decoded tokens of a trace, one to a ubatch: ids[layer][token], inputs[layer][token], sequence[token]."""

    def __init__(self, path):
        trace = moescope.open(path)
        tokens = trace.tokens
        number = np.cumsum(np.r_[0, (np.diff(tokens.position) <= 0).astype(int)])  # a position that does not grow
        decoded = np.flatnonzero(tokens.phase == 1)
        assert len(set(tokens.ubatch[decoded])) == len(decoded)
        self.sequence, self.n_sequences = number[decoded], int(number[-1]) + 1
        self.layers = sorted(b.layer for b in trace.blocks)
        self.n_expert = trace.blocks[0].n_expert
        self.k = trace.blocks[0].n_expert_used
        self.ids, self.inputs = {}, {}
        for il in self.layers:
            block = trace.layers[il]
            row = {int(t): r for r, t in enumerate(block.token_index)}
            rows = [row[int(t)] for t in decoded]
            self.ids[il] = block.ids[rows].astype(int)
            self.inputs[il] = block.gate_input[rows].astype(float)
        self.n = len(decoded)
        self.half = lambda t: int(t >= self.n // 2)


def forecasts(r, gates):
    """{name: lists[layer][token]}, the likeliest first, at most 3k; None where nothing is foreseen."""
    most = min(3 * r.k, r.n_expert)
    lists = {name: {il: [None] * r.n for il in r.layers} for name in NAMES}
    for at, il in enumerate(r.layers):
        before = r.layers[at - 1] if at > 0 else None
        count = [np.zeros(r.n_expert, int) for _ in range(2)]
        pair = [np.zeros((r.n_expert, r.n_expert), int) for _ in range(2)]
        for t in range(r.n):
            count[r.half(t)][r.ids[il][t]] += 1
            if before is not None:
                pair[r.half(t)][np.ix_(r.ids[before][t], r.ids[il][t])] += 1
        before_count = [np.zeros(r.n_expert, int) for _ in range(2)]
        for t in range(r.n) if before is not None else []:
            before_count[r.half(t)][r.ids[before][t]] += 1
        recent = []
        for t in range(r.n):
            other = 1 - r.half(t)
            if t == 0 or r.sequence[t] != r.sequence[t - 1]:
                recent = []
            lists["previous token"][il][t] = list(recent) or None
            mine = list(r.ids[il][t])
            recent = (mine + [e for e in recent if e not in mine])[:most]
            lists["hot list"][il][t] = sorted(range(r.n_expert), key=lambda e: (-count[other][e], e))[:most]
            if before is None:
                continue
            score = np.zeros(r.n_expert)
            for a in r.ids[before][t]:
                if before_count[other][a]:
                    score += pair[other][a] / before_count[other][a]
            lists["co-activated"][il][t] = sorted(range(r.n_expert), key=lambda e: (-score[e], -count[other][e], e))[
                :most
            ]
            for distance, name in ((1, "router, 1 ahead"), (2, "router, 2 ahead")):
                if at >= distance:
                    logits = (gates[il].astype(float) @ r.inputs[r.layers[at - distance]][t]).astype(np.float32)
                    lists[name][il][t] = sorted(range(r.n_expert), key=lambda e: (-logits[e], e))[:most]
        for t in range(r.n):
            ways = [lists[n][il][t] or [] for n in ("router, 1 ahead", "co-activated", "previous token")]
            longest, mixed = max(map(len, ways)), []
            for i in range(longest):
                for way in ways:
                    if i < len(way) and way[i] not in mixed:
                        mixed.append(way[i])
            lists["union"][il][t] = mixed[:longest] or None
    return lists


class Line:
    """One transfer after another; what is needed now goes first, what has begun is finished. Written from the docs."""

    def __init__(self):
        self.free, self.queue, self.begun = (
            0.0,
            [],
            {},
        )  # queue: [turn, expert, time, said]; begun: {(turn, expert): arrival}
        self.now = self.said = 0.0
        self.ahead = self.vain = self.demand = self.stall = 0.0

    def foresee(self, turn, expert, time):
        if (turn, expert) not in self.begun and all(q[:2] != [turn, expert] for q in self.queue):
            self.queue.append([turn, expert, time, self.said])

    def turn(self, turn, missing, time):
        while self.queue and max(self.free, self.queue[0][3]) < self.now:
            owner, expert, cost, said = self.queue.pop(0)
            self.free = max(self.free, said) + cost
            self.begun[owner, expert] = self.free
            self.ahead += cost
        self.queue = [q for q in self.queue if q[0] > turn]
        ready = self.now
        for expert in missing:
            if (turn, expert) in self.begun:
                ready = max(ready, self.begun.pop((turn, expert)))
            else:
                self.free = max(self.free, self.now) + time
                self.demand += time
                ready = max(ready, self.free)
        self.vain += time * sum(owner <= turn for owner, _ in self.begun)
        self.begun = {k: v for k, v in self.begun.items() if k[0] > turn}
        waited, self.said = ready - self.now, self.now
        self.stall += waited
        self.now = ready + 1
        return waited


def simulate(r, lists, name, slots, time):
    """(line, stall by sequence) in times of a layer."""
    line, by_sequence = Line(), np.zeros(r.n_sequences)
    held, number = None, 0
    for t in range(r.n):
        if held is None or r.half(t) != r.half(t - 1):
            held = {il: [] for il in r.layers}  # least recently used first
        first = number

        def foresee(at):
            if at < len(r.layers) and name != "none":
                il = r.layers[at]
                what = sorted(r.ids[il][t]) if name == "oracle" else (lists[name][il][t] or [])[: r.k]
                for e in what:
                    if e not in held[il]:
                        line.foresee(first + at + 1, e, time)

        two = name == "router, 2 ahead"
        for at, il in enumerate(r.layers):
            if at == 0 or not two:
                foresee(at)
            number += 1
            missing = []
            for e in sorted(set(r.ids[il][t])):
                if e in held[il]:
                    held[il].remove(e)
                else:
                    missing.append(e)
                    if len(held[il]) == slots:
                        held[il].pop(0)
                held[il].append(e)
            by_sequence[r.sequence[t]] += line.turn(number, missing, time)
            if two:
                foresee(at + 2)
    return line, by_sequence


class Prefetch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.trace = os.path.join(cls.folder.name, "t.moetrace")
        prompts = os.path.join(cls.folder.name, "p.jsonl")
        with open(os.path.join(SOURCE, "models", "prompts.jsonl"), encoding="utf-8") as f, open(prompts, "w") as out:
            out.writelines(f.readlines()[::7])
        run(
            *["run", "-q", "-m", DEMO, "--jsonl", prompts, "-n", 12, "--temp", 0, "-t", 1, "-o", cls.trace],
            *["--ignore-eos", "--capture", "ids,weights,gate-input"],
        )
        cls.r = Recording(cls.trace)
        cls.lists = forecasts(cls.r, routers(DEMO))
        cls.options = ["--model", DEMO, "--bandwidth", "100M", "--layer-time", "0.7", "--slots", "4,12"]
        cls.got = answer("prefetch", cls.trace, *cls.options)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def recall_of(self, name, layers, m):
        """(recall, low, high, rows) over these layers with the first m of each list."""
        found, all_, rows = np.zeros(self.r.n_sequences), np.zeros(self.r.n_sequences), 0
        for il in layers:
            for t in range(self.r.n):
                foreseen = self.lists[name][il][t]
                if foreseen is not None:
                    found[self.r.sequence[t]] += len(set(self.r.ids[il][t]) & set(foreseen[:m]))
                    all_[self.r.sequence[t]] += self.r.k
                    rows += 1
        return (found.sum() / all_.sum(), *ratio_interval(found, all_), rows) if rows else None

    def same(self, got, want, what):
        for g, w in zip(got, want):
            self.assertAlmostEqual(g, w, places=10, msg=what)

    def test_recall_over_all_layers(self):
        self.assertEqual([row["foresight"] for row in self.got["recall"]], NAMES)
        for row in self.got["recall"]:
            for factor, key in ((1, "recall_k"), (2, "recall_2k"), (3, "recall_3k")):
                want = self.recall_of(row["foresight"], self.r.layers, factor * self.r.k)
                self.same((row[key], row[key + "_low"], row[key + "_high"], row["rows"]), want, (row, key))

    def test_recall_of_each_layer(self):
        seen = 0
        for row in self.got["layer_recall"]:
            want = self.recall_of(row["foresight"], [row["layer"]], row["m"])
            self.same((row["recall"], row["recall_low"], row["recall_high"], row["rows"]), want, row)
            self.assertAlmostEqual(row["chance"], min(1, row["m"] / self.r.n_expert))
            seen += 1
        # Layer 0 has no layer before it, layer 1 no two; the union of layer 0 is the previous token's.
        n = len(self.r.layers)
        self.assertEqual(seen, 3 * (n + n + (n - 1) + (n - 1) + (n - 2) + n))

    def test_the_router_with_the_true_input_names_what_was_selected(self):
        self.assertEqual(self.got["own_input_recall"], 1)

    def test_stall_and_bytes(self):
        size, tokens = self.got["expert_bytes"], self.r.n
        layer = 0.7e-3
        time = size / (100 * 2**20) / layer
        none = {}
        for row in self.got["stall"]:
            line, stall = simulate(self.r, self.lists, row["foresight"], row["slots"], time)
            where = f"{row['slots']} slots, {row['foresight']}"
            self.assertAlmostEqual(row["stall_ms_per_token"], 1e3 * layer * stall.sum() / tokens, places=7, msg=where)
            bytes_ = (line.ahead + line.demand) / time * size / tokens
            self.assertAlmostEqual(row["bytes_per_token"] / bytes_, 1, places=9, msg=where)
            self.assertAlmostEqual(
                row["bytes_in_vain_per_token"], line.vain / time * size / tokens, delta=1e-6 * size, msg=where
            )
            if row["foresight"] == "none":
                none[row["slots"]] = stall
                continue
            hidden = none[row["slots"]] - stall
            self.assertAlmostEqual(row["hidden"], hidden.sum() / none[row["slots"]].sum(), places=9, msg=where)
            self.same((row["hidden_low"], row["hidden_high"]), ratio_interval(hidden, none[row["slots"]]), where)
        self.assertEqual(len(self.got["stall"]), 2 * 8)

    def test_without_prefetching_it_waits_for_what_the_cache_misses(self):
        for row in answer("cache", self.trace, "--model", DEMO, "--slots", "4,12")["policies"]:
            if row["policy"] == "LRU":
                stall = next(s for s in self.got["stall"] if s["slots"] == row["slots"] and s["foresight"] == "none")
                self.assertAlmostEqual(stall["bytes_per_token"] / row["bytes_per_token"], 1, places=9)
                self.assertAlmostEqual(
                    stall["stall_ms_per_token"] / (1e3 * row["bytes_per_token"] / (100 * 2**20)), 1, places=9
                )

    def test_without_a_model_only_the_trace_is_asked(self):
        got = answer("prefetch", self.trace)
        self.assertEqual(
            [r["foresight"] for r in got["recall"]], ["previous token", "hot list", "co-activated", "union"]
        )
        self.assertNotIn("stall", got)
        self.assertTrue(any("--expert-bytes" in n for n in got["notes"]))

    def test_bad_options(self):
        for bad in (["--slots", "33"], ["--bandwidth", "0"], ["--layer-time", "0"], ["--bandwidth", "x"]):
            run("analyze", "prefetch", self.trace, "--model", DEMO, *bad, code=2)

    def test_evictions_are_those_of_the_policies(self):
        path = os.path.join(self.folder.name, "e.csv")
        got = answer("cache", self.trace, "--slots", "6", "--eviction-trace", path)
        with open(path) as f:
            rows = list(csv.DictReader(f))
        self.assertEqual(len(rows), self.r.n * len(self.r.layers) * self.r.k)
        names = [c[:-4] for c in rows[0] if c.endswith("_hit")]
        self.assertEqual(names, ["lru", "lfu", "lfru", "decay", "least_stale", "static", "random"])
        half = got["ubatches"] // 2
        hits = dict.fromkeys(names, 0)
        held = {}
        for row in rows:
            il, e, u = int(row["layer"]), int(row["expert"]), int(row["ubatch"])
            for name in names:
                here = held.setdefault((name, il, u >= half), set())
                hit = row[name + "_hit"] == "1"
                hits[name] += hit
                if name == "static":
                    continue  # holds its list from the beginning
                self.assertEqual(hit, e in here, (name, row))
                if row[name + "_evicted"]:
                    layer, gone = map(int, row[name + "_evicted"].split("/"))
                    self.assertEqual((layer, len(here), hit), (il, 6, False))
                    here.remove(gone)
                here.add(e)
                self.assertLessEqual(len(here), 6)
        for row in got["policies"]:
            key = row["policy"].lower().replace("-", "_")
            if key in hits:
                self.assertAlmostEqual(
                    hits[key], round(row["hit_rate"] * (row["accesses"] - row["cold"])) + row["cold_hits"]
                )


class Routers(unittest.TestCase):
    """Softmax, sigmoid with a bias, top-k before softmax, groups: each rule is found, and then nothing is missed."""

    def test_every_planted_family_and_grouped_routers(self):
        with tempfile.TemporaryDirectory() as folder:
            listed = subprocess.run([MAKE_MODEL, "planted", "--help"], capture_output=True, text=True).stdout
            planted = listed[listed.index("{") + 1 : listed.index("}")].split(",")
            self.assertGreaterEqual(len(planted), 4)
            made = [(arch, ["planted", "--arch", arch, "--experts", "16", "--top-k", "3"]) for arch in planted]
            made += [(v, ["variant", v]) for v in ("groups-deepseek2", "groups-bailingmoe2")]
            for name, options in made:
                model, trace = os.path.join(folder, name + ".gguf"), os.path.join(folder, name + ".moetrace")
                subprocess.run([MAKE_MODEL, *options, "-o", model], check=True, capture_output=True)
                run("run", "-q", "-m", model, "-p", "What selects whom? 0123456789", "-n", 24, "--temp", 0, "-t", 1,
                    "-o", trace, "--ignore-eos", "--capture", "ids,gate-input")  # fmt: skip
                got = answer("prefetch", trace, "--model", model, "--all")
                self.assertEqual(got["own_input_recall"], 1, name)


class Markov(unittest.TestCase):
    """Each layer keeps its expert with probability p, else draws one of the others evenly: the previous token names the next
    expert with probability p; the two used last, p + (1 - p) / (E - 1); the three used last once more of the rest."""

    def test_previous_token_has_the_recall_of_the_chain(self):
        e, p, n = 10, 0.6, 30_000
        rng = np.random.default_rng(3)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "markov.moetrace")
            out = TraceWriter(path, [{"layer": il, "n_expert": e, "k": 1} for il in range(2)])
            state = np.zeros(2, int)
            for t in range(n):
                stay = rng.random(2) < p
                state = np.where(stay, state, (state + rng.integers(1, e, 2)) % e)
                out.ubatch([{"ids": [[s]]} for s in state], [t], decode=True)
            out.close()
            row = next(r for r in answer("prefetch", path)["recall"] if r["foresight"] == "previous token")
        for key, want in (
            ("recall_k", p),
            ("recall_2k", p + (1 - p) / (e - 1)),
            ("recall_3k", p + 2 * (1 - p) / (e - 1)),
        ):
            sd = math.sqrt(want * (1 - want) / (2 * n))
            self.assertAlmostEqual(row[key], want, delta=4 * sd)
            self.assertLess(row[key + "_low"], row[key])
            # The interval is of this width where rows are independent: they are.
            self.assertAlmostEqual((row[key + "_high"] - row[key + "_low"]) / (2 * 1.96 * sd), 1, delta=0.15)


if __name__ == "__main__":
    unittest.main(verbosity=2)
