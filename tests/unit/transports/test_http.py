"""Goal: one request goes out as it was described, and what comes back is an answer or an honest "nobody knows".

Method: a raw loopback server that drops, cuts, stalls and lies as scripted.
"""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys

import pytest

from bydawn.core.wire import FilePart, WireRequest
from bydawn.errors import AnswerLost, NotSent, StoreError, UnexpectedAnswer
from bydawn.transports import http, multipart

GET = WireRequest(method="GET", path="/batches", safety="safe")
POST = WireRequest(method="POST", path="/batches", safety="unsafe", json={"a": "é"})


def test_a_request_goes_out_as_it_was_described(net):
    request = WireRequest(
        method="GET",
        path="/batches/a%2Fb",
        safety="safe",
        query=(("limit", "1"), ("after", "x y")),
        headers={"X-A": "b"},
    )
    (got,), server = net.send([net.answer(200, b"{}", X_Request_Id="req_1")], request, headers={"OpenAI-Project": "p"})
    (seen,) = server.seen
    assert (seen.method, seen.target) == ("GET", "/v1/batches/a%2Fb?limit=1&after=x+y")
    assert seen.headers["authorization"] == f"Bearer {net.KEY}"
    assert (seen.headers["x-a"], seen.headers["openai-project"]) == ("b", "p")
    assert seen.headers["user-agent"].startswith("bydawn/")
    assert (got.status, got.body, got.headers["x-request-id"]) == (200, b"{}", "req_1")


def test_json_goes_out_as_utf8_with_its_length(net):
    _, server = net.send([net.answer()], POST)
    (seen,) = server.seen
    assert seen.body == '{"a":"é"}'.encode()
    assert (seen.headers["content-type"], seen.headers["content-length"]) == ("application/json", "10")


def test_a_post_without_a_body_has_none(net):
    _, server = net.send([net.answer()], WireRequest(method="POST", path="/x/cancel", safety="idempotent"))
    assert (server.seen[0].body, "content-type" in server.seen[0].headers) == (b"", False)


@pytest.mark.parametrize("status", [201, 400, 404, 429, 500, 503])
def test_every_status_is_an_answer(net, status):
    (got,), _ = net.send([net.answer(status, b"text")], GET)
    assert (got.status, got.body) == (status, b"text")


def test_every_call_has_a_connection_of_its_own(net):
    """A server that answers once per connection, and then only listens, stands for one that hangs up in between."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    got, _ = net.send([reply] * 3, GET, GET, GET, early=True, read_timeout_s=0.5)
    assert [one.body for one in got] == [b"{}"] * 3


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(net, status):
    (got,), server = net.send([net.answer(status, Location="/v1/elsewhere"), net.answer()], GET)
    assert (got.status, got.headers["location"], len(server.seen)) == (status, "/v1/elsewhere", 1)


def test_a_compressed_answer_is_unpacked(net):
    (got,), _ = net.send([net.answer(200, gzip.compress(b"{}"), Content_Encoding="gzip")], GET)
    assert got.body == b"{}"


def test_nobody_listening_is_not_sent(net):
    async def run():
        async with net.Server().running() as server:
            url = server.url
        async with net.transport(url) as transport:
            await transport.send(POST)

    with pytest.raises(NotSent, match="POST /batches"):
        asyncio.run(run())


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    ],
    ids=["hung up", "within the headers", "within the body", "between chunks", "no HTTP", "no gzip"],
)
def test_anything_but_a_whole_answer_is_lost(net, reply):
    (got,), server = net.send([reply], POST)
    assert isinstance(got, AnswerLost)
    assert "POST /batches" in str(got)
    assert len(server.seen) == 1


def test_silence_beyond_the_timeout_is_lost(net):
    (got,), _ = net.send([None], POST, read_timeout_s=0.05)
    assert isinstance(got, AnswerLost)
    assert "ReadTimeout" in str(got)


def test_a_runaway_answer_is_stopped(net, monkeypatch):
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1_000)
    (fits, larger), _ = net.send([net.answer(200, b"x" * 1_000), net.answer(200, b"x" * 1_001)], GET, GET)
    assert len(fits.body) == 1_000
    assert isinstance(larger, UnexpectedAnswer)


def test_the_key_is_masked_in_answers_that_become_errors(net):
    (got,), _ = net.send([net.answer(401, f"no such key: {net.KEY}.".encode())], GET)
    assert got.body == b"no such key: ***."


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", "7"),
        ("0.5", "0.5"),
        ("Wed, 18 Nov 2026 11:13:40 GMT", "420.0"),
        ("Wed, 18 Nov 2020 10:27:00 GMT", "0.0"),
        ("tomorrow", "0.0"),
    ],
)
def test_dates_to_wait_for_become_seconds(net, asked, seconds):
    (got,), _ = net.send([net.answer(429, Retry_After=asked)], GET)
    assert float(got.headers["retry-after"]) == pytest.approx(float(seconds))


def test_no_proxy_stands_between_us_and_this_machine(net, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    (got,), _ = net.send([net.answer(200, b"{}")], GET)
    assert got.status == 200


# --- uploads -------------------------------------------------------------------------------------------------------


def upload(path, name="x.jsonl"):
    form = (("purpose", "batch"), ("expires_after[anchor]", "created_at"))
    return WireRequest(method="POST", path="/files", safety="idempotent", form=form, file=FilePart("file", name, path))


def test_a_file_is_streamed_as_a_form_of_known_length(net, tmp_path, monkeypatch):
    monkeypatch.setattr(multipart, "CHUNK_BYTES", 1_000)
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b'{"a":1}\n' * 1_001)
    _, server = net.send([net.answer()], upload(path))
    (seen,) = server.seen
    assert "transfer-encoding" not in seen.headers
    assert int(seen.headers["content-length"]) == len(seen.body)
    boundary = seen.headers["content-type"].removeprefix("multipart/form-data; boundary=")
    assert (
        seen.body
        == (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="expires_after[anchor]"\r\n\r\ncreated_at\r\n'
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="file"; filename="x.jsonl"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        + path.read_bytes()
        + f"\r\n--{boundary}--\r\n".encode()
    )


def test_names_cannot_break_out_of_the_form(net, tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"{}\n")
    _, server = net.send([net.answer()], upload(path, 'a"\r\nX: y'))
    assert b'filename="a%22%0D%0AX: y"' in server.seen[0].body


def test_a_file_that_is_not_there_is_told_before_anything_is_sent(net, tmp_path):
    (got,), server = net.send([net.answer()], upload(tmp_path / "gone.jsonl"))
    assert isinstance(got, StoreError)
    assert "gone.jsonl" in str(got)
    assert server.seen == []


def test_a_refusal_before_the_end_of_an_upload_is_an_answer(net, tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"x" * 20_000_000)
    (got,), _ = net.send([net.answer(413, b"too large")], upload(path), early=True)
    assert (got.status, got.body) == (413, b"too large")


def test_the_http_library_is_loaded_only_when_a_transport_is_made():
    program = "import sys, bydawn.transports.http, bydawn.transports.driver; print('httpx2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
