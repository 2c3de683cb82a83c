"""Single parameters of bodies, whose values are JSON bytes, plain values, or plain objects holding bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bydawn.adapt.fields import ABSENT, Parameter

EFFORT = Parameter("reasoning.effort")
LOW = msgspec.Raw(b'"low"')
BODIES = [
    {"reasoning": msgspec.Raw(b'{"effort": "low", "summary": "auto"}')},
    {"reasoning": {"effort": "low", "summary": "auto"}},
    {"reasoning": {"effort": LOW, "summary": "auto"}},  # as the codec leaves it when it moves a chat parameter
]


def plain(body: dict[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(body))


@pytest.mark.parametrize("body", BODIES)
def test_reading_decodes_however_deep_the_bytes_are(body: dict[str, Any]) -> None:
    assert EFFORT.read(body) == "low"


@pytest.mark.parametrize("body", [{}, {"reasoning": None}, {"reasoning": "low"}, {"reasoning": msgspec.Raw(b"[]")}])
def test_what_is_not_there_is_absent(body: dict[str, Any]) -> None:
    assert EFFORT.read(body) is ABSENT


def test_null_is_there() -> None:
    assert Parameter("stop").read({"stop": msgspec.Raw(b"null")}) is None


@pytest.mark.parametrize("body", BODIES)
def test_writing_keeps_what_stands_beside(body: dict[str, Any]) -> None:
    """And leaves the object itself alone: a body's copy shares it with the user's."""
    before, copy = plain(body), dict(body)
    EFFORT.write(copy, "high")
    assert plain(copy) == {"reasoning": {"effort": "high", "summary": "auto"}}
    assert plain(body) == before


@pytest.mark.parametrize("body", [{}, {"reasoning": None}, {"reasoning": msgspec.Raw(b"null")}])
def test_writing_makes_the_object_that_is_missing(body: dict[str, Any]) -> None:
    EFFORT.write(body, "high")
    assert plain(body) == {"reasoning": {"effort": "high"}}


@pytest.mark.parametrize("body", BODIES)
def test_removing_takes_the_last_member_and_then_the_object(body: dict[str, Any]) -> None:
    before, copy = plain(body), dict(body)
    EFFORT.remove(copy)
    assert plain(copy) == {"reasoning": {"summary": "auto"}}
    Parameter("reasoning.summary").remove(copy)
    assert copy == {}
    assert plain(body) == before
