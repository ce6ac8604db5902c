"""Compiles llama_logits.cpp against a llama.cpp build and runs it."""
import os
import subprocess
from pathlib import Path

import numpy as np

from llama_paths import default_build, default_source


def add_llama_options(parser):
    parser.add_argument(
        "--llama-src", type=Path, default=default_source(), help="llama.cpp checkout (default: %(default)s)"
    )
    parser.add_argument(
        "--llama-build",
        type=Path,
        default=default_build(),
        help="its build folder, with shared libraries in bin/ (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())


class Llama:
    def __init__(self, args, model):
        self.model, self.bin = str(model), Path(args.work) / "llama_logits"
        source, lib = Path(__file__).with_name("llama_logits.cpp"), args.llama_build / "bin"
        subprocess.run(
            [
                "g++",
                "-std=c++17",
                "-O2",
                f"-I{args.llama_src}/include",
                f"-I{args.llama_src}/ggml/include",
                str(source),
                f"-L{lib}",
                f"-Wl,-rpath,{lib}",
                f"-Wl,-rpath-link,{lib}",
                "-lllama",
                "-lggml",
                "-lggml-base",
                "-o",
                str(self.bin),
            ],
            check=True,
        )

    def _run(self, data, *args):
        return subprocess.run([str(self.bin), self.model, *args], input=data, stdout=subprocess.PIPE, check=True).stdout

    def tokenize(self, text):
        return np.frombuffer(self._run(text.encode(), "tokenize"), dtype=np.int32)

    def logits(self, rows):
        """rows [window, n_ctx] ids -> [window, n_ctx, n_vocab]; windows do not see each other."""
        out = self._run(rows.astype(np.int32).tobytes(), "logits", str(rows.shape[1]))
        return np.frombuffer(out, dtype=np.float32).reshape(*rows.shape, -1)
