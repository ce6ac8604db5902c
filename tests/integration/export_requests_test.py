"""Rows of exports carry the number and the label of their prompt, in every format; schema.json says what each array means,
what was captured, and of which model file."""

import csv
import io
import json
import os
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from tool_case import ToolCase  # noqa: E402

# Labels as people write them: with commas and quotes, missing, twice.
PROMPTS = (('a, "b"', "one prompt"), (None, "another"), ("ü", "the third one"), ('a, "b"', "and four"))


class ExportedRequests(ToolCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_model("m.gguf", layers=2, experts=8, k=2)
        cls.write_prompts("p.jsonl", PROMPTS, "kind")
        run = ["run", "-m", "m.gguf", "-q", "-t", "1", "--temp", "0", "-n", "3", "--ignore-eos"]
        cls.done(*run, "--jsonl", "p.jsonl", "--label-key", "kind", "-o", "t.moetrace")
        cls.done(*run, "-p", "no label", "-o", "u.moetrace")
        # A prompt begins where the position is 0; all of one run under sequence 0.
        cls.rows = cls.exported_rows("t.moetrace")
        cls.number, n, last = [], -1, None
        for row in cls.rows:
            if row["position"] == 0 and row["ubatch"] != last:
                n, last = n + 1, row["ubatch"]
            cls.number.append(n)
        assert n == len(PROMPTS) - 1 and {r["sequence"] for r in cls.rows} == {0}

    def wanted(self):
        return [(n, PROMPTS[n][0]) for n in self.number]

    def test_jsonl_and_json(self):
        self.assertEqual([(r["prompt"], r["label"]) for r in self.rows], self.wanted())
        whole = json.loads(self.done("export", "t.moetrace", "-f", "json").stdout)
        self.assertEqual([(r["prompt"], r["label"]) for r in whole["rows"]], self.wanted())
        unlabelled = self.exported_rows("u.moetrace")
        self.assertEqual({r["prompt"] for r in unlabelled}, {0})
        self.assertNotIn("label", unlabelled[0])

    def test_csv(self):
        lines = list(csv.DictReader(io.StringIO(self.done("export", "t.moetrace", "-f", "csv").stdout)))
        self.assertEqual([(int(l["Prompt"]), l["Label"] or None) for l in lines], self.wanted())
        # It is still the log that moescope reads, whatever is in a label.
        self.done("export", "t.moetrace", "-f", "csv", "-o", "t.csv")
        again, first = (self.done("export", f, "-f", "selection-csv").stdout for f in ("t.csv", "t.moetrace"))
        self.assertEqual(again, first)

    def test_stats_of_requests_have_labels_as_they_are(self):
        self.write_prompts("lines.jsonl", (("two\nlines", "a prompt"),), "kind")
        run = ["run", "-m", "m.gguf", "-q", "-t", "1", "--temp", "0", "-n", "1"]
        self.done(*run, "--jsonl", "lines.jsonl", "--label-key", "kind", "-o", "lines.moetrace")
        requests = self.done("stats", "lines.moetrace", "--requests", "--json").stdout
        self.assertEqual(json.loads(requests)["requests"][0]["label"], "two\nlines")
        self.assertIn("two\\nlines", self.done("stats", "lines.moetrace", "--requests").stdout)

    def test_npy(self):
        self.done("export", "t.moetrace", "-f", "npy", "-o", "arrays")
        with open(self.path("arrays", "schema.json"), encoding="utf-8") as file:
            schema = json.load(file)
        load = lambda name: np.load(self.path("arrays", name))  # noqa: E731
        index = load("layer-000/token_index.npy")
        labels = [*schema["labels"], None]  # -1: none
        got = [(int(p), labels[l]) for p, l in zip(load("prompt.npy")[index], load("label.npy")[index])]
        wanted = [w for w, r in zip(self.wanted(), self.rows) if r["layer"] == 0]
        self.assertEqual(got, wanted)

    def test_the_schema_explains_itself(self):
        self.done("export", "t.moetrace", "-f", "npy", "-o", "explained")
        with open(self.path("explained", "schema.json"), encoding="utf-8") as file:
            schema = json.load(file)
        self.assertEqual(schema["captured"], "ids,weights")
        self.assertEqual(os.path.basename(schema["model"]["file"]), "m.gguf")
        self.assertEqual(schema["model"]["file_size"], os.path.getsize(self.path("m.gguf")))
        self.assertTrue(all(len(a["meaning"]) > 10 for a in schema["arrays"]))
        meaning = {a["file"]: a["meaning"] for a in schema["arrays"]}
        self.assertIn("-1: not known", meaning["position.npy"])
        self.assertIn("selected experts", meaning["layer-001/ids.npy"])
        self.assertIn("index into labels", meaning["label.npy"])

    def test_every_array_has_a_meaning(self):
        columns = "ids,weights,weights-raw,logits,probs,selection,norms,gate-input,gram,runner-up,peaks"
        self.done(
            "run", "-m", "m.gguf", "-q", "-t", "1", "-n", "0", "-p", "all", "--capture", columns, "-o", "e.moetrace"
        )
        self.done("export", "e.moetrace", "-f", "npy", "-o", "every")
        with open(self.path("every", "schema.json"), encoding="utf-8") as file:
            arrays = json.load(file)["arrays"]
        self.assertEqual(len([a for a in arrays if a["file"].startswith("layer-000/")]), 1 + len(columns.split(",")))
        self.assertTrue(all(a["meaning"] for a in arrays))

    def test_sql_and_parquet(self):
        got = json.loads(self.done("sql", "t.moetrace", "--json", "SELECT prompt, label, layer FROM rows").stdout)
        self.assertEqual([(r["prompt"], r["label"]) for r in got], self.wanted())
        by_token = json.loads(self.done("sql", "t.moetrace", "--json", "SELECT prompt, label FROM tokens").stdout)
        wanted = [w for w, r in zip(self.wanted(), self.rows) if r["layer"] == 0]
        self.assertEqual([(r["prompt"], r["label"]) for r in by_token], wanted)
        some = json.loads(
            self.done(
                "sql",
                "t.moetrace",
                "--json",
                "SELECT DISTINCT prompt FROM selections WHERE phase = 'decode' AND layer = 1",
            ).stdout
        )
        self.assertEqual(
            {r["prompt"] for r in some}, set(range(len(PROMPTS)))
        )  # rows left out do not shift the numbers
        self.done("export", "t.moetrace", "-f", "parquet", "-o", "t.parquet")
        query = "SELECT prompt, label FROM 't.parquet'"
        rows = json.loads(self.done("sql", "--unsafe", "t.moetrace", "--json", query).stdout)
        self.assertEqual([(r["prompt"], r["label"]) for r in rows], self.wanted())


if __name__ == "__main__":
    unittest.main()
