"""JSON Lines as they really come: each kind of damage is one problem at its line, and nothing else is lost."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bydawn.core.problems import Problems
from bydawn.errors import ConfigError
from bydawn.io.lines import numbered_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = b'{"prompt": "hi"}\n'

DAMAGE = [
    (b'{"prompt": "hi"', "ends too early"),
    (b'{"prompt": hi}', "invalid character at byte 12 of the line"),
    (b'{"prompt": "hi"} {"prompt": "ho"}', "trailing characters"),
    (b'["hi"]', "not a JSON object but array"),
    (b'"hi"', "not a JSON object but str"),
    (b"null", "not a JSON object but null"),
    (b'{"prompt": "\xff"}', "not UTF-8 at byte 13"),
    (b'{"\xff": "hi"}', "not UTF-8 at byte 3"),
    (b'{"prompt": "\xed\xa0\x80"}', "not UTF-8"),
    (b'{"prompt": "a\x00b"}', "NUL byte"),
    (b"\x00" * 40, "NUL byte"),
    (rb'{"prompt": "\ud800"}', "stands alone"),
    (rb'{"prompt": "x \udc00 x"}', "stands alone"),
    (rb'{"prompt": "\ud83dabcdef"}', "stands alone"),
    (b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    (b'{"prompt": "a", "prompt": "b"}', "'prompt' is given twice"),
    (b'{"prompt": 01}', "invalid number"),
    (b'{"prompt": NaN}', "invalid character"),
    (b"{'prompt': 'hi'}", "object keys must be strings"),
]


@pytest.mark.parametrize(("line", "message"), DAMAGE)
def test_a_damaged_line_is_one_problem_and_its_neighbours_are_read(
    read: Callable[..., Any], line: bytes, message: str
) -> None:
    got = read(GOOD + line + b"\n" + GOOD)
    assert got.lines == [2]
    assert message in got.messages
    assert [request.line for request in got.requests] == [1, 3]
    assert [request.row for request in got.requests] == [0, 2]


def test_a_line_cut_inside_a_surrogate_escape_counts_as_cut(read: Callable[..., Any]) -> None:
    assert "ends too early" in read(rb'{"prompt": "\ud8').messages


def test_a_whole_pair_is_not_blamed_for_another_mistake(read: Callable[..., Any]) -> None:
    assert "ends too early" in read(rb'{"a": {"prompt": "\ud83d\ude00"}').messages


def test_an_escaped_pair_is_no_damage(read: Callable[..., Any]) -> None:
    assert not read(rb'{"prompt": "\ud83d\ude00"}').problems.total


@pytest.mark.parametrize("content", [b"", b"\n", b"  \n\r\n\t\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows_is_a_problem(read: Callable[..., Any], content: bytes) -> None:
    got = read(content)
    assert got.lines == [None]
    assert "no rows" in got.messages


def test_blank_lines_and_windows_line_ends_keep_the_numbers_right(read: Callable[..., Any]) -> None:
    got = read(b'\n\r\n{"prompt": "a"}\r\n   \n{"prompt": "b"}\r\n')
    assert [(request.line, request.row) for request in got.requests] == [(3, 0), (5, 1)]
    assert not got.problems.total


def test_a_byte_order_mark_is_taken_off_the_first_line_only(read: Callable[..., Any]) -> None:
    got = read(b"\xef\xbb\xbf" + GOOD + b"\xef\xbb\xbf" + GOOD)
    assert [request.line for request in got.requests] == [1]
    assert got.lines == [2]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_named(read: Callable[..., Any], encoding: str) -> None:
    got = read((GOOD * 2).decode().encode(encoding))
    assert not got.requests
    assert "UTF-16" in got.messages


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_only_the_newline_byte_ends_a_line(read: Callable[..., Any], sign: str) -> None:
    escaped = sign if ord(sign) > 0x20 else f"\\u{ord(sign):04x}"
    got = read(f'{{"prompt": "a{escaped}b"}}\n'.encode() + GOOD)
    assert not got.problems.total
    assert got.fields()["messages"][0]["content"] == f"a{sign}b"


def test_the_last_newline_may_be_missing(read: Callable[..., Any]) -> None:
    assert len(read(GOOD + GOOD.rstrip()).requests) == 2


def test_a_line_of_ten_megabytes_is_read(read: Callable[..., Any]) -> None:
    text = "x" * 10_000_000
    got = read(f'{{"prompt": "{text}"}}\n'.encode())
    assert got.fields()["messages"][0]["content"] == text


def test_gzip_is_unpacked(read: Callable[..., Any]) -> None:
    assert len(read(gzip.compress(GOOD * 3), "in.jsonl.gz").requests) == 3


@pytest.mark.parametrize(
    "content",
    [GOOD, gzip.compress(GOOD * 1000)[:-9], gzip.compress(GOOD * 9)[:12] + b"\xff" * 40, b"\x1f"],
    ids=["not packed", "cut off", "overwritten", "one byte"],
)
def test_damaged_gzip_is_a_problem(read: Callable[..., Any], content: bytes) -> None:
    got = read(content, "in.jsonl.gz")
    assert "gzip data is damaged" in got.messages


def test_a_file_that_vanished_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        list(numbered_lines(tmp_path / "gone.jsonl", Problems("gone")))


JSON_BITS = st.sampled_from(
    rb'{ } [ ] " : , "prompt" "messages" "role" "content" "user" "input" "id" "body" "url" "method" "POST" "model" '
    rb'null "/v1/responses" "temperature" "stop" 1e999 -1 \ud800 \ '.split()
    + b"\n|\r|\x00| |\xff|\xef\xbb\xbf".split(b"|")
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.lists(JSON_BITS, max_size=40).map(b"".join)))
@pytest.mark.parametrize("name", ["in.jsonl", "in.csv", "in.jsonl.gz", "in.csv.gz"])
def test_no_content_raises(read: Callable[..., Any], name: str, content: bytes) -> None:
    """Any bytes end in requests or problems, and never in neither."""
    got = read(content, name)
    assert got.requests or got.problems.total
