"""Drafts that a server verifies and rejects are no text: what is recorded of a run with speculation is, apart from what is marked
as taken back, what is recorded of the same text without it. Text that makes room for more, or is begun anew, stays."""

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from recorded_server import ask, recorded_server  # noqa: E402

MOESCOPE = os.environ["MOESCOPE_BIN"]
MODEL = os.path.join(os.environ["MOESCOPE_SOURCE_DIR"], "models/demo.gguf")
PROMPT = "1+2=3\n2+3=5\n3+4=7\n4+5=9\n1+2=3\n2+3=5\n"
LOOKUP = ["--spec-type", "ngram-simple", "--spec-ngram-simple-size-n", "2", "--spec-ngram-simple-size-m", "6"]
N_PREDICT = 40


def complete(port, prompt, **more):
    body = {"prompt": prompt, "n_predict": N_PREDICT, "temperature": 0, "ignore_eos": True, "return_tokens": True}
    status, answer = ask(port, "POST", "/completion", {**body, **more})
    assert status == 200, answer
    return answer


def output(*command):
    return subprocess.run([MOESCOPE, *command], check=True, capture_output=True, text=True).stdout


def rows_of(trace, *options):
    return [json.loads(line) for line in output("export", trace, "-f", "jsonl", *options).splitlines()]


def places(rows):
    return sorted((r["layer"], r["sequence"], r["position"], r["token"], r["phase"]) for r in rows)


def stats(trace, *options):
    return json.loads(output("stats", "--json", trace, *options))


def selections(trace):
    return {(r["layer"], r["expert"]): r["count"] for r in stats(trace)["experts"]}


class TakenBack(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="moescope-test.")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_server(self, name, *options, model=MODEL, **more):
        trace = self.path(name + ".moetrace")
        with recorded_server(trace, "-m", model, "-np", "1", *options) as port:
            return trace, complete(port, PROMPT, **more)

    def hold_to_plain(self, plain, spec, said):
        """Both computed the same text; `said`: the server's answers to the requests with speculation."""
        drafted, accepted = (sum(a["timings"][k] for a in said) for k in ("draft_n", "draft_n_accepted"))
        self.assertGreater(drafted - accepted, 0, "nothing was rejected: nothing is tested")
        self.assertGreater(accepted, 0, "nothing was accepted: little is tested")

        a, b = rows_of(plain), rows_of(spec)
        self.assertEqual(places(a), places(b))
        by_place = {(r["layer"], r["sequence"], r["position"]): sorted(r["ids"]) for r in b}
        same = sum(by_place[r["layer"], r["sequence"], r["position"]] == sorted(r["ids"]) for r in a)
        self.assertGreater(same / len(a), 0.99)  # batches of other sizes round differently

        x, y, everything = stats(plain), stats(spec), stats(spec, "--with-removed")
        for figure in ("tokens", "tokens_decoded", "selections"):
            self.assertEqual(x[figure], y[figure], figure)
        self.assertEqual((x["tokens_taken_back"], y["tokens_taken_back"]), (0, drafted - accepted))
        self.assertEqual(everything["tokens"] - y["tokens"], drafted - accepted)
        p, q = selections(plain), selections(spec)
        self.assertEqual(p.keys(), q.keys())
        apart = sum(abs(p[k] - q[k]) for k in p)
        self.assertLess(apart, 0.02 * sum(p.values()))

        self.assertIn(f"drafts     {drafted - accepted} token", output("stats", spec))
        self.assertIn("no findings", output("check", spec))
        temporal = [json.loads(output("analyze", "temporal", "--json", t)) for t in (plain, spec)]
        self.assertEqual(temporal[0]["sequences"], temporal[1]["sequences"])

    def test_lookup_leaves_what_the_plain_run_leaves(self):
        plain, said = self.run_server("plain")
        spec, said_too = self.run_server("spec", *LOOKUP)
        self.assertEqual(said["tokens"], said_too["tokens"], "another text: nothing can be compared")
        self.hold_to_plain(plain, spec, [said_too])
        self.assertEqual(output("export", spec, "-f", "log").count("Prompt:"), 1)
        requests = json.loads(output("stats", "--requests", "--json", spec))
        self.assertEqual(requests["n_requests"], 1)
        self.assertEqual(requests["tokens_generated"], N_PREDICT - 1)

    def test_a_draft_model_leaves_what_the_plain_run_leaves(self):
        draft = self.path("draft.gguf")
        output("prune", MODEL, "--criterion", "random", "--keep", "20", "-o", draft, "-q")
        plain, said = self.run_server("plain")
        spec, said_too = self.run_server("spec", "-md", draft, "--spec-type", "draft-simple", "--spec-draft-n-max", "4")
        self.assertEqual(said["tokens"], said_too["tokens"], "another text: nothing can be compared")
        traces = [spec, self.path("spec.2.moetrace")]
        if "draft.gguf" in output("info", spec):
            traces.reverse()  # the draft model computed first
        self.hold_to_plain(plain, traces[0], [said_too])

        # The draft model's own trace has the text once, too, whatever it tried before; it asks for no logits of the prompt's end.
        texts = [{(r["position"], r["token"]) for r in rows_of(t)} for t in (plain, traces[1])]
        self.assertEqual(texts[0], texts[1])
        computed = rows_of(traces[1])
        self.assertEqual(len(computed), len({(r["layer"], r["position"]) for r in computed}))
        self.assertGreater(stats(traces[1])["tokens_taken_back"], said_too["timings"]["draft_n"])

    def test_an_mtp_block_leaves_what_the_plain_run_leaves(self):
        """In both contexts: that of the model, whose MTP block drafts, and that of the block, which follows it (one of the models
        cannot forget part of a text). Random weights: next to no draft is accepted."""
        for arch in ("glm4moe", "qwen35moe"):
            model = self.path(arch + ".gguf")
            subprocess.run(
                [os.environ["MAKE_MODEL_BIN"], "variant", "mtp-" + arch, "-o", model], check=True, capture_output=True
            )
            plain, said = self.run_server(arch + "-plain", model=model)
            mtp = ["--spec-type", "draft-mtp", "--spec-draft-n-max", "3"]
            spec, said_too = self.run_server(arch + "-spec", *mtp, model=model)
            self.assertEqual(said["tokens"], said_too["tokens"], "another text: nothing can be compared")
            drafted, accepted = (said_too["timings"][k] for k in ("draft_n", "draft_n_accepted"))
            self.assertGreater(drafted - accepted, N_PREDICT, "little was rejected: little is tested")

            # By its first layer: for its block, the model computes the whole prompt in the last layer, too.
            first = [[r for r in rows_of(t) if r["layer"] == 1] for t in (plain, spec)]
            self.assertEqual(*[[(r["position"], r["token"], r["phase"]) for r in rows] for rows in first])
            self.assertEqual(*[[sorted(r["ids"]) for r in rows] for rows in first])
            want, of_model, of_block = (stats(t) for t in (plain, spec, spec.replace(".moetrace", ".2.moetrace")))
            self.assertEqual(of_model["tokens_taken_back"], drafted - accepted)
            for found in (of_model, of_block):
                for figure in ("tokens", "tokens_decoded"):
                    self.assertEqual(found[figure], want[figure], figure)
                self.assertEqual(found["positions_cut"], 0)
            # The block tries each draft, and once more computes it when the model verifies it; the last ones nobody verifies.
            tried = of_block["tokens_taken_back"] - (drafted - accepted)
            self.assertIn(tried - drafted, range(4))

    def test_two_slots_at_once(self):
        prompts = [PROMPT, PROMPT[6:] + PROMPT[6:]]
        traces, answers = [], []
        for name, options in (("plain", []), ("spec", LOOKUP)):
            traces.append(self.path(name + ".moetrace"))
            with recorded_server(traces[-1], "-m", MODEL, "-np", "2", "--kv-unified", *options) as port:
                with concurrent.futures.ThreadPoolExecutor(2) as pool:
                    asked = [pool.submit(complete, port, p, id_slot=i) for i, p in enumerate(prompts)]
                    answers.append([a.result() for a in asked])
        self.assertEqual(*[[a["tokens"] for a in both] for both in answers])
        self.hold_to_plain(*traces, answers[1])

    def test_a_context_shift_discards_and_goes_on(self):
        trace, n_ctx, n_keep, n_discard, n_predict = self.path("t.moetrace"), 256, 8, 60, 500
        with recorded_server(trace, "-m", MODEL, "-np", "1", "-c", str(n_ctx), "--context-shift") as port:
            n_prompt = len(ask(port, "POST", "/tokenize", {"content": PROMPT, "add_special": True})[1]["tokens"])
            answer = complete(port, PROMPT, n_predict=n_predict, n_keep=n_keep, n_discard=n_discard)
        expected, position, n_shifts = list(range(n_prompt)), n_prompt, 0
        for _ in range(n_predict - 1):  # what the server does in front of each token
            if position + 1 >= n_ctx:
                position -= n_discard
                n_shifts += 1
            expected.append(position)
            position += 1
        self.assertGreater(n_shifts, 2)
        rows = [r for r in rows_of(trace) if r["layer"] == 1]
        self.assertEqual([r["position"] for r in rows], expected)
        self.assertEqual([r["token"] for r in rows][n_prompt:], answer["tokens"][:-1])
        self.assertEqual({r["sequence"] for r in rows}, {0})

        found = stats(trace)
        self.assertEqual((found["positions_discarded"], found["tokens_taken_back"]), (n_shifts * n_discard, 0))
        self.assertIn(
            f"discarded  {n_shifts * n_discard} tokens inside a text, in {n_shifts} steps", output("stats", trace)
        )
        self.assertEqual(json.loads(output("stats", "--requests", "--json", trace))["n_requests"], 1)
        self.assertEqual(json.loads(output("analyze", "temporal", "--json", trace))["sequences"], 1)

    def test_text_that_is_begun_anew_stays_and_is_counted(self):
        trace = self.path("t.moetrace")
        with recorded_server(trace, "-m", MODEL, "-np", "1", *LOOKUP) as port:
            first = complete(port, PROMPT)
            second = complete(port, PROMPT[:-6] + "9+9=")
        drafts = sum(a["timings"]["draft_n"] - a["timings"]["draft_n_accepted"] for a in (first, second))
        found = stats(trace)
        self.assertEqual(found["tokens_taken_back"], drafts)
        kept = first["timings"]["prompt_n"] + second["timings"]["prompt_n"] + 2 * (N_PREDICT - 1)
        self.assertEqual(found["tokens"], kept)
        # All of the first text that the second does not share went.
        self.assertEqual(
            found["positions_cut"], first["timings"]["prompt_n"] + N_PREDICT - 1 - second["timings"]["cache_n"]
        )
        self.assertIn("edited, begun anew or cancelled", output("stats", trace))

    def test_a_prompt_that_the_cache_holds_is_prefilled_and_not_generated(self):
        trace = self.path("t.moetrace")
        with recorded_server(trace, "-m", MODEL, "-np", "1") as port:
            answers = [complete(port, PROMPT) for _ in range(3)]
        self.assertEqual([a["timings"]["prompt_n"] for a in answers][1:], [1, 1])
        requests = json.loads(output("stats", "--requests", "--json", trace))
        self.assertEqual(requests["n_requests"], 3)
        self.assertEqual(requests["tokens_prefilled"], sum(a["timings"]["prompt_n"] for a in answers))
        self.assertEqual(requests["tokens_generated"], 3 * (N_PREDICT - 1))
        phases = [r["phase"] for r in rows_of(trace) if r["layer"] == 1]
        self.assertEqual(phases.count("prefill"), requests["tokens_prefilled"])


if __name__ == "__main__":
    unittest.main()
