"""Result records as the columns of a flat table: the same columns, in the same order, for every job.

Members of ``usage`` and ``error`` get columns of their own; values of no fixed shape are their JSON as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bydawn.core.result import RowError, Usage  # noqa: TC001 - msgspec reads the annotations when it runs

if TYPE_CHECKING:
    from collections.abc import Callable

_NULL = msgspec.Raw(b"null")


class Record(msgspec.Struct, gc=False):
    """A result record, decoded as far as a table needs it: `core.result.Result` with free-form values left as JSON."""

    id: str
    row: int
    status: str
    model: str
    text: str | None
    parsed: msgspec.Raw
    tool_calls: msgspec.Raw
    finish_reason: str | None
    usage: Usage | None
    cost_usd: float | None
    error: RowError | None
    attempts: int
    provider_batch_id: str | None
    embedding: msgspec.Raw = _NULL
    raw: msgspec.Raw = _NULL


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, the type of its values (each may also be None), and how to get one from a record."""

    name: str
    kind: Literal["text", "integer", "number", "boolean"]
    value: Callable[[Record], Any]


def _json(name: str) -> Column:
    def value(record: Record) -> str | None:
        raw: msgspec.Raw = getattr(record, name)
        return None if raw == _NULL else bytes(raw).decode()

    return Column(name, "text", value)


def _usage(name: str) -> Column:
    return Column(f"usage.{name}", "integer", lambda record: record.usage and getattr(record.usage, name))


def _error(name: str, kind: Literal["text", "boolean"] = "text") -> Column:
    return Column(f"error.{name}", kind, lambda record: record.error and getattr(record.error, name))


COLUMNS: tuple[Column, ...] = (
    Column("id", "text", lambda record: record.id),
    Column("row", "integer", lambda record: record.row),
    Column("status", "text", lambda record: record.status),
    Column("model", "text", lambda record: record.model),
    Column("text", "text", lambda record: record.text),
    _json("parsed"),
    _json("tool_calls"),
    Column("finish_reason", "text", lambda record: record.finish_reason),
    _usage("input_tokens"),
    _usage("output_tokens"),
    _usage("cached_tokens"),
    _usage("reasoning_tokens"),
    Column("cost_usd", "number", lambda record: record.cost_usd),
    _error("kind"),
    _error("code"),
    _error("message"),
    _error("retryable", "boolean"),
    _error("provider"),
    Column("attempts", "integer", lambda record: record.attempts),
    Column("provider_batch_id", "text", lambda record: record.provider_batch_id),
    _json("embedding"),
    _json("raw"),
)

decode_record = msgspec.json.Decoder(Record).decode
