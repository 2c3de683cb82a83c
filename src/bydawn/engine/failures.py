"""Groups requests that did not succeed by cause, with an example and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bydawn.core.job import FailureGroup
from bydawn.core.result import RowError

if TYPE_CHECKING:
    from collections.abc import Iterable

REMEDIES = {
    "invalid_request": "Correct the rows: the provider refuses them as they are.",
    "authentication": "Check the key, then `bydawn retry`.",
    "permission": "Give the key access to this model, then `bydawn retry`.",
    "not_found": "Check the model's name and that this account may use it.",
    "rate_limit": "`bydawn retry` later.",
    "quota": "Add credit or raise the limit at the provider, then `bydawn retry`.",
    "server_error": "`bydawn retry`; the provider failed, not the rows.",
    "timeout": "`bydawn retry`.",
    "content_filter": "The provider withheld the answer; change the prompt.",
    "refusal": "The model declined; change the prompt or the model.",
    "truncated": "Raise max_tokens: the answer was cut before it began.",
    "invalid_json": "Ask for JSON in the prompt, use --schema, or raise max_tokens if answers are cut off.",
    "schema_mismatch": "Loosen the schema, or use a model that enforces it.",
    "expired": "`bydawn retry`; smaller batches (BYDAWN_MAX_BATCH_ROWS) often finish in time.",
    "cancelled": "`bydawn retry` sends them after all.",
    "missing": "`bydawn retry`; the provider returned no line for them.",
    "batch_refused": "See the message; correct the cause, then `bydawn retry`.",
    "unexpected_answer": "Look at it with `bydawn results --raw` and report it.",
}

SHOWN_MESSAGE = 300
_VARIABLE = re.compile(r"\d+|'[^']{0,80}'|\"[^\"]{0,80}\"")


class _Line(msgspec.Struct, gc=False):
    id: str
    row: int
    status: str
    model: str
    error: RowError | None


@dataclass(slots=True)
class _Tally:
    first: _Line
    count: int = 0


def group_failures(lines: Iterable[bytes]) -> list[FailureGroup]:
    """Group result lines whose status is not ``succeeded``; messages that differ in numbers or quoted words are one."""
    groups: dict[tuple[object, ...], _Tally] = {}
    decode = msgspec.json.Decoder(_Line).decode
    for data in lines:
        line = decode(data)
        if line.status == "succeeded":
            continue
        error = line.error
        key = (
            (line.status, line.model)
            if error is None
            else (line.status, line.model, error.kind, error.code, _VARIABLE.sub("_", error.message))
        )
        tally = groups.get(key)
        if tally is None:
            tally = groups[key] = _Tally(line)
        tally.count += 1
    return sorted((_group(tally) for tally in groups.values()), key=lambda group: (-group.count, group.example_row))


def _group(tally: _Tally) -> FailureGroup:
    line = tally.first
    error = line.error or RowError("unexpected_answer", None, "", retryable=False)
    return FailureGroup(
        status=line.status,
        kind=error.kind,
        code=error.code,
        model=line.model,
        message=error.message[:SHOWN_MESSAGE],
        count=tally.count,
        example_row=line.row,
        example_id=line.id,
        retryable=error.retryable,
        remedy=REMEDIES[error.kind],
    )
