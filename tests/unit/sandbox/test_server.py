"""The sandbox over a socket: where it listens, and what only a connection can suffer."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress

import httpx2
import pytest

from bydawn.sandbox import CallFault, FaultPlan, SandboxConfig, create_app, running, serve

HEADERS = {"Authorization": "Bearer sk-one"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_only_loopback_is_served(tmp_path, host):
    config = SandboxConfig(home=tmp_path / "home")
    with pytest.raises(ValueError, match="loopback"), running(config, host):
        pass
    with pytest.raises(ValueError, match="loopback"):
        serve(config, host)
    assert not config.home.exists()


def test_a_taken_port_is_an_error_that_leaves_nothing_running(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"), running(SandboxConfig(home=tmp_path / "home"), port=port):
            pass
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_used_leaves_nothing_running(tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(FileExistsError), running(SandboxConfig(home=tmp_path / "home")):
        pass


@pytest.mark.parametrize("speed", [-1.0, float("inf"), float("nan")])
def test_impossible_speeds_are_refused(tmp_path, speed):
    with pytest.raises(ValueError, match="speed"):
        SandboxConfig(home=tmp_path / "home", speed=speed)


def test_a_server_of_ones_own_closes_the_world_at_its_end(tmp_path):
    app = create_app(SandboxConfig(home=tmp_path / "home"))

    async def serve_and_end() -> None:
        async with app.router.lifespan_context(app):
            assert app.state.world.store.counts() == {}

    asyncio.run(serve_and_end())
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        app.state.world.store.counts()


SERVE = "import sys; from pathlib import Path; from bydawn.sandbox import SandboxConfig, serve;"


def test_serving_ends_with_an_interrupt(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = f"{SERVE} serve(SandboxConfig(home=Path(sys.argv[1])), port={port})"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "home")], stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with suppress(httpx2.ConnectError):
                assert httpx2.get(f"http://127.0.0.1:{port}/v1/models", headers=HEADERS).status_code == 200
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
    with running(SandboxConfig(home=tmp_path / "home")) as again:
        calls = httpx2.get(f"{again.root_url}/_sandbox/calls").json()
    assert calls["counts"] == {"models.list": 1}


def test_stopping_frees_the_home_and_the_port(tmp_path):
    config = SandboxConfig(home=tmp_path / "home")
    with running(config) as sandbox:
        assert sandbox.base_url == f"http://127.0.0.1:{sandbox.port}/v1"
        assert httpx2.get(f"{sandbox.base_url}/models", headers=HEADERS).status_code == 200
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{sandbox.base_url}/models", headers=HEADERS)
    with running(config, port=sandbox.port) as again:
        assert httpx2.get(f"{again.base_url}/models", headers=HEADERS).status_code == 200


@pytest.fixture
def faulty(tmp_path):
    """Makes a client of a served sandbox whose calls suffer the faults given."""
    closers = []

    def make(*faults: CallFault) -> httpx2.Client:
        server = running(SandboxConfig(home=tmp_path / "home", faults=FaultPlan(call=faults)))
        sandbox = server.__enter__()
        client = httpx2.Client(base_url=sandbox.base_url, headers=HEADERS, timeout=30)
        closers.append((client, server))
        return client

    yield make
    for client, server in closers:
        client.close()
        server.__exit__(None, None, None)


def create(client: httpx2.Client) -> httpx2.Response:
    body = {"input_file_id": "file-x", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return client.post("/batches", json=body)


@pytest.mark.parametrize(("action", "made"), [("drop_before", 0), ("drop_after", 1)])
def test_a_connection_can_be_reset_around_the_effect(faulty, action, made):
    client = faulty(CallFault(on="batches.create", action=action))
    with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
        create(client)
    assert len(client.get("/batches").json()["data"]) == made


@pytest.mark.parametrize(("action", "made"), [("hang", 0), ("hang_after", 1)])
def test_an_answer_can_fail_to_come(faulty, action, made):
    client = faulty(CallFault(on="batches.create", action=action))
    client.timeout = 0.3
    with pytest.raises(httpx2.ReadTimeout):
        create(client)
    client.timeout = 30
    assert len(client.get("/batches").json()["data"]) == made


@pytest.mark.parametrize("action", ["cut", "reset"])
def test_a_download_can_end_in_the_middle_and_be_resumed(faulty, action):
    content = b'{"a":1}\n' * 50_000
    client = faulty(CallFault(on="files.content", action=action, bytes=100_000, calls=(1,)))
    form = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", content)}}
    file_id = client.post("/files", **form).json()["id"]
    received = b""
    with (  # noqa: PT012
        pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)),
        client.stream("GET", f"/files/{file_id}/content") as answer,
    ):
        assert answer.headers["content-length"] == str(len(content))
        for chunk in answer.iter_bytes():
            received += chunk
    assert len(received) <= 100_000
    rest = client.get(f"/files/{file_id}/content", headers={"Range": f"bytes={len(received)}-"})
    assert (rest.status_code, received + rest.content) == (206, content)


def test_a_cut_beyond_the_end_changes_nothing(faulty):
    client = faulty(CallFault(on="batches.list", action="cut", bytes=10_000))
    assert client.get("/batches").json()["data"] == []


def test_a_large_upload_with_a_bad_key_gets_its_answer(faulty):
    client = faulty()
    form = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", b'{"a":1}\n' * 1_000_000)}}
    assert client.post("/files", headers={"Authorization": "Bearer no"}, **form).status_code == 401
