"""The rows of the database as typed records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bydawn.core.batch import Counts, Lane
from bydawn.core.model import ModelRef

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bydawn.core.adjustment import Adjustment
    from bydawn.core.batch import EndReason
    from bydawn.core.states import BatchState, JobState


class Tally(msgspec.Struct, gc=False, forbid_unknown_fields=False):
    """What was collected from one batch; money in pico-dollars (see `pricing`).

    ``answered`` counts rows that came with a line; ``strays`` lines that nobody asked for; ``repeats`` second lines for
    a row that had one; ``unpriced`` answers with tokens and no known price.
    """

    rows: int = 0
    succeeded: int = 0
    errored: int = 0
    expired: int = 0
    cancelled: int = 0
    missing: int = 0
    strays: int = 0
    repeats: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_pico: int = 0
    live_pico: int = 0
    unpriced: int = 0

    def adds_up(self) -> bool:
        """Whether every row of the batch has exactly one outcome (promise 5)."""
        return self.rows == self.succeeded + self.errored + self.expired + self.cancelled + self.missing


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One row of ``job``. ``options`` is the JSON text that JobOptions was stored as."""

    job_id: str
    fingerprint: str
    name: str
    realm: str
    state: JobState
    reason: str | None
    options: str
    source: str
    rows: int
    width: int
    requests: int
    adjustments: tuple[tuple[Adjustment, int], ...]
    notices: tuple[str, ...]
    created_at_s: float
    updated_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A batch to be inserted as ``planned``; its requests file is on disk already."""

    number: int
    lane: int
    tag: str
    nonce: str
    rows: int
    bytes: int
    input_tokens: int
    attempt: int
    attempts_left: int
    refusals: int = 0
    answer_format: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """One row of ``batch``; see the schema for what each column means."""

    job_id: str
    number: int
    lane: int
    state: BatchState
    end_reason: EndReason | None
    tag: str
    nonce: str
    rows: int
    bytes: int
    input_tokens: int
    attempt: int
    attempts_left: int
    refusals: int
    answer_format: str | None
    provider_batch_id: str | None
    provider_status: str | None
    facts: Mapping[str, str]
    counts: Counts | None
    tally: Tally | None
    waiting: int
    looks: int
    look_at_s: float
    sent_at_s: float | None
    ended_at_s: float | None
    expires_at_s: float | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What planning found out about a job, committed when the whole input is valid."""

    rows: int
    width: int
    requests: int
    lanes: tuple[Lane, ...]
    batches: tuple[NewBatch, ...]
    adjustments: tuple[tuple[Adjustment, int], ...] = ()
    notices: tuple[str, ...] = ()


def lane_key(lane: Lane) -> str:
    """Return the text under which a lane's quota is kept; the query ``enqueued_tokens`` builds the same."""
    return f"{lane.model} {lane.endpoint} {lane.account}"


def lane_from_row(provider: str, model: str, endpoint: Any, account: str) -> Lane:
    """Build a lane from its columns."""
    return Lane(ModelRef(provider, model), endpoint, account)
