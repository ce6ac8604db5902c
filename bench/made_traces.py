"""What the benches of the analyses share: the build, and traces of a given size."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def build(folder, *targets):
    for command in (
        ["cmake", "--preset", "release", "-B", folder, "-DMOESCOPE_BENCH=ON"],
        ["cmake", "--build", folder, "--target", *targets],
    ):
        if subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode != 0:
            sys.exit(f"{' '.join(command)} failed")


def make_trace(build_dir, path, size, *options):
    """Writes the trace unless it is there, its size in its name, which is returned. `size` takes K, M, G; what it is made of
    is named in bench/trace_maker.cpp."""
    path = path.replace(".moetrace", f".{size}.moetrace")
    if not os.path.exists(path):
        print(f"making {path}", file=sys.stderr)
        unfinished = path + ".part"
        subprocess.run(
            [os.path.join(build_dir, "bench", "trace_maker"), "-o", unfinished, "--bytes", size, *options], check=True
        )
        os.rename(unfinished, path)
    return path
