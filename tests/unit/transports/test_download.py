"""Goal: a result file that exists is whole, whatever happened on its way; what came once is not fetched again."""

from __future__ import annotations

import gzip
import stat
import zlib

import pytest

from bydawn.core.wire import WireRequest
from bydawn.errors import AnswerLost, StoreError, UnexpectedAnswer
from bydawn.transports import download

DATA = b'{"custom_id":"r1"}\n' * 50
SIZE = len(DATA)
HALF = 400


@pytest.fixture
def target(tmp_path):
    return tmp_path / "output.jsonl"


def get(target):
    return WireRequest(
        method="GET",
        path="/files/file-1/content",
        safety="safe",
        headers={"Accept": "application/binary"},
        save_to=target,
    )


def rest_of(net, start, *, total=SIZE, **headers):
    return net.answer(206, DATA[start:], Content_Range=f"bytes {start}-{SIZE - 1}/{total}", **headers)


def part(target):
    return target.with_name("output.jsonl.part")


def test_a_file_is_saved_whole_and_private(net, target):
    target.write_bytes(b"older")
    (got,), server = net.send([net.answer(200, DATA, Content_Type="application/octet-stream")], get(target))
    assert (got.status, got.body, target.read_bytes()) == (200, b"", DATA)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert not part(target).exists()
    assert server.seen[0].headers["accept-encoding"] == "identity"
    assert server.seen[0].headers["accept"] == "application/binary"
    assert "range" not in server.seen[0].headers


@pytest.mark.parametrize("data", [b"", b"\n", b"\xff\x00"])
def test_files_may_hold_anything(net, target, data):
    net.send([net.answer(200, data)], get(target))
    assert target.read_bytes() == data


def test_an_answer_in_chunks_is_saved(net, target):
    net.send([net.chunked(DATA[:HALF], DATA[HALF:])], get(target))
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("etag", ['"v1"', None])
def test_a_cut_download_goes_on_where_it_was_cut(net, target, etag):
    tag = {"ETag": etag} if etag else {}
    script = [net.answer(200, DATA[:HALF], length=SIZE, **tag), rest_of(net, HALF)]
    (cut, got), server = net.send(script, get(target), get(target))
    assert isinstance(cut, AnswerLost)
    assert (got.status, target.read_bytes()) == (200, DATA)
    assert server.seen[1].headers["range"] == f"bytes={HALF}-"
    assert server.seen[1].headers.get("if-range") == etag


def test_a_target_that_is_cut_does_not_exist(net, target):
    net.send([net.answer(200, DATA[:HALF], length=SIZE)], get(target))
    assert not target.exists()
    assert part(target).read_bytes() == DATA[:HALF]
    assert download.saved_bytes(target) == HALF


def test_a_weak_tag_is_no_condition(net, target):
    script = [net.answer(200, DATA[:HALF], length=SIZE, ETag='W/"v1"'), rest_of(net, HALF)]
    _, server = net.send(script, get(target), get(target))
    assert "if-range" not in server.seen[1].headers
    assert target.read_bytes() == DATA


def test_a_file_may_be_cut_many_times(net, target):
    script = [
        net.chunked(DATA[:100], end=False),
        net.answer(206, DATA[100:250], length=SIZE - 100, Content_Range=f"bytes 100-{SIZE - 1}/*"),
        rest_of(net, 250, total="*"),
    ]
    (*_, got), server = net.send(script, *[get(target)] * 3)
    assert (got.status, target.read_bytes()) == (200, DATA)
    assert [seen.headers.get("range") for seen in server.seen] == [None, "bytes=100-", "bytes=250-"]


def test_a_server_without_ranges_starts_over(net, target):
    script = [net.answer(200, DATA[:HALF], length=SIZE), net.answer(200, DATA)]
    net.send(script, get(target), get(target))
    assert target.read_bytes() == DATA


@pytest.mark.parametrize(
    "wrong",
    [
        lambda net: rest_of(net, HALF - 1),
        lambda net: rest_of(net, HALF, total=SIZE + 7),
        lambda net: net.answer(206, DATA[HALF:]),
        lambda net: net.answer(206, DATA[HALF:], Content_Range="lines 1-2/3"),
        lambda net: net.answer(416, b"", Content_Range=f"bytes */{HALF}"),
        lambda net: rest_of(net, HALF, Content_Encoding="gzip"),
    ],
    ids=["another start", "another length", "no range", "no bytes", "no such range", "packed"],
)
def test_a_part_that_does_not_fit_is_thrown_away(net, target, wrong):
    script = [net.answer(200, DATA[:HALF], length=SIZE), wrong(net), net.answer(200, DATA)]
    (_, lost, got), server = net.send(script, *[get(target)] * 3)
    assert isinstance(lost, AnswerLost)
    assert "range" not in server.seen[2].headers
    assert (got.status, target.read_bytes()) == (200, DATA)


def test_a_part_shorter_than_the_file_is_not_the_end(net, target):
    short = net.answer(206, DATA[HALF:-9], Content_Range=f"bytes {HALF}-{SIZE - 10}/{SIZE}")
    script = [net.answer(200, DATA[:HALF], length=SIZE), short, rest_of(net, SIZE - 9)]
    (_, lost, got), _ = net.send(script, *[get(target)] * 3)
    assert isinstance(lost, AnswerLost)
    assert (got.status, target.read_bytes()) == (200, DATA)


def test_a_part_longer_than_the_file_is_thrown_away(net, target):
    long = net.answer(206, DATA[HALF:] + b"x", Content_Range=f"bytes {HALF}-{SIZE - 1}/{SIZE}")
    script = [net.answer(200, DATA[:HALF], length=SIZE), long, net.answer(200, DATA)]
    (_, lost, _), server = net.send(script, *[get(target)] * 3)
    assert isinstance(lost, AnswerLost)
    assert "range" not in server.seen[2].headers
    assert target.read_bytes() == DATA


def test_what_an_earlier_process_left_is_not_trusted(net, target):
    part(target).write_bytes(b"of another file")
    _, server = net.send([net.answer(200, DATA)], get(target))
    assert "range" not in server.seen[0].headers
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("status", [400, 404, 500, 502])
def test_an_error_is_an_answer_and_keeps_what_there_is(net, target, status):
    script = [net.answer(200, DATA[:HALF], length=SIZE), net.answer(status, b"why"), rest_of(net, HALF)]
    (_, refused, got), _ = net.send(script, *[get(target)] * 3)
    assert (refused.status, refused.body) == (status, b"why")
    assert (got.status, target.read_bytes()) == (200, DATA)


@pytest.mark.parametrize(
    "page",
    [
        {"body": b"<!DOCTYPE html><html>"},
        {"body": b"\n  <html>"},
        {"body": b"Sorry.", "Content_Type": "text/html; charset=utf-8"},
    ],
)
def test_a_page_is_not_saved_as_results(net, target, page):
    (got,), _ = net.send([net.answer(200, **page)], get(target))
    assert (got.status, got.body) == (200, page["body"])
    assert not target.exists()


# --- packed though nobody asked ------------------------------------------------------------------------------------


def test_a_packed_file_is_unpacked(net, target, monkeypatch):
    monkeypatch.setattr(download, "INFLATE_BYTES", 64)
    (got,), _ = net.send([net.answer(200, gzip.compress(DATA), Content_Encoding="gzip")], get(target))
    assert (got.status, target.read_bytes()) == (200, DATA)


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(DATA)[:-12], gzip.compress(DATA)[:40], b"no gzip at all", zlib.compress(DATA)],
    ids=["end cut off", "begun", "not packed", "without a header"],
)
def test_a_damaged_packed_file_starts_over(net, target, packed):
    script = [net.answer(200, packed, Content_Encoding="gzip"), net.answer(200, DATA)]
    (lost, got), server = net.send(script, get(target), get(target))
    assert isinstance(lost, AnswerLost)
    assert "range" not in server.seen[1].headers
    assert (got.status, target.read_bytes()) == (200, DATA)


def test_a_cut_packed_file_starts_over(net, target):
    packed = gzip.compress(DATA)
    script = [net.answer(200, packed[:-5], length=len(packed), Content_Encoding="gzip"), net.answer(200, DATA)]
    (lost, _), server = net.send(script, get(target), get(target))
    assert isinstance(lost, AnswerLost)
    assert "range" not in server.seen[1].headers


def test_another_packing_is_not_understood(net, target):
    (got,), _ = net.send([net.answer(200, DATA, Content_Encoding="br")], get(target))
    assert isinstance(got, UnexpectedAnswer)
    assert not target.exists()


@pytest.mark.parametrize("packed", [False, True])
def test_a_runaway_file_is_stopped(net, target, monkeypatch, packed):
    monkeypatch.setattr(download, "MAX_FILE_BYTES", SIZE - 1)
    reply = net.answer(200, gzip.compress(DATA), Content_Encoding="gzip") if packed else net.answer(200, DATA)
    (got,), _ = net.send([reply], get(target))
    assert isinstance(got, UnexpectedAnswer)
    assert not target.exists()


def test_a_disk_that_refuses_is_told(net, tmp_path):
    (got,), _ = net.send([net.answer(200, DATA)], get(tmp_path / "no such folder" / "output.jsonl"))
    assert isinstance(got, StoreError)
    assert "output.jsonl" in str(got)
