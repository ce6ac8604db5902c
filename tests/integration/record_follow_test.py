"""llama-server in router mode starts a process for each model: `record --follow` has a trace of each."""

import glob
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from recorded_server import ask, recorded_server  # noqa: E402
from tool_case import ToolCase  # noqa: E402

N_PREDICT = 5
ASKED = {"small": ["one prompt", "another one"], "large": ["a third"]}  # of each model


class RouterMode(ToolCase):
    def test_each_model_has_a_trace(self):
        os.mkdir(self.path("models"))
        self.make_model("models/small.gguf", layers=1, experts=4, k=2)
        self.make_model("models/large.gguf", layers=2, experts=8, k=3)
        n_prompt = {model: 0 for model in ASKED}
        options = ["--models-dir", self.path("models"), "-np", "1"]
        with recorded_server(self.path("t.moetrace"), *options, record=["--follow"]) as port:
            for model, prompts in ASKED.items():
                for prompt in prompts:
                    body = {"model": model, "prompt": prompt, "n_predict": N_PREDICT, "ignore_eos": True}
                    status, answer = ask(port, "POST", "/completion", {**body, "cache_prompt": False})
                    self.assertEqual(status, 200, answer)
                    n_prompt[model] += answer["timings"]["prompt_n"]
        traces = glob.glob(self.path("t.*.moetrace"))
        self.assertEqual(len(traces), len(ASKED), traces)
        self.assertFalse(os.path.exists(self.path("t.moetrace")))
        for trace in traces:
            found = json.loads(self.done("stats", "--json", trace).stdout)
            model = {4: "small", 16: "large"}[found["n_experts"]]
            self.assertEqual(found["tokens"] - found["tokens_decoded"], n_prompt.pop(model))
            self.assertEqual(found["tokens_decoded"], len(ASKED[model]) * (N_PREDICT - 1))
        self.assertEqual(n_prompt, {})


if __name__ == "__main__":
    unittest.main()
