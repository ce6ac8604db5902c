"""Asks `moescope serve` for everything it has."""

import subprocess
import time
import urllib.request
from urllib.parse import urlsplit

WAIT = 60  # seconds


def _get(url):
    with urllib.request.urlopen(url, timeout=WAIT) as answer:
        return answer.status, answer.read()


def _until(url, done):
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        status, data = _get(url)
        if done(status, data):
            return data
        time.sleep(0.02)
    raise AssertionError(f"{url}: not within {WAIT} s")


def served(job, document):
    """[(what was asked, bytes)]: the page's data when all is read, tokens, pairs, caches and metrics."""
    process = subprocess.Popen(
        [job.moescope, *job.words], cwd=job.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        url = next(word for line in process.stdout for word in line.split() if word.startswith("http://127.0.0.1:"))
        found = [("data", _until(url + "data", lambda _, data: not document(data)["live"]))]
        for what in (
            "tokens?run=0&first=3&count=40",
            "tokens?run=1&first=0&count=9",
            "pairs?run=0&block=2",
            "pairs?run=1&block=0",
        ):
            found.append((what, _get(url + what)[1]))
        caches = "caches?run=0&tokens=200"
        found.append((caches, _until(url + caches, lambda status, _: status == 200)))
        found.append(("metrics", _get("http://" + urlsplit(url).netloc + "/metrics")[1]))
        return found
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
