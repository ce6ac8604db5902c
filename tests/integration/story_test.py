"""docs/story.md, as it stands there: its five commands, in their order, with llama-server and the demo model. Requests and
their tokens are those that the server counts itself."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
MOESCOPE = os.environ["MOESCOPE_BIN"]
LLAMA_CPP = os.environ["LLAMA_CPP_BIN"]
IDLE = 2.0  # seconds between two requests
SIZE = 11 << 20  # of a demo model of 14.3 MiB, for the page's 12G


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def page():
    with open(os.path.join(SOURCE, "docs", "story.md"), encoding="utf-8") as file:
        return file.read()


def five_commands():
    """Of the page's first block, without the remarks behind them and with lines joined that go on."""
    block = re.search(r"^```\n(.*?)^```", page(), re.MULTILINE | re.DOTALL).group(1).replace("\\\n", " ")
    return [re.sub(r"\s+# .*", "", line) for line in block.splitlines() if line.strip()]


class Story(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        shutil.copy(os.path.join(SOURCE, "models", "demo.gguf"), cls.path("model.gguf"))
        cls.port = free_port()
        path = os.pathsep.join([os.path.dirname(MOESCOPE), LLAMA_CPP, os.environ["PATH"]])
        cls.env = {**os.environ, "PATH": path, "LLAMA_ARG_PORT": str(cls.port), "LLAMA_ARG_HOST": "127.0.0.1"}
        with open(os.path.join(SOURCE, "models", "prompts.jsonl"), encoding="utf-8") as file:
            prompts = [json.loads(line) for line in file]
        cls.week, judge = prompts[::2], prompts[1::2]
        cls.week.append(cls.week[-1])  # of which the server has most in its cache
        cls.write("judge.jsonl", [{"prompt": p["prompt"], "topic": p["domain"]} for p in judge])
        cls.write("topics.jsonl", [{"topic": p["domain"]} for p in cls.week])
        cls.commands = five_commands()
        assert len(cls.commands) == 5, cls.commands
        cls.timings = cls.serve(cls.commands[0])
        cls.printed = [cls.run_command(c.replace("12G", str(SIZE))) for c in cls.commands[1:]]

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def write(cls, name, objects):
        with open(cls.path(name), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(o) + "\n" for o in objects)

    @classmethod
    def run_command(cls, command):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=cls.folder,
            env=cls.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    @classmethod
    def json_of(cls, command):
        return json.loads(cls.run_command(command))

    @classmethod
    def serve(cls, command):
        """The server runs while its users write, and is stopped as a person stops it. What it says of each request."""
        with open(cls.path("server.log"), "w", encoding="utf-8") as log:
            server = subprocess.Popen(
                ["bash", "-c", "exec " + command],
                cwd=cls.folder,
                env=cls.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            timings = []
            for i, prompt in enumerate(cls.week):
                if i == len(cls.week) // 2:
                    time.sleep(IDLE)
                timings.append(cls.complete(prompt["prompt"]))
            return timings
        finally:
            os.killpg(server.pid, signal.SIGINT)
            try:
                server.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
                raise

    @classmethod
    def complete(cls, prompt):
        body = json.dumps({"prompt": prompt, "n_predict": 12, "temperature": 0, "ignore_eos": True}).encode()
        url = f"http://127.0.0.1:{cls.port}/completion"
        for _ in range(120):  # until it listens, and has its model
            try:
                request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=120) as answer:
                    return json.load(answer)["timings"]
            except OSError:
                time.sleep(0.5)
        with open(cls.path("server.log"), encoding="utf-8", errors="replace") as log:
            raise AssertionError("the server does not answer:\n" + log.read()[-2000:])

    # ---- a week of chats -------------------------------------------------------------------------------------------

    def test_requests_are_those_that_the_server_counts(self):
        got = self.json_of("moescope stats week.moetrace --requests --json")["requests"]
        self.assertEqual(len(got), len(self.week))
        for row, said in zip(got, self.timings):
            # The last token is sampled and never computed.
            self.assertEqual((row["prefilled"], row["generated"]), (said["prompt_n"], said["predicted_n"] - 1))
            self.assertEqual(row["reused"], said["cache_n"])
            self.assertEqual(row["stream"], 1)
            self.assertIn(row["slot"], range(4))
        self.assertGreater(got[-1]["reused"], 0)  # it was asked once more
        starts = [row["start_s"] for row in got]
        self.assertEqual(starts, sorted(starts))
        half = len(self.week) // 2
        self.assertGreater(starts[half] - starts[half - 1], IDLE)

    def test_idle_time_does_not_count(self):
        info = self.json_of("moescope info week.moetrace --json")
        computed, ran = info["compute_ns"] / 1e9, info["run_ns"] / 1e9
        self.assertLess(computed, ran - IDLE)
        said = sum(t["prompt_ms"] + t["predicted_ms"] for t in self.timings) / 1e3  # by the server's own clock
        self.assertLess(computed, 1.05 * said)
        self.assertGreater(computed, 0.5 * said)
        self.assertLess(info["capture_ns"], info["compute_ns"])
        line = re.search(
            r"capture +took ([\d.]+) % of .* of computing", self.run_command("moescope stats week.moetrace")
        )
        self.assertAlmostEqual(float(line.group(1)), 100 * info["capture_ns"] / info["compute_ns"], delta=0.006)

    # ---- which experts ---------------------------------------------------------------------------------------------

    def test_labels_are_the_topics_of_the_requests(self):
        labels = {l["label"]: l["rows"] for l in self.json_of("moescope stats week.moestats --json")["labels"]}
        wanted = {}
        for prompt, said in zip(self.week, self.timings):
            n = said["prompt_n"] + said["predicted_n"] - 1
            wanted[prompt["domain"]] = wanted.get(prompt["domain"], 0) + n
        self.assertEqual(labels, wanted)
        for topic in wanted:
            self.assertIn(topic, self.printed[1])  # stats names them

    # ---- a smaller model -------------------------------------------------------------------------------------------

    def test_the_smaller_model_is_as_small_as_was_asked_for(self):
        self.assertLessEqual(os.path.getsize(self.path("small.gguf")), SIZE)
        self.assertGreater(os.path.getsize(self.path("small.gguf")), 0.9 * SIZE)
        self.assertIn("small.gguf: ", self.printed[2])
        for topic in ("arithmetic", "code", "prose"):
            self.assertRegex(self.printed[2], rf"displaced selections: .*{topic} [\d.]+ %")

    def test_a_dry_run_of_it_opens_with_what_each_topic_loses(self):
        command = self.commands[3].replace("12G", str(SIZE)).replace("-o small.gguf", "--dry-run")
        self.assertIn(command.replace(str(SIZE), "12G"), " ".join(page().split()))  # the page shows it
        plan = self.json_of(command + " --json")
        lost = re.search(r"displaced selections: [\d.]+ % \((.*)\)", self.printed[2]).group(1)
        said = {k: float(v) for k, v in re.findall(r"(\w+) ([\d.]+) %", lost)}
        self.assertEqual(said, {k: float(f"{100 * v:.1f}") for k, v in plan["displaced_by_label"].items()})

    # ---- is it still good ------------------------------------------------------------------------------------------

    def test_what_it_costs_is_measured_by_topic(self):
        got = self.json_of(self.commands[4] + " --json")
        self.assertGreater(got["plans"][0]["kl"], 0)
        self.assertLess(got["plans"][0]["kl"], 2)
        self.assertEqual({l["label"] for l in got["plan_labels"]}, {"arithmetic", "code", "prose"})
        self.assertIn("KL", self.printed[3])

    def test_the_small_one_serves_and_its_trace_is_compared(self):
        """The page's last remark: both on one text, in the full model's numbers, though the smaller file is gone."""
        for name in ("model", "small"):
            self.run_command(f"moescope run -m {name}.gguf -q -t 1 -n 0 --jsonl judge.jsonl -o {name}.moetrace --force")
        got = self.json_of("moescope analyze compare model.moetrace small.moetrace --json")
        self.assertEqual({l["overlap_chance"] for l in got["layers"]}, {4 / 32})
        self.assertGreater(got["overlap"], 0.5)


if __name__ == "__main__":
    unittest.main()
