"""Every error bydawn raises, drawn whole.

The first branch says whose fault it is, ``retry`` says whether the same step may be repeated:

    BydawnError                      .hint: what to do about it; .exit_code: what the command line returns
    ├── ConfigError                  settings, credentials or options (yours)                          exit 2
    ├── InvalidInput                 .problems: rows that cannot be sent; nothing was submitted         exit 2
    ├── StrictRefusal                --strict, and requests would have to be adjusted                   exit 2
    ├── JobNotFound                  no such job in this home                                           exit 2
    ├── BudgetExceeded               .spent_usd .limit_usd                                              exit 3
    ├── ProviderError                an HTTP answer that is no success (theirs)                         exit 4
    │   ├── AuthenticationFailed     401: the key is refused
    │   ├── PermissionDenied         403: the key may not do this
    │   ├── NotFound                 404
    │   ├── RateLimited              429: too fast; later is fine
    │   ├── QuotaExhausted           429 or 4xx: no money or a hard spend limit; later is not enough
    │   ├── Rejected                 other 4xx: the request itself is refused
    │   │   └── TooLarge             the body or file is too big: smaller ones may do
    │   ├── Unavailable              5xx, also as an HTML page
    │   └── UnexpectedAnswer         a success our codec cannot read; the bytes are in .body
    ├── TransportError               no HTTP answer at all                                              exit 4
    │   ├── NotSent                  surely never reached the provider: repeat freely
    │   └── AnswerLost               sent, then silence: an unsafe step is in doubt
    ├── InDoubt                      an unsafe step may have taken effect; settle before sending again  exit 4
    └── StoreError                   the state folder                                                   exit 4
        ├── JobBusy                  another process works on this job
        ├── StoreDamaged             a state file is unreadable or incomplete
        └── SchemaTooNew             written by a newer bydawn

Failures of single requests are values (``Result.error``), never exceptions. No text here may carry a secret:
answers are cut to `BODY_LIMIT` bytes and keys are masked where the transport builds the error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

Retry = Literal["never", "later", "reconcile"]
"""May the step that failed be repeated: never, after a wait, or only once it is known what became of it."""

BODY_LIMIT = 2_000
"""How many bytes of an answer an error keeps: enough for any provider's error object."""


class BydawnError(Exception):
    """Base of everything bydawn raises. ``str(error)`` names the thing, ``hint`` says what to do."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(BydawnError):
    """Settings, credentials or options do not fit."""

    exit_code = 2


class Problem:
    """One reason why an input row cannot be sent: where it is, what is wrong, what to do."""

    __slots__ = ("line", "message", "remedy")

    def __init__(self, line: int | None, message: str, remedy: str = "") -> None:
        self.line = line
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.message}" + (f" ({self.remedy})" if self.remedy else "")


class InvalidInput(BydawnError):
    """The input does not validate. ``problems`` holds the first ones, ``total`` counts them all."""

    exit_code = 2

    def __init__(self, source: str, problems: Sequence[Problem], total: int) -> None:
        self.source = source
        self.problems = list(problems)
        self.total = total
        what = "1 problem" if total == 1 else f"{total:,} problems"
        super().__init__(
            f"{source}: {what}, nothing was submitted",
            hint="Correct the lines and run the same command again.",
        )


class StrictRefusal(BydawnError):
    """``strict`` is on and some requests would not reach the model as they were written."""

    exit_code = 2


class JobNotFound(BydawnError):
    """No job of that name in this home."""

    exit_code = 2


class BudgetExceeded(BydawnError):
    """Going on could cost more than the user allowed."""

    exit_code = 3

    def __init__(self, message: str, *, spent_usd: Decimal, limit_usd: Decimal, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.spent_usd = spent_usd
        self.limit_usd = limit_usd


class ProviderError(BydawnError):
    """The provider answered, and the answer is no success.

    Attributes: ``provider`` its name; ``status`` the HTTP status; ``code`` the provider's own word, as text;
    ``request_id`` for its support; ``retry_after_s`` seconds it asked us to wait, or None; ``body`` the first bytes
    of the answer; ``retry`` whether the step may be repeated.
    """

    exit_code = 4
    retry: Retry = "never"

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        status: int = 0,
        code: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        body: bytes = b"",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.provider = provider
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.body = body[:BODY_LIMIT]


class AuthenticationFailed(ProviderError):
    """The key is refused (401)."""


class PermissionDenied(ProviderError):
    """The key is good but may not do this (403)."""


class NotFound(ProviderError):
    """The provider knows no such thing (404)."""


class RateLimited(ProviderError):
    """Too many calls or tokens for now (429): the same call will do later."""

    retry = "later"


class QuotaExhausted(ProviderError):
    """No credit, or a spend limit was reached: waiting alone does not help."""


class Rejected(ProviderError):
    """The provider refuses this very request (4xx)."""


class TooLarge(Rejected):
    """The body or the file is larger than the provider takes (413, or 400 in words)."""


class Unavailable(ProviderError):
    """The provider is in trouble (5xx, or an HTML page instead of an answer)."""

    retry = "later"


class UnexpectedAnswer(ProviderError):
    """A success status with a body we cannot read; nothing was decided from it."""

    retry = "reconcile"


class TransportError(BydawnError):
    """No HTTP answer came back."""

    exit_code = 4
    retry: Retry = "later"


class NotSent(TransportError):
    """The request surely never reached the provider (no connection, name not found, TLS refused)."""


class AnswerLost(TransportError):
    """The request went out and no whole answer came back: it may have taken effect."""

    retry = "reconcile"


class InDoubt(BydawnError):
    """An unsafe step was sent and its answer lost; `settle` finds out what became of it."""

    exit_code = 4


class StoreError(BydawnError):
    """The state folder cannot be used."""

    exit_code = 4


class JobBusy(StoreError):
    """Another living process holds this job."""


class StoreDamaged(StoreError):
    """A state file is unreadable, incomplete or contradicts another one."""


class SchemaTooNew(StoreError):
    """The state was written by a newer bydawn than this one."""
