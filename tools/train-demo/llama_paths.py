"""Where scripts/setup and the build leave llama.cpp, as defaults for options."""
import os
from pathlib import Path


def newest(pattern):
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    cache = Path(os.environ.get("MOESCOPE_CACHE", base / "moescope"))
    found = sorted(cache.glob(pattern), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def default_source():
    return newest("llama.cpp-" + "[0-9a-f]" * 12)


def default_build(built="libllama.so"):
    """The build folder in whose bin/ this file was built last; None where there is none."""
    found = newest(f"llama.cpp-*-build-*/bin/{built}")
    return found.parent.parent if found else None
