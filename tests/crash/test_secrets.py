"""A key that can be recognised is planted, everything goes wrong, and nothing that bydawn leaves behind may hold it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import msgspec
import pytest

from bydawn.sandbox import CallFault, FaultPlan
from support.checks import make_rows
from support.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "PLANTED0123456789SECRET"
KEYS = (f"sk-proj-{SECRET}", f"gateway-{SECRET}.x")
"""One of the usual shape, and one that nothing but knowing it gives away."""


def _json_echo(key: str) -> tuple[int, str, bytes]:
    error = {"message": f"Incorrect API key provided: {key}.", "type": key, "param": key, "code": key}
    return 401, "application/json", msgspec.json.encode({"error": error})


def _text_echo(key: str) -> tuple[int, str, bytes]:
    return 403, "application/json", msgspec.json.encode({"error": f"{key} may not"})


def _page_echo(key: str) -> tuple[int, str, bytes]:
    return 502, "text/html", f"<html><head><title>Bearer {key}</title></head><body>{key}</body></html>".encode()


def _bad_request_echo(key: str) -> tuple[int, str, bytes]:
    return 400, "application/json", msgspec.json.encode({"error": {"message": f"Bearer {key} is odd", "code": key}})


def _page_instead_of_success(key: str) -> tuple[int, str, bytes]:
    return 200, "text/html", f"<html><title>{key}</title></html>".encode()


def _unreadable_success(key: str) -> tuple[int, str, bytes]:
    return 200, "application/json", f'{{"authorization": "Bearer {key}", "id": '.encode()


def _quota_echo(key: str) -> tuple[int, str, bytes]:
    error = {"message": f"{key} has no money", "type": "insufficient_quota", "code": "insufficient_quota"}
    return 429, "application/json", msgspec.json.encode({"error": error})


ECHOES = (
    _json_echo, _text_echo, _page_echo, _bad_request_echo, _page_instead_of_success, _unreadable_success, _quota_echo,
)  # fmt: skip


@pytest.fixture
def echo(request: pytest.FixtureRequest) -> Iterator[str]:
    """A service that answers everything with the caller's own key; its base URL."""
    answer: Callable[[str], tuple[int, str, bytes]] = request.param

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            status, kind, body = answer(self.headers["authorization"].removeprefix("Bearer "))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.send_header("x-request-id", "req_1")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("echo", ECHOES, indirect=True)
@pytest.mark.parametrize("key", KEYS, ids=["usual", "unusual"])
def test_a_service_that_repeats_the_key_spreads_it_nowhere(folder: Path, echo: str, key: str) -> None:
    rows = folder / "rows.jsonl"
    rows.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in make_rows(3)))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("BYDAWN", "OPENAI"))},
        "BYDAWN_HOME": str(folder / "home"),
        "BYDAWN_POLL_MIN": "0.05",
        "BYDAWN_POLL_MAX": "0.1",
        "BYDAWN_SETTLE_WAIT": "0.2",
        "OPENAI_BASE_URL": echo,
        "OPENAI_API_KEY": key,
    }
    said = b""
    run = ["run", rows, "-m", "openai/gpt-4o-mini", "-o", folder / "out.jsonl"]
    for command in (run, ["status", "--json"], ["doctor"]):
        done = subprocess.run(
            [sys.executable, "-m", "bydawn", *command], env=environment, capture_output=True, timeout=60, cwd=folder,
            check=False,
        )  # fmt: skip
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        said += done.stdout + done.stderr

    assert said, "nothing was said at all"
    assert SECRET.encode() not in said, said.decode()
    assert not holders(folder, SECRET)


def test_nothing_on_disk_holds_the_key_after_a_job_with_every_kind_of_trouble(folder: Path) -> None:
    trouble = FaultPlan(
        call=(
            CallFault(on="files.create", action="status", status=401, calls=(2,)),
            CallFault(on="batches.create", action="status_after", status=502, html=True, calls=(1,)),
            CallFault(on="batches.retrieve", action="status", status=500, calls=(1, 3)),
        )
    )
    lab = Lab(folder, key=f"sk-{SECRET}", faults=trouble)
    rows = make_rows(25)

    for _ in range(3):
        run = lab.run(rows)
        assert SECRET not in repr(run.error)
        assert SECRET not in repr(run.events)

    assert run.status is not None
    assert run.status.all_succeeded
    assert not holders(folder / "home", SECRET)
    assert SECRET.encode() not in run.output


def holders(folder: Path, text: str) -> list[Path]:
    """Return the files below ``folder`` that hold a text."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_planted_key_would_be_found(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "log").write_text(f"Bearer {KEYS[0]}")

    assert holders(folder, SECRET) == [folder / "deep" / "log"]


def test_state_is_private_to_the_user(folder: Path) -> None:
    lab = Lab(folder)
    lab.run(make_rows(12))

    modes = {path: path.stat().st_mode & 0o777 for path in [lab.home, *lab.home.rglob("*")]}

    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
