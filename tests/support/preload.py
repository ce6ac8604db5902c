"""LD_PRELOAD for a program that is to be recorded, without moescope record."""

import os


def preloaded(*libraries):
    """Our environment with these libraries in LD_PRELOAD, behind what is there already: where the recorder is built with a
    sanitizer, tests/sanitized has put the sanitizer's runtime there, and that must be the first."""
    there = os.environ.get("LD_PRELOAD")
    return {**os.environ, "LD_PRELOAD": ":".join([there, *libraries] if there else libraries)}
