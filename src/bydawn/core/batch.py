"""Lanes, limits and what a provider reports of a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bydawn.core.model import ModelRef
    from bydawn.core.request import Endpoint

EndReason = Literal["completed", "failed", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class Lane:
    """What requests must share to travel in one batch."""

    model: ModelRef
    endpoint: Endpoint
    account: str = "default"

    def __str__(self) -> str:
        return f"{self.model} ({self.endpoint})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds of one batch; None means that the provider states none.

    ``bytes`` counts the UTF-8 bytes of the lines with their newlines; ``inputs`` the texts of embeddings requests over
    all rows; ``enqueued_tokens`` the prompt tokens of all batches of a lane that have not ended yet.
    """

    rows: int
    bytes: int
    row_bytes: int
    inputs: int | None = None
    enqueued_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A batch that is to be created. ``tag`` is unique to this one create and is how it is found again."""

    tag: str
    lane: Lane
    requests: Path
    rows: int
    bytes: int
    job_name: str = ""


ResultKind = Literal["output", "error"]
RESULT_KINDS: tuple[ResultKind, ...] = ("output", "error")
"""In the order in which they are read: an answer counts more than an error for the same row."""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A remote file with result lines: which of the batch's two it is, and the provider's id of it."""

    kind: ResultKind
    file_id: str


@dataclass(frozen=True, slots=True)
class BatchProblem:
    """One entry of a provider's validation errors; ``line`` is 1-based in the file sent, None for the whole batch."""

    code: str | None
    message: str
    parameter: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """The provider's own counters: shown, never trusted."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What the provider says of a batch now.

    ``phase``: ``in_progress``, ``cancelling`` or ``ended``; an unknown status word stays ``in_progress`` and is kept in
    ``status``. ``problems`` say why a whole batch was refused before any row ran (validation, quota).
    """

    provider_batch_id: str
    status: str
    phase: Literal["in_progress", "cancelling", "ended"]
    end_reason: EndReason | None = None
    counts: Counts | None = None
    files: tuple[ResultFile, ...] = ()
    problems: tuple[BatchProblem, ...] = ()
    created_at_s: float | None = None
    expires_at_s: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a whole batch was refused, and what follows.

    ``quota``: too many tokens enqueued, wait (``limit`` when the provider names it); ``money``: pause the job;
    ``rows``: ``bad`` maps 1-based lines to their problems, the others are sent again; ``lane``: no row of this lane can
    work; ``size``: too much for one batch, halve it; ``unknown``: try again a few times.
    """

    kind: Literal["quota", "money", "rows", "lane", "size", "unknown"]
    message: str
    code: str | None = None
    bad: tuple[tuple[int, BatchProblem], ...] = ()
    limit: int | None = None
