"""`moescope profile` on several processes: MPI ranks, and llama.cpp's RPC servers on loopback.

Counts must equal those of one process exactly, sums within 1e-6, on a planted model (whose routing has a margin).
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

MOESCOPE = os.environ["MOESCOPE_BIN"]
MAKE_MODEL = os.environ["MAKE_MODEL_BIN"]
RPC_SERVER = os.path.join(os.environ["LLAMA_CPP_BIN"], "ggml-rpc-server")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class ManyProcesses(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        subprocess.run([MAKE_MODEL, "planted", "-o", cls.path("m.gguf")], check=True)
        with open(cls.path("c.jsonl"), "w") as f:
            for i in range(700):  # three stretches of 256 samples
                f.write(json.dumps({"text": "".join(chr(97 + (i * 7 + j * j) % 26) for j in range(5 + i % 30))}) + "\n")
        cls.one = cls.profile("one")

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def profile(cls, name, *options, launch=()):
        subprocess.run(
            [
                *launch,
                MOESCOPE,
                "profile",
                "-q",
                "-t",
                "1",
                "-m",
                cls.path("m.gguf"),
                "--jsonl",
                cls.path("c.jsonl"),
                "-o",
                cls.path(name + ".json"),
                *options,
            ],
            check=True,
            timeout=300,
        )
        with open(cls.path(name + ".json")) as f:
            return json.load(f)

    def assert_same(self, got):
        self.assertEqual(got.keys(), self.one.keys())
        for layer, want in self.one.items():
            self.assertEqual(got[layer]["total_tokens"], want["total_tokens"])
            self.assertEqual(got[layer]["activation_counts"], want["activation_counts"])
            for key in ("reap", "ean_mean", "avg_gate_weight"):
                for a, b in zip(got[layer][key], want[key]):
                    self.assertAlmostEqual(a, b, delta=1e-6 * abs(b))

    def test_two_ranks_equal_one_process(self):
        linked = subprocess.run(["ldd", MOESCOPE], capture_output=True, text=True, check=True).stdout
        if "libmpi" not in linked:
            self.skipTest("this build has no MPI: scripts/setup installs libopenmpi-dev, then configure again")
        if shutil.which("mpirun") is None:
            self.skipTest("no mpirun: scripts/setup installs openmpi-bin")
        launch = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"]
        self.assert_same(self.profile("ranks", launch=launch))
        left = [n for n in os.listdir(self.folder.name) if ".rank" in n]
        self.assertEqual(left, [], "the ranks' checkpoints were not cleaned up")

    def test_two_rpc_servers_equal_one_process(self):
        if not os.path.exists(RPC_SERVER):
            self.skipTest("no ggml-rpc-server")
        ports = [free_port(), free_port()]
        servers = [
            subprocess.Popen(
                [RPC_SERVER, "-H", "127.0.0.1", "-p", str(p)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for p in ports
        ]
        try:
            for port in ports:
                deadline = time.monotonic() + 30
                while not answers(port) and time.monotonic() < deadline:
                    time.sleep(0.05)
            self.assert_same(self.profile("rpc", "--rpc", ",".join(f"127.0.0.1:{p}" for p in ports)))
        finally:
            for s in servers:
                s.terminate()
                s.wait()


if __name__ == "__main__":
    unittest.main()
