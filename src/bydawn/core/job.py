"""What a job is asked to do, and what can be said of it at any moment."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - JobOptions is decoded from JSON by its annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bydawn.core.request import Endpoint  # noqa: TC001 - as above

if TYPE_CHECKING:
    from decimal import Decimal

    from bydawn.core.adjustment import Adjustment
    from bydawn.core.batch import Counts, Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How requests are made of the input. All of it is part of the job's identity.

    ``models`` as written (``provider/name``); ``prompt`` and ``system`` are template texts; ``params`` are defaults
    that a row's own fields override; ``response_format`` is the chat-style JSON-schema format of ``--schema``.
    """

    models: tuple[str, ...] = ()
    endpoint: Endpoint | None = None
    prompt: str | None = None
    system: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    response_format: Any = None
    max_attempts: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What answers cost. ``unpriced`` answers used tokens at an unknown price and are not in the sums."""

    cost_usd: Decimal
    live_usd: Decimal
    unpriced: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """One batch of a job, for people. ``counts`` are the provider's own and may be wrong or late."""

    number: int
    lane: str
    state: str
    end_reason: str | None
    rows: int
    provider_batch_id: str | None
    provider_status: str | None
    counts: Counts | None
    submitted_at_s: float | None
    ended_at_s: float | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A job at one moment. Request counts add up: succeeded + failed + expired + cancelled + pending = requests.

    ``pending`` requests are waiting, at the provider, or about to be sent again; ``eta_s`` is seconds from now, None
    while nothing has been seen to judge by. ``reason`` says why a job is paused.
    """

    job_id: str
    name: str
    state: str
    reason: str | None
    models: tuple[str, ...]
    rows: int
    requests: int
    succeeded: int
    failed: int
    expired: int
    cancelled: int
    pending: int
    finished_at_provider: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    money: Money
    batches: tuple[BatchStatus, ...]
    adjustments: tuple[tuple[Adjustment, int], ...]
    notices: tuple[str, ...]
    created_at_s: float
    updated_at_s: float
    eta_s: float | None = None

    @property
    def all_succeeded(self) -> bool:
        """Whether every request has a good answer."""
        return self.succeeded == self.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePlan:
    """What `check` says of one lane. Costs are batch prices; ``cost_most_usd`` is None when outputs are not bounded or
    the price is unknown; ``price_source`` None means unknown price."""

    lane: Lane
    requests: int
    batches: int
    bytes: int
    input_tokens: int
    max_output_tokens: int | None
    cost_least_usd: Decimal | None
    cost_most_usd: Decimal | None
    live_least_usd: Decimal | None
    price_source: str | None
    price_note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """What would be sent: nothing was spent to learn it."""

    source: str
    rows: int
    requests: int
    lanes: tuple[LanePlan, ...]
    adjustments: tuple[tuple[Adjustment, int], ...]
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Failed requests of one cause, with an example to look at and what to do."""

    status: str
    kind: str
    code: str | None
    model: str
    message: str
    count: int
    example_row: int
    example_id: str
    retryable: bool
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanReport:
    """What `clean` removed."""

    remote_files: int
    local_bytes: int
    failures: tuple[str, ...] = ()
