"""The analyses that need a model or several runs, on real files: figures in bytes against `moescope map`, runs of the same
and of other models against what must be so."""

import csv
import io
import json
import os
import re
import subprocess
import tempfile
import unittest

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
N_LAYER, N_EXPERT, K = 3, 16, 2
PROMPT = "Experts are chosen token by token; 1234567890. " * 3


def run(*args, code=0):
    done = subprocess.run([MOESCOPE, *map(str, args)], capture_output=True, text=True, errors="replace", timeout=300)
    assert done.returncode == code, f"{args}: exit {done.returncode}, {done.stderr}"
    return done


def answer(*args):
    return json.loads(run("analyze", *args, "--json").stdout)


def human(n):
    """Bytes as people are told them."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if n >= 1 << shift:
            return f"{n / (1 << shift):.2f} {unit}"
    return f"{n} B"


class RealFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.f32 = cls.make("f32", "--type", "f32")
        cls.q8 = cls.make("q8", "--type", "q8_0")
        cls.stranger = cls.make("stranger", "--type", "f32", "--seed", "99")
        cls.other_arch = cls.make("other", "--type", "f32", arch="olmoe")
        cls.trace = cls.record("base", cls.f32)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def make(cls, name, *options, arch="qwen3moe"):
        path = cls.path(name + ".gguf")
        subprocess.run(
            [
                MAKE_MODEL,
                "random",
                "--arch",
                arch,
                "--layers",
                str(N_LAYER),
                "--experts",
                str(N_EXPERT),
                "--top-k",
                str(K),
                *options,
                "-o",
                path,
            ],
            check=True,
            capture_output=True,
        )
        return path

    @classmethod
    def record(cls, name, model, *options, n=24):
        path = cls.path(name + ".moetrace")
        given = options if "--jsonl" in options else ("-p", PROMPT, *options)
        run("run", "-q", "-m", model, "-n", n, "--temp", 0, "-t", 1, "-o", path, *given)
        return path

    @classmethod
    def sizes(cls, model):
        """({layer: bytes of all experts}, {layer: bytes of one expert}, bytes of everything else by name) of the map."""
        layers, one, dense = {}, {}, {}
        for row in csv.DictReader(io.StringIO(run("map", model).stdout)):
            name, size, layer = row["tensor_name"], int(row["size_bytes"]), int(row["layer_id"])
            if name.endswith("]"):
                layers[layer] = layers.get(layer, 0) + size
                one[layer] = one.get(layer, 0) + (size if name.endswith("[0]") else 0)
            else:
                dense[name] = size
        return layers, one, dense

    # ---- cache -----------------------------------------------------------------------------------------------------

    def test_cache_bytes(self):
        for model in (self.f32, self.q8):
            _, one, _ = self.sizes(model)
            self.assertEqual(len(one), N_LAYER)
            (size,) = set(one.values())
            got = answer("cache", self.trace, "--model", model, "--slots", N_EXPERT, "--bandwidth", "1G")
            self.assertEqual(got["mean_slice_bytes"], size)
            lru = next(p for p in got["policies"] if p["policy"] == "LRU")
            # With a slot for each expert only the cold reads miss.
            self.assertEqual(lru["hit_rate"], 1)
            self.assertAlmostEqual(lru["bytes_per_token"], lru["cold"] * size / got["tokens"], places=6)
            self.assertAlmostEqual(
                lru["tokens_per_second_ceiling"], 2**30 * got["tokens"] / (lru["cold"] * size), places=6
            )
            none = answer("cache", self.trace, "--model", model, "--slots", "0")
            lru = next(p for p in none["policies"] if p["policy"] == "LRU")
            self.assertAlmostEqual(
                lru["bytes_per_token"], N_LAYER * K * size, places=6
            )  # a decoded token reads k in each layer

    def test_cache_of_so_many_bytes(self):
        _, one, _ = self.sizes(self.f32)
        each = sum(one.values())  # one slot in each layer
        for budget, slots in ((5 * each, 5), (6 * each - 1, 5), (each - 1, 0), (1000 * each, N_EXPERT)):
            got = answer("cache", self.trace, "--model", self.f32, "--bytes", budget)
            self.assertEqual({p["slots"] for p in got["policies"]}, {slots}, budget)

    def test_cache_advice_says_what_does_not_fit_and_by_how_much(self):
        _, one, _ = self.sizes(self.f32)
        each, size = sum(one.values()), next(iter(one.values()))
        text = run("analyze", "cache", self.trace, "--model", self.f32, "--bytes", each - 1024).stdout
        self.assertTrue(text.startswith(f"{human(each - 1024)} is too little for one expert per layer: that takes"))
        self.assertIn(f"{human(each)}, 1.00 KiB more.", " ".join(text.split()))
        text = run("analyze", "cache", self.trace, "--model", self.f32, "--bytes", N_EXPERT * each + 2048).stdout
        self.assertTrue(text.startswith("All experts fit, with 2.00 KiB to spare: there is nothing to evict."), text)

        # Tokens per second, with the sizes of the file that the trace names: a decoded token reads k experts a layer.
        text = " ".join(run("analyze", "cache", self.trace, "--bandwidth", "1M").stdout.split())
        without = 2**20 / (N_LAYER * K * size)
        said = f"{without:.1f}" if without < 100 else f"{round(without):,}"
        self.assertIn(f"tokens/s with it and {said} without a cache.", text)

    def test_placement_advice_says_what_does_not_fit_and_by_how_much(self):
        place = ["analyze", "placement", self.trace, "--model", self.f32, "-c", 256, "--vram"]
        layers, _, _ = self.sizes(self.f32)
        memory = self.memory(json.loads(run(*place, "1G", "--json").stdout))
        fixed, kv, compute = (memory[k] for k in ("everything but experts", "KV", "compute"))
        rest, flat = fixed + kv + compute, lambda v: " ".join(run(*place, v).stdout.split())

        text = flat(rest + sum(layers.values()) + 4096)
        self.assertTrue(text.startswith("Everything fits on the GPU, with 4.00 KiB to spare: -ngl 99."), text)
        one_layer = min(layers.values())
        text = flat(rest + one_layer)  # room for one layer's experts
        self.assertTrue(text.startswith(f"{human(sum(layers.values()) - one_layer)} of experts do not fit."), text)
        self.assertEqual(text.count("--n-cpu-moe %d" % (N_LAYER - 1)), 1)  # the same advice comes once
        text = flat(rest + one_layer - 1024)
        self.assertIn("No layer's experts fit: -ngl 99 --cpu-moe. 1.00 KiB more", text)
        text = flat(rest - min(kv, 1024))  # lower -ngl, or the context: each would do
        short = min(kv, 1024)
        n = int((rest - short - compute) / ((fixed + kv) / N_LAYER))
        self.assertIn(f"{human(short)} more than there are: lower -ngl to about {n} of {N_LAYER} layers", text)
        self.assertIn("or lower the context with -c", text)
        text = flat(compute // 2)  # nothing fits, and a shorter context is no help
        self.assertIn("keep all layers on the CPU, -ngl 0.", text)
        self.assertNotIn("-c (", text)

    def test_cache_of_another_model(self):
        dense = self.path("dense.gguf")
        subprocess.run(
            [MAKE_MODEL, "random", "--arch", "llama", "--experts", "0", "--top-k", "0", "-o", dense],
            check=True,
            capture_output=True,
        )
        done = run("analyze", "cache", self.trace, "--model", dense, code=1)
        self.assertIn("no experts", done.stderr)

    # ---- placement -------------------------------------------------------------------------------------------------

    def memory(self, got):
        return {
            re.sub(r" .*", "", row["part"]) if row["part"].startswith(("KV", "compute")) else row["part"]: row["bytes"]
            for row in got["memory"]
        }

    def test_placement_bytes(self):
        layers, _, dense = self.sizes(self.f32)
        shapes = {r["tensor_name"]: r for r in csv.DictReader(io.StringIO(run("map", self.f32).stdout))}
        got = answer("placement", self.trace, "--model", self.f32, "--vram", "1G", "-c", 1000)
        self.assertEqual({r["layer"]: r["bytes"] for r in got["layers"]}, layers)
        memory = self.memory(got)
        tied = "output.weight" not in dense
        self.assertEqual(
            memory["everything but experts"], sum(dense.values()) - (0 if tied else dense["token_embd.weight"])
        )
        self.assertEqual(memory["all experts"], sum(layers.values()))
        # f16: 1000 tokens of the keys and values that these matrices give
        width = sum(int(shapes["blk.%d.attn_%s.weight" % (il, m)]["dim1"]) for il in range(N_LAYER) for m in "kv")
        self.assertEqual(memory["KV"], 1000 * width * 2)
        self.assertEqual(
            memory["left for experts"], 2**30 - memory["everything but experts"] - memory["KV"] - memory["compute"]
        )
        self.assertTrue(got["all_fits"])
        for row in got["layers"]:
            self.assertEqual(row["reads_per_ubatch"], K)  # one sequence: k experts, whatever they are

    def test_placement_where_part_fits(self):
        layers, one, _ = self.sizes(self.f32)
        memory = self.memory(answer("placement", self.trace, "--model", self.f32, "--vram", "1G"))
        other = 2**30 - memory["left for experts"]
        for n_gpu in range(N_LAYER + 1):
            budget = sum(sorted(layers.values())[:n_gpu])
            got = answer("placement", self.trace, "--model", self.f32, "--vram", other + budget)
            self.assertEqual(got["n_cpu_moe"], N_LAYER - n_gpu)
            naive = next(c for c in got["choices"] if c["choice"] == "naive")
            self.assertEqual(naive["gpu_bytes"], budget)
            self.assertAlmostEqual(
                naive["cpu_bytes_per_token"], (N_LAYER - n_gpu) * K * next(iter(one.values())), places=6
            )
            self.assertEqual(got["preferred"], 0)  # decoded alone, all layers read the same

    def test_placement_of_another_model(self):
        deeper = self.path("shallow.gguf")
        subprocess.run(
            [
                MAKE_MODEL,
                "random",
                "--arch",
                "qwen3moe",
                "--layers",
                "1",
                "--experts",
                str(N_EXPERT),
                "--top-k",
                str(K),
                "-o",
                deeper,
            ],
            check=True,
            capture_output=True,
        )
        self.assertIn(
            "give the model that the trace was recorded with",
            run("analyze", "placement", self.trace, "--model", deeper, "--vram", "1G", code=1).stderr,
        )

    def test_a_model_with_fewer_experts_is_refused(self):
        fewer = self.path("fewer.gguf")
        subprocess.run(
            [
                MAKE_MODEL,
                "random",
                "--arch",
                "qwen3moe",
                "--layers",
                str(N_LAYER),
                "--experts",
                "8",
                "--top-k",
                str(K),
                "-o",
                fewer,
            ],
            check=True,
            capture_output=True,
        )
        for kind in (("cache",), ("placement", "--vram", "1G")):
            done = run("analyze", kind[0], self.trace, "--model", fewer, *kind[1:], code=1)
            self.assertIn("has 8 experts in layer 0, the trace has %d" % N_EXPERT, done.stderr)

    def test_slots_that_no_layer_has_are_refused(self):
        done = run("analyze", "cache", self.trace, "--slots", N_EXPERT + 1, code=2)
        self.assertIn("has only %d experts" % N_EXPERT, done.stderr)

    # ---- what is added up ------------------------------------------------------------------------------------------

    def test_traces_of_two_models_are_not_added_up(self):
        other = self.record("added", self.other_arch)
        for kind in ("frequency", "specialization"):
            self.assertIn("comes from another model", run("analyze", kind, self.trace, other, code=1).stderr)

    def test_a_trace_named_twice_does_not_count_twice(self):
        link = self.path("link.moetrace")
        os.symlink(self.trace, link)
        for again in (self.trace, link):
            self.assertIn("given twice", run("analyze", "frequency", self.trace, again, code=2).stderr)

    # ---- several runs ----------------------------------------------------------------------------------------------

    def test_the_same_prompt_twice_is_identical(self):
        again = self.record("again", self.f32)
        got = answer("stability", self.trace, again)
        self.assertEqual([p["overlap"] for p in got["pairs"]], [1.0])
        self.assertEqual([p["tokens_after"] for p in got["pairs"]], [0])
        for layer in answer("compare", self.trace, again)["layers"]:
            self.assertEqual(
                (layer["overlap"], layer["same_set"], layer["same_first"], layer["distance"]), (1, 1, 1, 0)
            )
            self.assertAlmostEqual(layer["rank_correlation"], 1)
        self.assertEqual(len(got["layers"]), N_LAYER)

    def test_a_quantised_model_routes_almost_alike(self):
        got = answer("compare", self.trace, self.record("q8", self.q8))
        self.assertGreater(got["relatedness"], 3)
        self.assertGreater(
            got["tokens_matched"], len(PROMPT) - 1
        )  # the prompt's, and generated ones up to the first that differs
        for layer in got["layers"]:
            self.assertGreater(layer["overlap"], 0.8)

    def test_pruned_against_full(self):
        stats = self.path("stats.json")
        with open(stats, "w") as out:
            json.dump({str(il): {"reap": list(range(N_EXPERT))} for il in range(N_LAYER)}, out)
        pruned = self.path("pruned.gguf")
        run("prune", self.f32, "--stats", stats, "--criterion", "reap", "--keep", N_EXPERT // 2, "-o", pruned)
        done = run("analyze", "compare", self.trace, self.record("pruned", pruned))
        self.assertIn("experts of a pruned model have their numbers in the full one", re.sub(r"\s+", " ", done.stdout))
        self.assertRegex(done.stdout, r"(?m)^measure +base\.moetrace +pruned\.moetrace$")  # runs are named by file
        got = answer("compare", self.trace, self.path("pruned.moetrace"))
        self.assertEqual([l["overlap_chance"] for l in got["layers"]], [K / N_EXPERT] * N_LAYER)
        os.rename(pruned, pruned + ".gone")  # the trace itself knows which experts are left
        self.assertEqual(answer("compare", self.trace, self.path("pruned.moetrace")), got)
        self.assertIn("moescope.prune.kept_experts", run("info", self.path("pruned.moetrace")).stdout)
        side = {
            r["measure"]: (r["first"], r["second"])
            for r in answer("compare", self.trace, self.path("pruned.moetrace"))["side_by_side"]
        }
        self.assertEqual(side["experts per layer"], (N_EXPERT, N_EXPERT // 2))
        self.assertEqual(side["experts used (k)"], (K, K))

    def test_models_of_other_architectures_are_not_compared_expert_by_expert(self):
        other = self.record("other", self.other_arch)
        got = answer("compare", self.trace, other)
        self.assertNotIn("layers", got)
        self.assertEqual(len(got["side_by_side"]), 10)
        self.assertIn("architectures qwen3moe and olmoe", run("analyze", "compare", self.trace, other).stdout)
        self.assertIn("another model", run("analyze", "stability", self.trace, other, code=1).stderr)

    def test_a_stranger_of_the_same_shape_is_called_one(self):
        # Another seed: the same architecture and shape, and not one weight in common.
        stranger = self.record("stranger", self.stranger, n=0)
        got = answer("compare", self.record("prompt", self.f32, n=0), stranger)
        self.assertLess(got["relatedness"], 3)
        done = run("analyze", "compare", self.path("prompt.moetrace"), stranger)
        self.assertIn("no more than unrelated models", re.sub(r"\s+", " ", done.stdout))

    # ---- labels ----------------------------------------------------------------------------------------------------

    def corpus(self, name, lines):
        path = self.path(name)
        with open(path, "w") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)
        return path

    def test_labels_in_the_trace_are_those_of_the_file(self):
        lines = [
            {
                "prompt": ("for (int i = 0; i < n; ++i) " if i % 2 else "It was a bright cold day in April ") * 2,
                "domain": "code" if i % 2 else "prose",
            }
            for i in range(6)
        ]
        jsonl = self.corpus("labelled.jsonl", lines)
        labelled = self.record("labelled", self.f32, "--jsonl", jsonl, "--label-key", "domain", n=3)
        plain = self.record("plain", self.f32, "--jsonl", jsonl, n=3)
        marked = answer("specialization", labelled)
        by_line = answer("specialization", plain, "--jsonl", jsonl)
        self.assertEqual(marked["domains"], 2)
        for key in ("distances", "layers", "experts", "rows_without_domain"):
            self.assertEqual(marked[key], by_line[key], key)
        rows = {e["domain"]: e["rows"] for e in marked["experts"]}
        # The tokens are bytes, and `run` computes each token that it generates.
        self.assertEqual(rows, {d: 3 * (len(lines[i]["prompt"]) + 3) for i, d in enumerate(("prose", "code"))})
        self.assertEqual(marked["notes"], [])  # the marks are for programs

    def test_a_prompt_without_a_label_has_no_domain(self):
        lines = [{"prompt": "aaaa", "domain": "x"}, {"prompt": "bbbbbb"}, {"prompt": "ccc", "domain": "y"}]
        trace = self.record("gap", self.f32, "--jsonl", self.corpus("gap.jsonl", lines), "--label-key", "domain", n=0)
        got = answer("specialization", trace)
        self.assertEqual({e["domain"]: e["rows"] for e in got["experts"]}, {"x": 4, "y": 3})
        self.assertEqual(got["rows_without_domain"], 6 * N_LAYER)

    def test_a_file_of_other_lines_is_refused(self):
        lines = [{"prompt": "some text %d" % i, "domain": "ab"[i % 2]} for i in range(4)]
        trace = self.record("four", self.f32, "--jsonl", self.corpus("four.jsonl", lines), n=0)
        for other in (lines[:3], lines + lines[:1]):
            done = run("analyze", "specialization", trace, "--jsonl", self.corpus("others.jsonl", other), code=1)
            self.assertIn("4 sequences", done.stderr)
            self.assertIn("%d lines" % len(other), done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
