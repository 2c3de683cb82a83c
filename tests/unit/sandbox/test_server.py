"""The sandbox over a socket: where it listens, and what only a connection can suffer."""

from __future__ import annotations

import socket

import httpx2
import pytest

from bydawn.sandbox import CallFault, FaultPlan, SandboxConfig, running, serve

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


def test_a_large_upload_with_a_bad_key_gets_its_answer(faulty):
    client = faulty()
    form = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", b'{"a":1}\n' * 1_000_000)}}
    assert client.post("/files", headers={"Authorization": "Bearer no"}, **form).status_code == 401
