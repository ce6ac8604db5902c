"""How exactly two machines compute the same.

moescope's own arithmetic depends on the C library's logarithms and, outside x86-64, on fused multiplications; a model's on
every vector instruction that llama.cpp was compiled for. Where these are what the expected files were made with, the bytes
must be the same; elsewhere the last digits may differ.
"""

import json
import platform
import re

OF_THE_MODEL = {"profile", "trace"}  # kinds of outputs that a model computed


def describe():
    flags = ""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if re.match(r"flags|Features", line)), "")
    except OSError:
        pass
    vector = sorted(f for f in set(flags.split()) if re.match(r"avx|amx|fma$|f16c$|sse4|asimd|sve|i8mm|bf16", f))
    return {"machine": platform.machine(), "libc": " ".join(platform.libc_ver()), "vector": vector}


class Machine:
    def __init__(self, path):
        with open(path) as file:
            then = json.load(file)
        now = describe()
        self.same_model = now == then
        fused = all("fma" in m["vector"] for m in (now, then))
        self.same_arithmetic = fused and all(now[key] == then[key] for key in ("machine", "libc"))

    def tolerance(self, kind):
        if kind in OF_THE_MODEL:
            return 0.0 if self.same_model else 1e-4
        return 0.0 if self.same_arithmetic else 1e-9

    @staticmethod
    def record(path):
        with open(path, "w") as file:
            json.dump(describe(), file, indent=1)
            file.write("\n")
