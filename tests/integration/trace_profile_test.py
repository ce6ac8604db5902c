"""Profiles of recorded traffic: their sums are those of the rows as numpy adds them up, and every verb that reads a profile
reads them."""

import json
import os
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from tool_case import ToolCase  # noqa: E402

PROMPTS = (("code", "def f(x):"), ("prose", "Once upon"), ("code", "return x"), ("prose", "a time there"))


class TraceProfile(ToolCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_model("model.gguf", layers=3, experts=8, k=2)
        cls.write_prompts("prompts.jsonl", PROMPTS, "domain")
        run = ["run", "-m", "model.gguf", "-t", "1", "--temp", "0", "-q", "-n", "3"]
        cls.done(
            *run,
            "--jsonl",
            "prompts.jsonl",
            "--label-key",
            "domain",
            "--capture",
            "ids,weights,norms",
            "-o",
            "t.moetrace",
        )
        cls.done(*run, "-p", "something else", "--capture", "ids,weights,norms", "-o", "u.moetrace")
        cls.done(*run, "-p", "no norms", "-o", "ids.moetrace")
        cls.done("profile", "--from-trace", "t.moetrace", "-o", "t.json")
        cls.rows = cls.exported_rows("t.moetrace")
        with open(cls.path("t.json"), encoding="utf-8") as file:
            cls.stats = json.load(file)

    def request_of_rows(self):
        """Which prompt each row belongs to: prompts run one after the other, and each begins at position 0."""
        request, last = [], {}
        for row in self.rows:
            if row["position"] == 0 and row["ubatch"] != last.get("ubatch"):
                last = {"ubatch": row["ubatch"], "number": last.get("number", -1) + 1}
            request.append(last["number"])
        return request

    def test_the_sums_are_those_of_the_rows(self):
        for layer in range(3):
            ids = np.array([r["ids"] for r in self.rows if r["layer"] == layer])
            gate = np.array([r["weights"] for r in self.rows if r["layer"] == layer])
            norm = np.array([r["norms"] for r in self.rows if r["layer"] == layer])
            got = self.stats[str(layer)]
            self.assertEqual(got["total_tokens"], len(ids))
            for e in range(8):
                at = ids == e
                self.assertEqual(got["activation_counts"][e], at.sum())
                if at.any():
                    np.testing.assert_allclose(got["reap"][e], (gate * norm)[at].mean(), rtol=1e-6)
                    np.testing.assert_allclose(got["ean_mean"][e], norm[at].mean(), rtol=1e-6)
                    np.testing.assert_allclose(got["avg_gate_weight"][e], gate[at].mean(), rtol=1e-6)

    def test_labels_are_those_of_the_prompts(self):
        request = self.request_of_rows()
        got = json.loads(self.done("stats", "t.moestats", "--json").stdout)
        for label in ("code", "prose"):
            mine = [r for r, q in zip(self.rows, request) if PROMPTS[q][0] == label and r["layer"] == 0]
            row = next(l for l in got["labels"] if l["label"] == label)
            self.assertEqual(row["rows"], len(mine))
            if row["expert"] is not None:
                rows = [r for r, q in zip(self.rows, request) if PROMPTS[q][0] == label and r["layer"] == row["layer"]]
                self.assertAlmostEqual(row["frequency"], sum(row["expert"] in r["ids"] for r in rows) / len(rows))
        self.assertEqual([l["label"] for l in got["labels"]], ["code", "prose"])

    def test_labels_of_a_file_go_to_the_requests_in_their_order(self):
        with open(self.path("labels.jsonl"), "w", encoding="utf-8") as file:
            for i in range(4):
                file.write(json.dumps({"topic": "odd" if i % 2 else "even"}) + "\n")
        self.done(
            "profile", "--from-trace", "t.moetrace", "--jsonl", "labels.jsonl", "--label-key", "topic", "-o", "l.json"
        )
        got = json.loads(self.done("stats", "l.moestats", "--json").stdout)
        rows = {l["label"]: l["rows"] for l in got["labels"]}
        request = self.request_of_rows()
        layer_0 = [q for r, q in zip(self.rows, request) if r["layer"] == 0]
        self.assertEqual(rows, {"even": sum(q % 2 == 0 for q in layer_0), "odd": sum(q % 2 for q in layer_0)})
        with open(self.path("labels.jsonl"), "a", encoding="utf-8") as file:
            file.write('{"topic": "one too many"}\n')
        wrong = self.tool(
            "profile", "--from-trace", "t.moetrace", "--jsonl", "labels.jsonl", "--label-key", "topic", "-o", "w.json"
        )
        self.assertEqual((wrong.returncode, wrong.stderr.count("\n")), (1, 1), wrong.stderr)
        self.assertIn("5 lines, but t.moetrace has 4 requests", wrong.stderr)

    def test_requests(self):
        got = json.loads(self.done("stats", "t.moetrace", "--requests", "--json").stdout)
        request = self.request_of_rows()
        for q, row in enumerate(got["requests"]):
            mine = [r for r, at in zip(self.rows, request) if at == q and r["layer"] == 0]
            self.assertEqual(row["request"], q)
            self.assertEqual(row["prefilled"], sum(r["phase"] == "prefill" for r in mine))
            self.assertEqual(row["generated"], sum(r["phase"] == "decode" for r in mine))
            self.assertEqual(row["label"], PROMPTS[q][0])
            self.assertEqual((row["slot"], row["reused"]), (0, 0))
            self.assertAlmostEqual(row["start_s"], mine[0]["time_ns"] / 1e9)
        self.assertEqual(got["n_requests"], 4)
        self.assertIn("4 requests in 1 slot", self.done("stats", "t.moetrace", "--requests").stdout)

    def test_merge_takes_traces(self):
        self.done("profile", "--from-trace", "u.moetrace", "-o", "u.moestats")
        # t has labels and u has none, so they are profiles of different kinds; two without labels add up.
        self.done(
            "run",
            "-m",
            "model.gguf",
            "-t",
            "1",
            "-q",
            "-p",
            "third",
            "--capture",
            "ids,weights,norms",
            "-o",
            "v.moetrace",
        )
        self.done("merge", "u.moetrace", "v.moetrace", "-o", "uv.moestats", "--expert-stats", "uv.json")
        self.done("profile", "--from-trace", "u.moetrace", "v.moetrace", "-o", "both.json")
        with open(self.path("uv.json"), encoding="utf-8") as a, open(self.path("both.json"), encoding="utf-8") as b:
            self.assertEqual(json.load(a), json.load(b))
        counts = [
            json.loads(self.done("analyze", "frequency", f"{name}.moetrace", "--json").stdout)["selections"]
            for name in ("u", "v")
        ]
        both = json.loads(self.done("analyze", "frequency", "uv.moestats", "--json").stdout)
        self.assertEqual(both["selections"], sum(counts))
        twice = self.tool("merge", "u.moetrace", "u.moestats", "-o", "uu.moestats")
        self.assertEqual(twice.returncode, 1)
        self.assertIn("count twice", twice.stderr)

    def test_frequency_of_a_profile_is_that_of_its_trace(self):
        of = lambda f: json.loads(self.done("analyze", "frequency", f, "--json").stdout)  # noqa: E731
        trace, sums, means = of("t.moetrace"), of("t.moestats"), of("t.json")
        for other in (sums, means):
            self.assertEqual(other["layers"], trace["layers"])
            self.assertEqual(
                [(e["layer"], e["expert"], e["count"]) for e in other["experts"]],
                [(e["layer"], e["expert"], e["count"]) for e in trace["experts"]],
            )

    def test_frequency_of_a_profile_and_a_trace_together(self):
        of = lambda *f: json.loads(self.done("analyze", "frequency", *f, "--json").stdout)  # noqa: E731
        both, apart = of("t.moestats", "u.moetrace"), [of("t.moetrace"), of("u.moetrace")]
        count = lambda a: {(e["layer"], e["expert"]): e["count"] for e in a["experts"]}  # noqa: E731
        t, u = map(count, apart)
        self.assertEqual(count(both), {place: t[place] + u[place] for place in t})

    def test_labels_by_trace_and_by_request(self):
        request = self.request_of_rows()
        labels = lambda: {  # noqa: E731
            l["label"]: l["rows"] for l in json.loads(self.done("stats", "by.moestats", "--json").stdout)["labels"]
        }
        self.done("profile", "--from-trace", "t.moetrace", "u.moetrace", "--label-by", "trace", "-o", "by.json")
        u = json.loads(self.done("stats", "u.moetrace", "--json").stdout)["tokens"]
        layer_0 = [q for r, q in zip(self.rows, request) if r["layer"] == 0]
        self.assertEqual(labels(), {"t": len(layer_0), "u": u})
        self.done("profile", "--from-trace", "t.moetrace", "--label-by", "request", "-o", "by.json", "--force")
        self.assertEqual(labels(), {f"t#{q}": layer_0.count(q) for q in range(4)})
        for wrong in (["--jsonl", "prompts.jsonl", "--label-by", "trace"], ["--label-by", "slot"]):
            self.assertEqual(self.tool("profile", "--from-trace", "t.moetrace", *wrong, "-o", "w.json").returncode, 2)
        self.assertEqual(
            self.tool("profile", "-m", "model.gguf", "--text", "prompts.jsonl", "--label-by", "trace").returncode, 2
        )

    def test_expert_stats_of_others_are_read_as_profiles_are(self):
        """Another program's expert_stats.json has no labels and no model, but counts and means by layer."""
        self.done("profile", "--from-trace", "u.moetrace", "-o", "other.json")
        with open(self.path("other.json"), encoding="utf-8") as file:
            other = json.load(file)
        distances = []
        for layer in range(3):
            p, q = (np.array(s[str(layer)]["activation_counts"], float) for s in (self.stats, other))
            p, q = p / p.sum(), q / q.sum()
            m = (p + q) / 2
            kl = lambda a: sum(x * np.log2(x / y) for x, y in zip(a, m) if x > 0)  # noqa: E731
            distances.append(np.sqrt((kl(p) + kl(q)) / 2))
        got = json.loads(self.done("analyze", "specialization", "t.json", "other.json", "--json").stdout)
        self.assertEqual([(d["domain_a"], d["domain_b"]) for d in got["distances"]], [("t", "other")])
        self.assertAlmostEqual(got["distances"][0]["distance"], np.mean(distances))

        of = lambda f: json.loads(self.done("stats", f, "--json").stdout)  # noqa: E731
        sums, means = of("t.moestats"), of("t.json")
        self.assertEqual(
            [(l["layer"], l["rows"], l["dead"]) for l in means["layers"]],
            [(l["layer"], l["rows"], l["dead"]) for l in sums["layers"]],
        )
        self.assertTrue(sums["labels"])
        self.assertFalse(means.get("labels"))
        self.assertIn("code", self.done("info", "t.moestats").stdout)

    def test_info(self):
        got = json.loads(self.done("info", "t.moestats", "--json").stdout)
        self.assertEqual((got["kind"], got["format"], got["labels"]), ("profile", "moestats", ["code", "prose"]))
        self.assertEqual((got["corpora"][0]["name"], got["corpora"][0]["samples"]), ("t.moetrace", 4))
        self.assertEqual([b["n_expert"] for b in got["blocks"]], [8, 8, 8])
        self.assertEqual(json.loads(self.done("info", "t.json", "--json").stdout)["kind"], "profile")

    def test_specialization_of_labels(self):
        """Jensen-Shannon by numpy, of the counts in the rows."""
        request = self.request_of_rows()
        distances = []
        for layer in range(3):
            p = {}
            for label in ("code", "prose"):
                ids = [
                    i
                    for r, q in zip(self.rows, request)
                    if r["layer"] == layer and PROMPTS[q][0] == label
                    for i in r["ids"]
                ]
                p[label] = np.bincount(ids, minlength=8) / len(ids)
            m = (p["code"] + p["prose"]) / 2
            kl = lambda a: sum(x * np.log2(x / y) for x, y in zip(a, m) if x > 0)  # noqa: E731
            distances.append(np.sqrt((kl(p["code"]) + kl(p["prose"])) / 2))
        got = json.loads(self.done("analyze", "specialization", "t.moestats", "--json").stdout)
        self.assertAlmostEqual(got["distances"][0]["distance"], np.mean(distances))
        self.assertGreater(got["distances"][0]["distance_chance"], 0)
        # A trace beside a profile is read as its sums, and is a domain of its own.
        rows = self.exported_rows("u.moetrace")
        self.assertEqual(len({r["layer"] for r in rows}), 3)
        beside = json.loads(self.done("analyze", "specialization", "t.moestats", "u.moetrace", "--json").stdout)
        pairs = {(d["domain_a"], d["domain_b"]): d["distance"] for d in beside["distances"]}
        self.assertEqual(set(pairs), {("code", "prose"), ("code", "u"), ("prose", "u")})
        count = lambda of, layer: np.bincount(  # noqa: E731
            [i for r in of if r["layer"] == layer for i in r["ids"]], minlength=8
        )
        code = [r for r, q in zip(self.rows, request) if PROMPTS[q][0] == "code"]
        distances = []
        for layer in range(3):
            p, q = (c / c.sum() for c in (count(code, layer), count(rows, layer)))
            m = (p + q) / 2
            kl = lambda a: sum(x * np.log2(x / y) for x, y in zip(a, m) if x > 0)  # noqa: E731
            distances.append(np.sqrt((kl(p) + kl(q)) / 2))
        self.assertAlmostEqual(pairs["code", "u"], np.mean(distances))

    def test_compare_profiles(self):
        same = json.loads(self.done("analyze", "compare", "t.moestats", "t.json", "--json").stdout)
        for layer in same["layers"]:
            self.assertEqual((layer["distance"], layer["rank_correlation"], layer["best_half"]), (0, 1, 1))
        self.done("profile", "--from-trace", "u.moetrace", "-o", "c.json")
        got = json.loads(self.done("analyze", "compare", "t.json", "c.json", "--json").stdout)
        with open(self.path("c.json"), encoding="utf-8") as file:
            other = json.load(file)
        for layer in got["layers"]:
            best = [
                set(sorted(range(8), key=lambda e, s=s: (-s[str(layer["layer"])]["reap"][e], e))[:4])
                for s in (self.stats, other)
            ]
            self.assertEqual(layer["best_half"], len(best[0] & best[1]) / 4)
        beside = json.loads(self.done("analyze", "compare", "t.moestats", "u.moetrace", "--json").stdout)
        self.assertEqual(beside["layers"], got["layers"])  # a trace beside a profile is read as its sums

    def test_what_a_profile_needs(self):
        wrong = self.tool("profile", "--from-trace", "ids.moetrace", "-o", "i.json")
        self.assertEqual((wrong.returncode, wrong.stderr.count("\n")), (1, 1))
        self.assertIn("record with --capture ids,weights,norms", wrong.stderr)
        self.assertFalse(os.path.exists(self.path("i.json")))


if __name__ == "__main__":
    unittest.main()
