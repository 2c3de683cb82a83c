"""Repeated keys are found however the object is written, and never seen where there are none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bydawn.io.keys import repeated_key
from bydawn.io.rows import decode_row

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PAIRS = st.lists(st.tuples(st.text(alphabet='ab"\\é, :{}', max_size=3), VALUES), max_size=6)


def write(pairs: list[tuple[str, Any]], colon: str, comma: str, end: str) -> bytes:
    members = [msgspec.json.encode(key).decode() + colon + msgspec.json.encode(value).decode() for key, value in pairs]
    return ("{" + comma.join(members) + "}" + end).encode()


@given(
    pairs=PAIRS,
    colon=st.sampled_from([":", ": ", " : "]),
    comma=st.sampled_from([",", ", ", " ,\t"]),
    end=st.sampled_from(["", "\n", "\r\n"]),
)
def test_agrees_with_counting(pairs: list[tuple[str, Any]], colon: str, comma: str, end: str) -> None:
    text = write(pairs, colon, comma, end)
    names = [name for name, _ in pairs]
    found = repeated_key(text, decode_row(text))
    if len(set(names)) == len(names):
        assert found is None
    else:
        assert found is not None
        assert names.count(found) > 1


@pytest.mark.parametrize(
    "text",
    [
        b'{"id":1,"a":2,"b":3,"c":4,"id":5}',  # as long as the same without repetition would be with spaces
        b'{"a": 12, "a": 1}',
        b'{"a": 1, "a": 1}',
        b'{"a":"a","\\u0061":"b"}',
    ],
)
def test_finds_the_tricky_ones(text: bytes) -> None:
    assert repeated_key(text, decode_row(text)) in {"a", "id"}
