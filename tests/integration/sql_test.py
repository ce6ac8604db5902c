"""`moescope sql` against numpy over the same routing, which an independent writer put into the trace."""

import csv
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import pandas

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from trace_writer import PROBS, WEIGHTS, TraceWriter  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
GOLDEN = os.path.join(SOURCE, "tests", "golden", "v1.moetrace")

LAYERS = [(0, 32, 4), (7, 300, 6), (40, 8, 2)]  # layer, experts, k


def run(*arguments, **how):
    return subprocess.run([MOESCOPE, *map(str, arguments)], capture_output=True, text=True, **how)


def ask(traces, query, *options):
    done = run("sql", *([traces] if isinstance(traces, str) else traces), query, "--json", *options)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


def single_precision(value):
    """The same with every real number as the float32 that it stands for."""
    if isinstance(value, list):
        return [single_precision(v) for v in value]
    if isinstance(value, dict):
        return {k: single_precision(v) for k, v in value.items()}
    return float(np.float32(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class Routing:
    """Random routing: per token sequence, position, phase and token; per layer ids, weights and probabilities."""

    def __init__(self, path, seed, n_ubatches=40):
        r = np.random.default_rng(seed)
        tokens = []
        per_layer = {layer: [] for layer, _, _ in LAYERS}
        writer = TraceWriter(
            path, [{"layer": l, "n_expert": e, "k": k, "columns": WEIGHTS | PROBS} for l, e, k in LAYERS]
        )
        for u in range(n_ubatches):
            decode = u % 3 == 2
            n = int(r.integers(1, 4) if decode else r.integers(5, 90))
            seq = r.integers(0, 5, n)
            pos = r.integers(0, 1000, n)
            token = np.where(r.random(n) < 0.1, -1, r.integers(0, 50, n))
            blocks = []
            for layer, e, k in LAYERS:
                p = r.random((n, e)).astype("<f4")
                ids = np.argsort(-p, axis=1)[:, :k]
                w = np.take_along_axis(p, ids, 1)
                blocks.append({"ids": ids, WEIGHTS: w, PROBS: p})
                per_layer[layer].append((ids, w, p))
            writer.ubatch(blocks, pos, token, seq, decode)
            tokens += [(u, int(s), int(p), decode, int(t)) for s, p, t in zip(seq, pos, token)]
        writer.close()
        self.ubatch, self.sequence, self.position, self.decode, self.token = map(np.array, zip(*tokens))
        self.layers = {l: tuple(np.concatenate(part) for part in zip(*per_layer[l])) for l in per_layer}
        self.path = path

    def frame(self):
        """All selections."""
        parts = []
        for layer, (ids, w, _) in self.layers.items():
            n, k = ids.shape
            index = np.repeat(np.arange(n), k)
            parts.append(
                pandas.DataFrame(
                    {
                        "token_index": index,
                        "ubatch": self.ubatch[index],
                        "sequence": self.sequence[index],
                        "position": self.position[index],
                        "phase": np.where(self.decode[index], "decode", "prefill"),
                        "token": self.token[index],
                        "layer": layer,
                        "rank": np.tile(np.arange(k), n),
                        "expert": ids.ravel(),
                        "weight": w.ravel(),
                    }
                )
            )
        return pandas.concat(parts, ignore_index=True)


class Sql(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.a = Routing(cls.at("a.moetrace"), 1)
        cls.b = Routing(cls.at("b.moetrace"), 2)
        cls.frame = cls.a.frame()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def at(cls, name):
        return os.path.join(cls.folder.name, name)

    def ask(self, query, *options):
        return ask(self.a.path, query, *options)


class Tables(Sql):
    def test_selections_are_what_was_written(self):
        got = pandas.DataFrame(self.ask("FROM selections ORDER BY layer, token_index, rank"))
        want = self.frame
        self.assertEqual(len(got), len(want))
        for column in ("token_index", "ubatch", "sequence", "position", "phase", "layer", "rank", "expert"):
            self.assertEqual(got[column].tolist(), want[column].tolist(), column)
        np.testing.assert_array_equal(got["weight"].astype("f4"), want["weight"])
        np.testing.assert_array_equal(got["token"].fillna(-1).astype(int), want["token"])
        self.assertTrue(got["norm"].isna().all() and got["weight_raw"].isna().all())
        self.assertEqual(set(got["run"]), {"a"})

    def test_rows_hold_lists(self):
        got = self.ask("SELECT token_index, layer, ids, weights, probs, logits FROM rows ORDER BY layer, token_index")
        at = 0
        for layer, (ids, w, p) in self.a.layers.items():
            for i in range(len(ids)):
                row = got[at]
                at += 1
                self.assertEqual((row["layer"], row["token_index"], row["ids"]), (layer, i, ids[i].tolist()))
                np.testing.assert_array_equal(np.array(row["weights"], "f4"), w[i])
                np.testing.assert_array_equal(np.array(row["probs"], "f4"), p[i])
                self.assertIsNone(row["logits"])
        self.assertEqual(at, len(got))

    def test_scores_have_every_expert(self):
        got = self.ask(
            "SELECT layer, expert, count(*) AS n, sum(prob::DOUBLE) AS s, max(prob) AS m FROM scores GROUP BY ALL"
        )
        self.assertEqual(len(got), sum(e for _, e, _ in LAYERS))
        for row in got:
            p = self.a.layers[row["layer"]][2][:, row["expert"]].astype("f8")
            self.assertEqual(row["n"], len(p))
            self.assertAlmostEqual(row["s"], p.sum(), places=6)
            self.assertEqual(np.float32(row["m"]), np.float32(p.max()))

    def test_tokens(self):
        got = pandas.DataFrame(self.ask("FROM tokens ORDER BY token_index"))
        self.assertEqual(got["sequence"].tolist(), self.a.sequence.tolist())
        self.assertEqual(got["position"].tolist(), self.a.position.tolist())
        self.assertEqual(got["token"].fillna(-1).astype(int).tolist(), self.a.token.tolist())
        self.assertEqual((got["phase"] == "decode").tolist(), self.a.decode.tolist())

    def test_the_golden_trace_has_its_texts_second_block_and_missing_rows(self):
        exported = [json.loads(line) for line in run("export", GOLDEN, "-f", "jsonl").stdout.splitlines()]
        got = ask(GOLDEN, "FROM rows")
        keys = "ubatch batch time_ns sequence position phase token text layer block ids".split()
        self.assertEqual([[r[k] for k in keys] for r in got], [[r[k] for k in keys] for r in exported])
        for column in "weights weights_raw logits probs selection norms gate_input".split():
            self.assertEqual([r[column] for r in got], [r.get(column) for r in exported], column)
        self.assertEqual(len({r["block"] for r in got}), 2)
        self.assertEqual(
            ask(GOLDEN, "SELECT architecture, n_expert FROM model"), [{"architecture": "planted", "n_expert": 16}]
        )

    def test_experts_are_counted(self):
        counted = self.frame.groupby(["layer", "expert"]).size()
        got = self.ask("FROM experts")
        self.assertEqual(len(got), sum(e for _, e, _ in LAYERS))
        for row in got:
            n = int(counted.get((row["layer"], row["expert"]), 0))
            of_layer = counted[row["layer"]].sum()
            self.assertEqual(row["selections"], n)
            self.assertAlmostEqual(row["share"], n / of_layer, places=12)
            self.assertEqual(row["rows"], len(self.a.token))
            self.assertEqual(row["rows_decoded"], int(self.a.decode.sum()))


class Questions(Sql):
    def test_counts_and_shares_equal_numpy_and_analyze(self):
        counted = self.frame.groupby(["layer", "expert"]).size()
        queries = [
            "SELECT layer, expert, count(*) AS n FROM selections GROUP BY ALL",  # equal rows side by side
            "SELECT layer, expert, count(rank) AS n FROM selections GROUP BY ALL",  # row by row
            "SELECT layer, expert, count(*) AS n FROM (SELECT layer, unnest(ids) AS expert FROM rows) GROUP BY ALL",
        ]
        for query in queries:
            got = {(r["layer"], r["expert"]): r["n"] for r in self.ask(query)}
            self.assertEqual(got, {k: int(v) for k, v in counted.items()}, query)
        frequency = json.loads(run("analyze", "frequency", self.a.path, "--json").stdout)
        for row in frequency["experts"]:
            self.assertEqual(row["count"], int(counted.get((row["layer"], row["expert"]), 0)))

    def test_coactivations_equal_numpy(self):
        got = self.ask(
            "SELECT a.layer AS l, a.expert AS x, b.expert AS y, count(*) AS n FROM selections a "
            "JOIN selections b USING (token_index, layer) WHERE a.expert < b.expert GROUP BY ALL"
        )
        want = {}
        for layer, (ids, _, _) in self.a.layers.items():
            for row in ids:
                for x, y in itertools.combinations(sorted(row.tolist()), 2):
                    want[layer, x, y] = want.get((layer, x, y), 0) + 1
        self.assertEqual({(r["l"], r["x"], r["y"]): r["n"] for r in got}, want)

    def test_joins_over_token_index_equal_numpy(self):
        got = self.ask(
            "SELECT a.expert AS x, b.expert AS y, count(*) AS n, sum(a.weight::DOUBLE * b.weight) AS s FROM selections a "
            "JOIN selections b USING (token_index) WHERE a.layer = 0 AND b.layer = 40 AND a.rank = 0 AND b.rank = 0 GROUP BY ALL"
        )
        (ids_a, w_a, _), (ids_b, w_b, _) = self.a.layers[0], self.a.layers[40]
        want = {}
        for x, y, p, q in zip(ids_a[:, 0], ids_b[:, 0], w_a[:, 0], w_b[:, 0]):
            n, s = want.get((x, y), (0, 0.0))
            want[x, y] = n + 1, s + float(p) * float(q)
        self.assertEqual({(r["x"], r["y"]): r["n"] for r in got}, {k: v[0] for k, v in want.items()})
        for r in got:
            self.assertAlmostEqual(r["s"], want[r["x"], r["y"]][1], places=5)

    def test_conditions_of_every_kind(self):
        f = self.frame
        cases = [
            ("layer = 7", f.layer == 7),
            ("layer BETWEEN 1 AND 39", (f.layer >= 1) & (f.layer <= 39)),
            ("layer > 7 OR layer < 7", f.layer != 7),
            ("layer IN (0, 40)", f.layer.isin([0, 40])),
            ("layer >= 7 AND NOT layer = 40", f.layer == 7),
            ("phase = 'decode'", f.phase == "decode"),
            ("phase <> 'decode'", f.phase != "decode"),
            ("phase IN ('decode', 'prefill')", f.phase != ""),
            ("'prefill' = phase AND 3 <= sequence", (f.phase == "prefill") & (f.sequence >= 3)),
            ("sequence = 2", f.sequence == 2),
            ("sequence IN (1, 4) AND layer = 0", f.sequence.isin([1, 4]) & (f.layer == 0)),
            ("sequence + layer = 42", f.sequence + f.layer == 42),
            ("layer = 7 AND layer = 40", f.layer < 0),
            ("layer = rank", f.layer == f["rank"]),
            ("token IS NULL AND layer = 0", (f.token < 0) & (f.layer == 0)),
            (
                "layer = 7 AND (phase = 'decode' OR sequence < 2)",
                (f.layer == 7) & ((f.phase == "decode") | (f.sequence < 2)),
            ),
        ]
        for text, which in cases:
            for measure in ("count(*)", "sum(rank)"):  # with and without equal rows side by side
                got = self.ask(f"SELECT count(*) AS n, {measure} AS m, sum(expert) AS s FROM selections WHERE {text}")[
                    0
                ]
                self.assertEqual(got["n"], int(which.sum()), text)
                self.assertEqual(got["s"] or 0, int(f.expert[which].sum()), text)

    def test_conditions_are_looked_at_before_rows_are_handed_out(self):
        def handed_out(query):
            (plan,) = self.ask("EXPLAIN (ANALYZE, FORMAT json) " + query)
            found = []

            def visit(operators):
                for o in operators:
                    if "MOESCOPE_" in json.dumps({k: v for k, v in o.items() if k != "children"}):
                        found.append(o["operator_cardinality"])
                    visit(o.get("children", []))

            visit([json.loads(plan["explain_value"])])
            return found

        f = self.frame
        for text, which in (
            ("layer = 7", f.layer == 7),
            ("layer BETWEEN 1 AND 39 AND phase = 'decode'", (f.layer == 7) & (f.phase == "decode")),
            ("phase = 'prefill' AND sequence >= 3", (f.phase == "prefill") & (f.sequence >= 3)),
            ("rank < 9", f.layer >= 0),
        ):
            self.assertEqual(handed_out(f"SELECT sum(rank) FROM selections WHERE {text}"), [int(which.sum())], text)

    def test_conditions_on_other_names_and_on_several_scans(self):
        f = self.frame
        one = lambda query: self.ask(query)[0]["n"]
        # A column that another hides its name behind.
        self.assertEqual(
            one("SELECT count(*) AS n FROM (SELECT expert AS layer, layer AS x FROM selections) WHERE layer = 3"),
            int((f.expert == 3).sum()),
        )
        self.assertEqual(
            one(
                "WITH selections AS (SELECT rank AS layer, * EXCLUDE layer FROM main.selections) "
                "SELECT count(*) AS n FROM selections WHERE layer = 1"
            ),
            int((f["rank"] == 1).sum()),
        )
        # Scans under different conditions, and one under none.
        self.assertEqual(
            one(
                "SELECT (SELECT count(*) FROM selections WHERE layer = 0) + (SELECT count(*) FROM selections "
                "WHERE layer = 40 AND phase = 'decode') AS n"
            ),
            int((f.layer == 0).sum() + ((f.layer == 40) & (f.phase == "decode")).sum()),
        )
        self.assertEqual(
            one("SELECT (SELECT count(*) FROM selections WHERE layer = 0) + (SELECT count(*) FROM selections) AS n"),
            int((f.layer == 0).sum() + len(f)),
        )
        self.assertEqual(
            one(
                "SELECT (SELECT count(*) FROM selections WHERE layer = 0) + "
                "(SELECT count(*) FROM selections WHERE token IS NULL) AS n"
            ),
            int((f.layer == 0).sum() + (f.token < 0).sum()),
        )
        self.assertEqual(
            one(
                "SELECT count(*) AS n FROM selections a LEFT JOIN selections b ON a.token_index = b.token_index AND b.layer = 40 "
                "AND b.rank = 0 AND b.phase = 'decode' WHERE a.layer = 0 AND a.rank = 0"
            ),
            len(self.a.token),
        )

    def test_names_that_a_user_takes(self):
        script = (
            "CREATE OR REPLACE VIEW selections AS SELECT 99 AS layer, expert FROM moescope_selections();\n"
            "SELECT count(*) AS n FROM selections WHERE layer = 99;\n"
        )
        done = run("sql", self.a.path, "--csv", input=script)
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (0, str(len(self.frame))), done.stderr)

    def test_several_runs(self):
        both = pandas.concat([self.a.frame().assign(run="a"), self.b.frame().assign(run="b")])
        want = both.groupby(["run", "layer"]).expert.sum()
        for extra in ("", ", max(rank) AS r"):
            got = ask(
                [self.a.path, self.b.path],
                f"SELECT run, layer, sum(expert) AS s{extra} FROM selections GROUP BY run, layer",
            )
            self.assertEqual({(r["run"], r["layer"]): r["s"] for r in got}, {k: int(v) for k, v in want.items()})
        twice = ask([self.a.path, self.a.path], "SELECT run, count(*) AS n FROM tokens GROUP BY run ORDER BY run")
        self.assertEqual([(r["run"], r["n"]) for r in twice], [("a", len(self.a.token)), ("a#2", len(self.a.token))])


class Output(Sql):
    QUERY = "SELECT layer, expert, count(*) AS n, avg(weight) AS w, max(phase) AS p FROM selections GROUP BY ALL ORDER BY ALL"

    def test_csv_and_json_read_by_pandas_agree(self):
        f = self.frame
        want = f.groupby(["layer", "expert"], as_index=False).agg(
            n=("rank", "size"), w=("weight", lambda w: w.astype("f8").mean())
        )
        from_json = pandas.read_json(io.StringIO(run("sql", self.a.path, self.QUERY, "--json").stdout))
        from_csv = pandas.read_csv(io.StringIO(run("sql", self.a.path, self.QUERY, "--csv").stdout))
        for got in (from_json, from_csv):
            self.assertEqual(
                got[["layer", "expert", "n"]].values.tolist(), want[["layer", "expert", "n"]].values.tolist()
            )
            np.testing.assert_allclose(got.w, want.w, rtol=1e-12)
        for name in ("x.csv", "x.json"):
            run("sql", self.a.path, self.QUERY, "-o", self.at(name), check=True)
        pandas.testing.assert_frame_equal(pandas.read_csv(self.at("x.csv")), from_csv)

    def test_csv_keeps_texts_apart(self):
        query = """SELECT 'a,"b"' AS t, '' AS e, NULL AS n, [1, NULL, 3] AS l, 'nan'::FLOAT AS x, {'a': 1.50} AS s, 10::HUGEINT ** 3 AS h"""
        (row,) = csv.reader(run("sql", self.a.path, query, "--csv").stdout.splitlines()[1:])
        self.assertEqual(row[:6], ['a,"b"', "", "", "[1, null, 3]", "nan", '{"a": 1.50}'])
        self.assertEqual(ask(self.a.path, query)[0]["x"], None)
        self.assertEqual(
            ask(self.a.path, "SELECT -170141183460469231731687303715884105727 - 1 AS h")[0]["h"], -(2**127)
        )
        self.assertEqual(
            run("sql", self.a.path, "SELECT -0.05::DECIMAL(5,2) AS d", "--csv").stdout.splitlines()[1], "-0.05"
        )

    def test_parquet_is_read_back_in_another_process(self):
        path = self.at("x.parquet")
        run("sql", self.a.path, "SELECT * FROM selections", "-o", path, check=True)
        want = self.ask("SELECT * FROM selections ORDER BY layer, token_index, rank")
        got = self.ask(f"SELECT * FROM '{path}' ORDER BY layer, token_index, rank", "--unsafe")
        self.assertEqual(got, want)

    def test_exported_parquet_holds_all_rows_and_says_what_they_are_of(self):
        path = self.at("rows.parquet")
        run("export", GOLDEN, "-f", "parquet", "-o", path, check=True)
        want = [{k: v for k, v in r.items() if k != "run"} for r in ask(GOLDEN, "FROM rows")]
        self.assertEqual(ask(GOLDEN, f"FROM '{path}'", "--unsafe"), want)
        pairs = ask(
            GOLDEN, f"SELECT key::VARCHAR AS k, value::VARCHAR AS v FROM parquet_kv_metadata('{path}')", "--unsafe"
        )
        pairs = {p["k"]: p["v"] for p in pairs}
        self.assertEqual(pairs["moescope.architecture"], "planted")
        self.assertEqual(pairs["moescope.n_expert"], "16")
        self.assertEqual(pairs["gguf.planted.expert_count"], "16")
        how = ask(GOLDEN, f"SELECT DISTINCT compression AS c FROM parquet_metadata('{path}')", "--unsafe")
        self.assertEqual(how, [{"c": "ZSTD"}])

    def test_parquet_goes_into_a_pipe(self):
        done = subprocess.run(
            f"{MOESCOPE} export {GOLDEN} -f parquet | cat > {self.at('pipe.parquet')}",
            shell=True,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = ask(GOLDEN, "SELECT count(*) AS n FROM rows")
        self.assertEqual(ask(GOLDEN, f"SELECT count(*) AS n FROM '{self.at('pipe.parquet')}'", "--unsafe"), rows)

    def test_an_independent_reader_of_parquet_sees_the_same(self):
        modules = os.path.join(SOURCE, "web", "node_modules")
        if not os.path.isdir(os.path.join(modules, "hyparquet")):
            self.skipTest("no hyparquet: scripts/setup installs the page's tools")
        path = self.at("independent.parquet")
        run("export", GOLDEN, "-f", "parquet", "-o", path, check=True)
        reader = os.path.join(SOURCE, "tests", "support", "read_parquet.mjs")
        done = subprocess.run(["node", reader, path, modules], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        want = [{k: v for k, v in r.items() if k != "run"} for r in ask(GOLDEN, "FROM rows")]
        self.assertEqual(single_precision(json.loads(done.stdout)), single_precision(want))

    def test_a_frame_for_people(self):
        lines = run("sql", self.a.path, "SELECT 1 AS one, 'x' AS two").stdout.splitlines()
        self.assertEqual(lines[1:3] + lines[4:5], ["│ one   │ two     │", "│ int32 │ varchar │", "│     1 │ x       │"])
        shown = run("sql", self.a.path, "SELECT token_index FROM tokens").stdout
        self.assertEqual(shown.count("│\n"), 2 + 40)
        self.assertIn("--csv", shown.splitlines()[-1])

    def test_statements_from_a_pipe(self):
        script = ".tables\nSELECT 1 AS a\n;SELECT ';' AS b; -- a comment; with a semicolon\nSELECT 3 AS c"
        done = run("sql", self.a.path, "--csv", input=script)
        self.assertEqual(
            done.stdout, "selections, rows, tokens, experts, scores, model\na\n1\nb\n;\nc\n3\n", done.stderr
        )
        self.assertIn("token_index BIGINT", run("sql", self.a.path, ".schema").stdout)


class Limits(Sql):
    def test_no_other_file_is_touched(self):
        secret, made = self.at("secret.csv"), self.at("made")
        with open(secret, "w") as f:
            f.write("x\n42\n")
        for query in (
            f"SELECT * FROM '{secret}'",
            f"SELECT * FROM read_text('{secret}')",
            f"SELECT * FROM glob('{self.folder.name}/*')",
            f"COPY tokens TO '{made}'",
            f"ATTACH '{made}'",
            f"EXPORT DATABASE '{made}'",
            f"SET enable_external_access = true; SELECT * FROM '{secret}'",
            f"SET allowed_paths = ['{secret}']; SELECT * FROM '{secret}'",
            f"SET allowed_directories = ['{self.folder.name}']; SELECT * FROM '{secret}'",
            f"PRAGMA profiling_output = '{made}'; PRAGMA enable_profiling = 'json'; SELECT 1",
            f"SET temp_directory = '{made}'",
            f"CALL enable_logging(storage = 'file', storage_config = {{'path': '{made}'}}); SELECT 1",
            "INSTALL httpfs",
            f"LOAD '{made}'",
            "SELECT 1) TO '" + made + "' (FORMAT csv); SELECT (1",
        ):
            done = run("sql", self.a.path, query)
            self.assertEqual(done.returncode, 1, query)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertNotIn("42", done.stdout)
            self.assertFalse(os.path.exists(made), query)
        out = self.at("out.parquet")
        done = run("sql", self.a.path, f"SELECT 1) TO '{made}' (FORMAT csv); COPY (SELECT 1", "-o", out)
        self.assertNotEqual(done.returncode, 0)
        self.assertFalse(os.path.exists(made) or os.path.exists(out))
        self.assertEqual(self.ask(f"SELECT x FROM '{secret}'", "--unsafe"), [{"x": 42}])

    def test_bad_requests_are_told_in_one_line(self):
        with open(self.a.path, "rb") as f:
            whole = f.read()
        damaged = self.at("damaged.moetrace")
        with open(damaged, "wb") as f:
            f.write(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])
        for arguments, code, words in (
            ([self.a.path, "SELEKT 1"], 1, "SELEKT"),
            ([self.a.path, "SELECT nothing FROM tokens"], 1, "nothing"),
            ([self.a.path, "SELECT now() AS t"], 1, "CAST"),
            ([self.a.path, ".nonsense"], 2, ".help"),
            ([self.at("none.moetrace"), "SELECT 1 FROM tokens"], 1, "none.moetrace"),
            (["SELECT 1"], 2, "no trace"),
            ([self.a.path, "-o", self.at("y.csv")], 2, "query"),
            ([self.a.path, "SELECT 1", "-o", self.a.path, "--force"], 2, "a.moetrace"),
            ([damaged, "SELECT sum(expert), max(rank) FROM selections"], 1, "damaged.moetrace"),
            ([self.a.path, "SELECT 1", "--memory", "much"], 2, "--memory"),
        ):
            done = run("sql", *arguments, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertIn(words, done.stderr)

    def test_a_counts_only_trace_has_experts_alone(self):
        path = self.at("counts.moetrace")
        model = os.path.join(SOURCE, "models", "demo.gguf")
        run("run", "-m", model, "-p", "To be", "-n", "4", "--counts-only", "-o", path, check=True)
        n = ask(path, "SELECT sum(selections) AS n, sum(DISTINCT rows) AS r FROM experts WHERE layer = 0")[0]
        self.assertEqual(n["n"], 4 * n["r"])
        done = run("sql", path, "SELECT count(*) FROM selections")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))
        self.assertIn("counts only", done.stderr)

    def test_sizes_come_from_the_model(self):
        model = os.path.join(SOURCE, "models", "demo.gguf")
        path = self.at("demo.moetrace")
        run("run", "-m", model, "-p", "To be", "-n", "4", "-o", path, check=True)
        want = {}
        for entry in json.loads(run("map", model, "-f", "json").stdout)["tensors"]:
            if "expert_id" in entry:
                key = entry["layer_id"], entry["expert_id"]
                want[key] = want.get(key, 0) + entry["size_bytes"]
        got = {
            (r["layer"], r["expert"]): r["bytes"]
            for r in ask(path, "SELECT layer, expert, bytes FROM experts", "--model", model)
        }
        self.assertEqual(got, want)
        self.assertEqual(ask(path, "SELECT DISTINCT bytes AS b FROM experts"), [{"b": None}])

    def test_without_the_library_it_says_how_to_get_it(self):
        nowhere = dict(os.environ, MOESCOPE_CACHE=self.at("nowhere"))
        for how in (nowhere, dict(os.environ, MOESCOPE_DUCKDB=self.at("nowhere"))):
            for verb in (
                ["sql", self.a.path, "SELECT 1"],
                ["export", self.a.path, "-f", "parquet", "-o", self.at("no.parquet")],
            ):
                done = run(*verb, env=how)
                self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
                self.assertIn("MOESCOPE_DUCKDB", done.stderr)
                self.assertFalse(os.path.exists(self.at("no.parquet")))


if __name__ == "__main__":
    unittest.main()
