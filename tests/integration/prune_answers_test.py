"""What `prune` says before it writes: what each label loses by each criterion, what it leans on and loses, what a size in
bytes means. Against counts of the exported rows, and against files."""

import json
import os
import re
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from tool_case import ToolCase  # noqa: E402

MODELS = os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "models")
DEMO, PROMPTS = os.path.join(MODELS, "demo.gguf"), os.path.join(MODELS, "prompts.jsonl")
N_LAYER, N_EXPERT, K = 6, 32, 4


class PruneAnswers(ToolCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        run = ["run", "-m", DEMO, "-q", "-t", "1", "-n", "0", "--jsonl", PROMPTS, "--label-key", "domain"]
        cls.done(*run, "--capture", "ids,weights,norms", "-o", "t.moetrace")
        cls.done("profile", "--from-trace", "t.moetrace", "-o", "s.json", "-q")
        rows = cls.exported_rows("t.moetrace")
        with open(PROMPTS, encoding="utf-8") as file:
            domains = [json.loads(line)["domain"] for line in file]
        # Prompts run one after the other: each begins where a position 0 does.
        number, last = -1, None
        cls.count = {d: np.zeros((N_LAYER, N_EXPERT), int) for d in domains}
        cls.n_rows = {d: np.zeros(N_LAYER, int) for d in domains}
        for row in rows:
            if row["position"] == 0 and row["layer"] == 0 and row["ubatch"] != last:
                number, last = number + 1, row["ubatch"]
            domain = domains[number]
            cls.count[domain][row["layer"], row["ids"]] += 1
            cls.n_rows[domain][row["layer"]] += 1
        assert number + 1 == len(domains)

    def prune(self, *args):
        return self.done("prune", DEMO, "--stats", "s.moestats", "--dry-run", *args)

    def plan(self, *args):
        return json.loads(self.prune("--json", *args).stdout)

    def drop(self, ids):
        """A file that drops these experts of each layer, {layer: ids}, filled up to equal numbers with the least used."""
        most = max(map(len, ids.values()))
        total = sum(self.count.values())
        full = {}
        for il in range(N_LAYER):
            rest = [int(e) for e in np.argsort(total[il], kind="stable") if e not in ids.get(il, [])]
            full[str(il)] = [*ids.get(il, []), *rest][:most]
        with open(self.path("drop.json"), "w", encoding="utf-8") as file:
            json.dump(full, file)
        return "drop.json"

    def displaced(self, plan, count):
        """Share of the selections whose expert is gone."""
        gone = all_of = 0
        for il, layer in plan["layers"].items():
            of = count[int(il)]
            all_of += of.sum()
            gone += of.sum() - of[layer["kept"]].sum()
        return gone / all_of

    # ---- what each label loses -------------------------------------------------------------------------------------

    def test_what_each_label_loses_is_the_share_of_its_selections(self):
        got = self.plan("--keep", 24)
        for label, count in self.count.items():
            self.assertAlmostEqual(got["displaced_by_label"][label], self.displaced(got, count))
        total = sum(self.count.values())
        self.assertAlmostEqual(got["displaced"], self.displaced(got, total))
        for il, layer in got["layers"].items():
            of = total[int(il)]
            self.assertAlmostEqual(layer["displaced"], 1 - of[layer["kept"]].sum() / of.sum())
            self.assertNotIn("score_kept", layer)

    def test_the_other_criteria_stand_beside_it(self):
        got = self.plan("--keep", 24, "--criterion", "reap")
        self.assertLessEqual({"frequency", "reap-sum", "hope", "seer", "man"}, set(got["others"]))
        for criterion, other in got["others"].items():
            alone = self.plan("--keep", 24, "--criterion", criterion)
            self.assertEqual(other["displaced_by_label"], alone["displaced_by_label"], criterion)
            self.assertEqual(other["displaced"], alone["displaced"], criterion)

    def test_a_dry_run_opens_with_the_losses(self):
        got, text = self.plan("--keep", 24), self.prune("--keep", 24).stdout
        lines = text.splitlines()
        self.assertTrue(lines[0].startswith(f"By {got['criterion']}, 24 of 32 experts stay in each of 6 layers: "))
        self.assertIn("random experts: 25.0 %", lines[1])  # 8 of 32
        labels = lines[2].split("keeps other")[0].split()[1:]
        self.assertEqual(labels, ["all", "arithmetic", "code", "prose"])
        for line, plan in [(lines[3], got), *((l, None) for l in lines[4 : 4 + len(got["others"])])]:
            plan = plan or got["others"][line.split()[0]]
            shares = [float(s) for s in re.findall(r"(\d+\.\d) %", line)[:4]]
            wanted = [plan["displaced"], *(plan["displaced_by_label"][l] for l in labels[1:])]
            self.assertEqual(shares, [float(f"{100 * w:.1f}") for w in wanted])
        self.assertNotIn("score kept", text)
        self.assertLess(text.index("what each label loses"), text.index("dropped experts"))

    # ---- what a label leans on -------------------------------------------------------------------------------------

    def leanings(self):
        """(times its fair share, share, label, layer, expert), the strongest first."""
        found = []
        for label, count in self.count.items():
            share = count / self.n_rows[label][:, None]
            for il in range(N_LAYER):
                found += [(share[il, e] / (K / N_EXPERT), share[il, e], label, il, e) for e in range(N_EXPERT)]
        return sorted(found, reverse=True)

    def warnings(self, ids):
        return self.plan("--drop-ids", self.drop(ids))["warnings"]

    def test_an_expert_that_a_label_leans_on_is_warned_of_when_it_goes(self):
        times, share, label, il, e = self.leanings()[0]
        self.assertGreater(times, 2)
        said = (
            f"{label} leans on expert {e} of layer {il}, which goes: {100 * share:.1f} % of its tokens select it there, "
            f"{times:.1f} times its fair share"
        )
        self.assertIn(said, self.warnings({il: [int(e)]}))
        done = self.prune("--drop-ids", "drop.json")
        self.assertIn(f"warning: {said}", done.stderr)

    def test_experts_that_no_label_leans_on_are_not(self):
        least = {il: [int(e) for e in np.argsort(sum(c[il] for c in self.count.values()))[:2]] for il in range(N_LAYER)}
        strong = {(il, e) for times, _, _, il, e in self.leanings() if times >= 2}
        least = {il: [e for e in ids if (il, e) not in strong] for il, ids in least.items()}
        self.assertFalse([w for w in self.warnings(least) if "leans" in w])

    def test_several_are_counted(self):
        strongest = [l for l in self.leanings() if l[2] == "prose"][:3]
        ids = {}
        for _, _, _, il, e in strongest:
            ids.setdefault(il, []).append(int(e))
        prose = [w for w in self.warnings(ids) if w.startswith("prose leans on")]
        self.assertEqual(len(prose), 1)  # a sentence for each label
        _, _, _, il, e = strongest[0]
        self.assertIn(f"expert {e} of layer {il}", prose[0])
        self.assertRegex(prose[0], r"; so it does on \d+ more that go$")

    def test_a_label_that_loses_more_than_by_chance_is_warned_of(self):
        most = {il: [int(e) for e in np.argsort(-self.count["code"][il])[:4]] for il in range(N_LAYER)}
        got = self.plan("--drop-ids", self.drop(most))
        lost = got["displaced_by_label"]["code"]
        self.assertGreater(lost, 4 / 32)
        self.assertIn(
            f"code loses {100 * lost:.1f} % of its selections, more than random experts would take (12.5 %)",
            got["warnings"],
        )
        self.assertFalse([w for w in self.plan("--keep", 28)["warnings"] if "more than random" in w])

    # ---- bytes -----------------------------------------------------------------------------------------------------

    def written(self, n_keep):
        name = f"{n_keep}.gguf"
        if not os.path.exists(self.path(name)):
            self.done("prune", DEMO, "--stats", "s.moestats", "--keep", n_keep, "-o", name, "-q")
        return os.path.getsize(self.path(name))

    def test_the_command_that_says_the_cost_measures_this_plan(self):
        def command(*args):
            return json.loads(self.prune("--keep", 24, "--json", *args).stdout)["evaluate"]

        self.assertTrue(command("--criterion", "reap").endswith("--criterion reap --keep 24"))
        self.assertIn("--seed 7", command("--criterion", "random", "--seed", 7))
        self.assertTrue(command("--criterion", "reap", "--protect", "3:1,10").endswith("--against small.gguf"))

    def test_a_masked_profile_is_held_against_what_it_left(self):
        options = ("--jsonl", PROMPTS, "--limit", 6, "--omit", "*:0-3", "-t", 1, "-q")
        self.done("profile", "-m", DEMO, *options, "-o", "masked.json")
        done = self.done("prune", DEMO, "--stats", "masked.moestats", "--keep", 24, "--dry-run")
        self.assertIn("(random experts: 14.3 %)", done.stdout)  # 4 of the 28 that were on
        self.assertIn("made under a mask", done.stderr)

    def test_a_size_is_the_most_experts_whose_file_is_no_larger(self):
        for n_keep in (5, 20, 31):
            size = self.written(n_keep)
            more = self.written(n_keep + 1) if n_keep < 31 else os.path.getsize(DEMO)
            for bytes_ in (size + 8192, more - 1):
                self.assertEqual(self.plan("--size", bytes_)["n_keep"], n_keep, (n_keep, bytes_))
            self.done("prune", DEMO, "--stats", "s.moestats", "--size", size + 8192, "-o", "z.gguf", "-q", "--force")
            self.assertLessEqual(os.path.getsize(self.path("z.gguf")), size + 8192)

    def test_sizes_with_a_suffix(self):
        n_keep = self.plan("--size", "10M")["n_keep"]
        self.assertLessEqual(self.written(n_keep), 10 << 20)
        self.assertGreater(self.written(n_keep + 1), 10 << 20)

    def test_sizes_that_cannot_be(self):
        for wrong, code, said in (
            (["--size", "1K"], 1, "even with 4 experts in each layer"),
            (["--size", "1G"], 1, "nothing has to go"),
            (["--size", "10M", "--keep", 24], 2, "--size"),
            (["--size", "10M", "--ratio", 0.5], 2, "--size"),
            (["--size", "ten"], 2, "--size takes a size in bytes"),
            ([], 2, "give one of --keep N, --ratio R and --size BYTES"),
        ):
            got = self.tool("prune", DEMO, "--stats", "s.moestats", "--dry-run", *wrong)
            self.assertEqual((got.returncode, got.stdout), (code, ""), wrong)
            self.assertIn(said, got.stderr)
        least = self.tool("prune", DEMO, "--stats", "s.moestats", "--dry-run", "--size", "1K").stderr
        takes, more = (float(x) for x in re.findall(r"([\d.]+) MiB", least))
        self.assertAlmostEqual(takes, self.written(4) / 2**20, delta=0.02)
        self.assertAlmostEqual(more, takes - 1 / 1024, delta=0.02)

    def test_keep_and_ratio_say_what_they_mean_in_bytes(self):
        for option in (["--keep", 24], ["--ratio", 0.25]):
            got = self.plan(*option)
            line = self.prune(*option).stdout.splitlines()[0]
            after, before = (f"{got[k] / 2**20:.2f} MiB" for k in ("bytes_after", "bytes_before"))
            self.assertIn(f": {after} instead of {before} (", line)


if __name__ == "__main__":
    unittest.main()
