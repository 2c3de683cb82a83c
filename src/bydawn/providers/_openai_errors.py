"""What OpenAI's error objects mean, for a whole call and for one row.

Shapes seen: ``{"error": {"message", "type", "param", "code"}}``, ``{"error": "text"}`` (compatible servers),
``{"errors": {"data": [{"code", "message"}]}}`` (Azure), HTML or nothing (gateways). Source: protocols sheet of
2026-11-22, sections 2.4 and 4.1, after the API reference and recorded answers.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from bydawn.core.wire import is_page
from bydawn.errors import (
    BODY_LIMIT,
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Rejected,
    TooLarge,
    Unavailable,
    UnexpectedAnswer,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bydawn.core.result import ErrorKind
    from bydawn.core.wire import WireResponse

PROVIDER: Final = "openai"

MESSAGE_LIMIT: Final = 1_000
"""How many characters of the provider's text a message keeps."""

QUOTA_WORDS: Final = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
    }
)
"""Codes and types that say that there is no money, whatever the status. Source: error-codes guide, read 2026-11-22."""

_SECRET = re.compile(r"(?<![A-Za-z0-9])sk-[^\s\"'<>,;)\]}]*[^\s\"'<>,;.)\]}]")
"""A key as the service echoes it: whole, or with its middle starred out."""

_TITLE = re.compile(rb"<title>\s*(.{1,200}?)\s*</title>", re.IGNORECASE | re.DOTALL)


class Said(NamedTuple):
    """What an error object says; ``words`` are its code and type, for looking them up."""

    message: str
    code: str | None
    words: frozenset[str]


def said_by(body: Any) -> Said:
    """Read the error out of a body of any shape; an empty ``message`` means that there is none."""
    if not isinstance(body, dict):
        return _read_object(body)
    nested = body.get("errors")
    if isinstance(nested, dict):
        nested = nested.get("data")
    if isinstance(nested, list) and nested:
        nested = nested[0]
    return _read_object(body.get("error") or nested or body)


def _read_object(error: Any) -> Said:
    """Read one error object, or the bare text that some servers send in its place."""
    if isinstance(error, str):
        return Said(masked(error), None, frozenset())
    if not isinstance(error, dict):
        return Said("", None, frozenset())
    code, kind = _word(error.get("code")), _word(error.get("type"))
    message = error.get("message") or error.get("detail")
    text = message if isinstance(message, str) else ""
    return Said(masked(text), code or kind, frozenset(word for word in (code, kind) if word))


def _word(value: Any) -> str | None:
    """Return a code as text: compatible servers send numbers. None for nothing."""
    if isinstance(value, str):
        return masked(value) or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def masked(text: str) -> str:
    """Return the text of a provider, cut and without anything that looks like a key."""
    return _SECRET.sub("sk-***", text[: 4 * MESSAGE_LIMIT])[:MESSAGE_LIMIT]


# --- rows ----------------------------------------------------------------------------------------------------------

_KIND_BY_WORD: Final[Mapping[str, tuple[ErrorKind, bool]]] = {
    **dict.fromkeys(QUOTA_WORDS, ("quota", True)),
    "request_timeout": ("timeout", True),
    "rate_limit_exceeded": ("rate_limit", True),
    "content_filter": ("content_filter", False),
    "content_policy_violation": ("content_filter", False),
    "invalid_prompt": ("content_filter", False),
}
_KIND_BY_STATUS: Final[Mapping[int, tuple[ErrorKind, bool]]] = {
    400: ("invalid_request", False),
    401: ("authentication", False),
    402: ("quota", True),
    403: ("permission", False),
    404: ("not_found", False),
    408: ("timeout", True),
    409: ("server_error", True),
    425: ("server_error", True),
    429: ("rate_limit", True),
}


def row_kind(status: int, words: frozenset[str]) -> tuple[ErrorKind, bool]:
    """Return the kind of a failed row and whether sending it again may help.

    Words decide before the status. Status 0 means that the row had no HTTP answer at all; rows without money are worth
    sending again once there is some.
    """
    for word in words:
        if word in _KIND_BY_WORD:
            return _KIND_BY_WORD[word]
    if status in _KIND_BY_STATUS:
        return _KIND_BY_STATUS[status]
    if status == 0 or status >= 500:
        return "server_error", True
    return ("invalid_request", False) if 400 <= status < 500 else ("unexpected_answer", False)


# --- calls ---------------------------------------------------------------------------------------------------------

_CLASS_BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    401: AuthenticationFailed,
    402: QuotaExhausted,
    403: PermissionDenied,
    404: NotFound,
    408: Unavailable,
    413: TooLarge,
    425: Unavailable,
    429: RateLimited,
}
_HINTS: Final[Mapping[type[ProviderError], str]] = {
    AuthenticationFailed: "Check OPENAI_API_KEY; `bydawn doctor` tries it.",
    PermissionDenied: "Check what the key's project may use, and whether the service is offered where you are.",
    QuotaExhausted: "Add credit or raise the spend limit at the provider, then run the same command again.",
}


def explain(response: WireResponse) -> ProviderError:
    """Name an answer that is no success, or a page where data was expected. See `Provider.explain`."""
    body = _decoded(response.body)
    said = said_by(body)
    kind = _error_class(response, said)
    error = kind(
        f"{PROVIDER}: {said.message or _without_words(response)}",
        provider=PROVIDER,
        status=response.status,
        code=said.code,
        request_id=response.headers.get("x-request-id"),
        retry_after_s=_retry_after_s(response.headers),
        body=_SECRET.sub("sk-***", response.body[:BODY_LIMIT].decode(errors="replace")).encode(),
        hint=_HINTS.get(kind),
    )
    # The service may overrule what the status alone suggests.
    if (verdict := response.headers.get("x-should-retry")) in {"true", "false"}:
        error.retry = "later" if verdict == "true" else "never"
    return error


def _error_class(response: WireResponse, said: Said) -> type[ProviderError]:
    status = response.status
    if said.words & QUOTA_WORDS:
        return QuotaExhausted
    if status in _CLASS_BY_STATUS:
        return _CLASS_BY_STATUS[status]
    if status >= 500:
        return Unavailable
    if 200 <= status < 300:
        return Unavailable if is_page(response.headers, response.body) else UnexpectedAnswer
    return TooLarge if "too large" in said.message.lower() else Rejected


def _without_words(response: WireResponse) -> str:
    """Make a sentence for an answer without an error object."""
    status, location = response.status, response.headers.get("location")
    if 300 <= status < 400:
        return f"redirected to {_host(location)} (HTTP {status}), which is not followed: keys go to one host only"
    if is_page(response.headers, response.body):
        title = _TITLE.search(response.body[:BODY_LIMIT])
        named = f" titled {masked(title[1].decode(errors='replace'))!r}" if title else ""
        return f"an HTML page{named} came instead of an answer (HTTP {status})"
    return f"HTTP {status} {'without a body' if not response.body.strip() else 'without a readable error'}"


def _host(location: str | None) -> str:
    """Return the host of an address, and nothing else of it: the rest may be signed."""
    found = re.match(r"https?://(?:[^/@]*@)?([^/?#]+)", location or "")
    return found[1] if found else "another address"


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait that was asked for in seconds; dates have been turned into seconds by the transport."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit_s
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None
