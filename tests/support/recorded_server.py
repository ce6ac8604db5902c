"""llama-server under `moescope record`, on 127.0.0.1 and for a while."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time

MOESCOPE = os.environ["MOESCOPE_BIN"]
SERVER = os.path.join(os.environ["LLAMA_CPP_BIN"], "llama-server")


@contextlib.contextmanager
def recorded_server(trace, *options, record=()):
    """The port of a server with these options, when it answers. It ends with the block, and the trace with it."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = [SERVER, "--host", "127.0.0.1", "--port", str(port), "-c", "1024", "-t", "1", "--no-webui", *options]
    with subprocess.Popen(
        [MOESCOPE, "record", "-o", trace, *record, "--", *server],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as recorder:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    if ask(port, "GET", "/health")[0] == 200:
                        break
                time.sleep(0.1)
            yield port
        finally:
            recorder.send_signal(signal.SIGTERM)
            recorder.wait(timeout=60)


def ask(port, method, path, body=None):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request(method, path, json.dumps(body) if body else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
