"""Reads the file of ``--schema``: a JSON Schema, or a response format that holds one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME_CHARACTERS_MAX = 64
"""Longest schema name; letters, digits, ``_`` and ``-`` only. Source: ``response_format.json_schema.name`` in the
chat-completions types of the openai SDK 3.54."""


def load_schema(path: Path) -> dict[str, Any]:
    """Return the chat-style response format of a schema file.

    ``{"type": "json_schema", "json_schema": {"name": str, "strict": bool, "schema": {...}}}``. The file holds a bare
    JSON Schema, such a format, or the flat one of the responses endpoint (name and schema beside type). A bare schema
    is named after its title or file, and is strict where it meets the rules of strict mode (see `allows_strict`).
    Raises ConfigError when the file cannot be read or holds no valid JSON Schema.
    """
    content = _read(path)
    if content.get("type") != "json_schema":
        _check(content, path)
        name = _name(str(content.get("title") or path.stem))
        return _response_format({"name": name, "strict": allows_strict(content), "schema": content})
    inner = content.get("json_schema", content)
    if not isinstance(inner, dict) or not isinstance(inner.get("schema"), dict):
        raise ConfigError(f"{path}: the response format holds no schema", hint='Put it under "schema".')
    _check(inner["schema"], path)
    rest = {key: value for key, value in inner.items() if key != "type"}
    return _response_format({"name": _name(path.stem)} | rest)


def allows_strict(schema: dict[str, Any]) -> bool:
    """Can this schema be asked for in strict mode: is its root an object, and every object in it closed and complete?

    Strict mode wants ``additionalProperties: false`` and every property required; other schemas are refused in it.
    """
    return schema.get("type") == "object" and all(_is_closed(node) for node in _nodes(schema))


def _is_closed(node: dict[str, Any]) -> bool:
    kind, properties, required = node.get("type"), node.get("properties"), node.get("required")
    is_object = kind == "object" or (isinstance(kind, list) and "object" in kind) or isinstance(properties, dict)
    if not is_object:
        return True
    names = set(properties) if isinstance(properties, dict) else set()
    listed = set(required) if isinstance(required, list) else set()
    return node.get("additionalProperties") is False and names <= listed


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for member in members:
        yield from _nodes(member)


def _response_format(json_schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": json_schema}


def _read(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise ConfigError(f"cannot read the schema {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path} is no JSON object: {error}", hint="Give a JSON Schema in a file of its own."
        ) from None


def _check(schema: dict[str, Any], path: Path) -> None:
    import jsonschema_rs  # here, because most commands need no schema

    try:
        jsonschema_rs.validator_for(schema, retriever=refuse_to_fetch)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{path} is no valid JSON Schema: {reason}", hint="Correct the schema.") from None


def refuse_to_fetch(uri: str) -> Any:
    """Raise ValueError: a schema that refers to an address must not make anybody call it."""
    raise ValueError(f"schemas are not fetched from the network: {uri}")


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:NAME_CHARACTERS_MAX] or "answer"
