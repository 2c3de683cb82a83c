"""Schema files: bare or wrapped, checked before anything is sent, never fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bydawn.errors import ConfigError
from bydawn.io import load_schema
from bydawn.io.schema import allows_strict

if TYPE_CHECKING:
    from pathlib import Path

CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}


def load(folder: Path, content: Any, name: str = "ticket label.json") -> dict[str, Any]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else msgspec.json.encode(content))
    return load_schema(path)


def test_a_bare_schema_is_wrapped(tmp_path: Path) -> None:
    assert load(tmp_path, CLOSED) == {
        "type": "json_schema",
        "json_schema": {"name": "ticket_label", "strict": True, "schema": CLOSED},
    }
    titled = OPEN | {"title": "Étiquette (v2)!" + "x" * 80}
    inner = load(tmp_path, titled)["json_schema"]
    assert inner == {"name": ("tiquette_v2_" + "x" * 80)[:64], "strict": False, "schema": titled}


def test_a_wrapped_schema_stays_as_it_is(tmp_path: Path) -> None:
    wrapped = {
        "type": "json_schema",
        "json_schema": {"name": "n", "strict": False, "schema": CLOSED, "description": "d"},
    }
    assert load(tmp_path, wrapped) == wrapped


def test_the_flat_form_of_the_responses_endpoint_is_wrapped(tmp_path: Path) -> None:
    flat = {"type": "json_schema", "name": "n", "strict": True, "schema": CLOSED}
    assert load(tmp_path, flat) == {
        "type": "json_schema",
        "json_schema": {"name": "n", "strict": True, "schema": CLOSED},
    }
    unnamed = {"type": "json_schema", "schema": CLOSED}
    assert load(tmp_path, unnamed)["json_schema"]["name"] == "ticket_label"


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        (OPEN, False),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "properties": {"a": OPEN}}, False),
        ({**CLOSED, "properties": {"a": {"type": ["object", "null"]}}}, False),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": CLOSED}}}, True),
        ({**CLOSED, "$defs": {"x": OPEN}}, False),
        ({**CLOSED, "properties": {"a": {"const": {"type": "object", "properties": 5, "required": 6}}}}, False),
        ({"type": "array", "items": CLOSED}, False),
        ({}, False),
    ],
)
def test_strictness_is_claimed_only_where_it_holds(schema: dict[str, Any], strict: bool) -> None:
    assert allows_strict(schema) is strict


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"type": "objec"}, "no valid JSON Schema"),
        ({"type": "object", "properties": 3}, "no valid JSON Schema"),
        ({"$ref": "#/$defs/gone"}, "no valid JSON Schema"),
        ({"$ref": "http://127.0.0.1:9/x.json"}, "not fetched"),
        ({"$schema": "http://127.0.0.1:9/x.json"}, "no valid JSON Schema"),
        ({"pattern": "("}, "no valid JSON Schema"),
        ({"type": "json_schema"}, "holds no schema"),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, "holds no schema"),
        ({"type": "json_schema", "json_schema": 5}, "holds no schema"),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": 5}}}, "no valid JSON Schema"),
        (b"{", "no JSON object"),
        (b"[]", "no JSON object"),
        (b"\xff", "no JSON object"),
        (b'{"a": "\xff"}', "no JSON object"),
        (b"[" * 100_000, "no JSON object"),
    ],
)
def test_what_is_no_schema_is_refused_with_the_reason(tmp_path: Path, content: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(tmp_path, content)


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the schema"):
        load_schema(tmp_path / "gone.json")
