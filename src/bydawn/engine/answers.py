"""Checks answers against the form their requests asked for: JSON, or a JSON schema.

The schema library is imported only when a request asks for a schema. One checker serves all rows that share a format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.core.result import RowError
from bydawn.io.schema import refuse_to_fetch

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN_ERRORS = 3


class AnswerCheck:
    """Parses a text answer and validates it. Built from the JSON of ``response_format`` or of Responses' ``text``."""

    __slots__ = ("_errors", "_wanted")

    def __init__(self, answer_format: str | bytes | None) -> None:
        kind, schema = _wanted(answer_format)
        self._wanted = kind is not None
        self._errors: Callable[[Any], Any] | None = _validator(schema) if kind == "json_schema" else None

    def __bool__(self) -> bool:
        """Whether there is anything to check."""
        return self._wanted

    def __call__(self, text: str) -> tuple[Any, RowError | None]:
        """Return the parsed answer, and the error when it is not JSON or breaks the schema."""
        try:
            parsed = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            return None, RowError("invalid_json", None, f"the answer is not JSON: {error}", retryable=False)
        if self._errors is not None:
            reasons = self._errors(parsed)
            if reasons:
                return parsed, RowError("schema_mismatch", None, reasons, retryable=False)
        return parsed, None


def _wanted(answer_format: str | bytes | None) -> tuple[str | None, Any]:
    if answer_format is None:
        return None, None
    wanted = msgspec.json.decode(answer_format)
    if isinstance(wanted, dict) and isinstance(wanted.get("format"), dict):
        wanted = wanted["format"]  # the Responses API's text.format
    if not isinstance(wanted, dict):
        return None, None
    kind = wanted.get("type")
    if kind == "json_object":
        return kind, None
    if kind != "json_schema":
        return None, None
    named = wanted.get("json_schema")
    return kind, (named if isinstance(named, dict) else wanted).get("schema")


def _validator(schema: Any) -> Callable[[Any], str] | None:
    if schema is None:
        return None
    import jsonschema_rs

    try:
        validator = jsonschema_rs.validator_for(schema, retriever=refuse_to_fetch)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        return None  # not a schema we can read: the provider took it, so its answers are only parsed

    def reasons(instance: Any) -> str:
        if validator.is_valid(instance):
            return ""
        found = []
        for error in validator.iter_errors(instance):
            where = "/".join(str(part) for part in error.instance_path) or "the answer"
            found.append(f"{where}: {error.message}")
            if len(found) == SHOWN_ERRORS:
                break
        return "; ".join(found)

    return reasons
