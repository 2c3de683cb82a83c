"""What came back: outcomes of attempts, and the uniform result that users get.

`Answer` is what a codec makes of one provider line; `Result` is the published record (docs/output-format.md), the
same for every provider. These are msgspec structs and not dataclasses because they are made and encoded once per
request: see docs/adr/0003.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Outcome = Literal["succeeded", "errored", "expired", "cancelled", "missing"]
"""How one attempt ended. ``missing``: the batch ended and no line came for the row."""

Status = Literal["succeeded", "failed", "expired", "cancelled"]
"""How a request ended for good."""

ErrorKind = Literal[
    "invalid_request",
    "authentication",
    "permission",
    "not_found",
    "rate_limit",
    "quota",
    "server_error",
    "timeout",
    "content_filter",
    "refusal",
    "truncated",
    "invalid_json",
    "schema_mismatch",
    "expired",
    "cancelled",
    "missing",
    "batch_refused",
    "unexpected_answer",
]


class Usage(msgspec.Struct, gc=False):
    """Tokens of one answer. Cached tokens are part of the input, reasoning tokens of the output: never add them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class RowError(msgspec.Struct, gc=False):
    """Why a request has no good answer.

    ``kind`` is ours and uniform, ``code`` the provider's own word, ``provider`` its name, or null where bydawn itself
    judged the answer (a schema mismatch, for example).
    """

    kind: ErrorKind
    code: str | None
    message: str
    retryable: bool
    provider: str | None = None


class Answer(msgspec.Struct, gc=False):
    """One decoded provider line: which request it answers, and how.

    ``tool_calls`` is a list in the chat-completions shape (id, type, function{name, arguments}); ``embedding`` one
    vector, or a list of vectors when the request had several inputs; ``parsed`` an object the endpoint itself returns
    (moderations). ``usage`` is None when the provider reported none.
    """

    custom_id: str
    outcome: Outcome
    text: str | None = None
    tool_calls: Any = None
    finish_reason: str | None = None
    usage: Usage | None = None
    error: RowError | None = None
    parsed: Any = None
    embedding: Any = None


class Result(msgspec.Struct, kw_only=True, gc=False, omit_defaults=False):
    """The final answer for one request: one JSON object in the output. See docs/output-format.md for every field."""

    id: str
    row: int
    status: Status
    model: str
    text: str | None
    parsed: Any
    tool_calls: Any
    finish_reason: str | None
    usage: Usage | None
    cost_usd: float | None
    error: RowError | None
    attempts: int
    provider_batch_id: str | None
    embedding: Any = msgspec.UNSET
    raw: Any = msgspec.UNSET
