"""Sentences about events and states of a job, shared by the displays and the reports."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bydawn.cli.texts import count, money, time_left

if TYPE_CHECKING:
    from bydawn.core.events import BatchMoved, Notice
    from bydawn.core.job import JobStatus

STATE_WORDS = {
    "planned": "waiting to be sent",
    "submitting": "being sent",
    "in_doubt": "in doubt: looking whether it arrived",
    "in_progress": "at the provider",
    "cancelling": "being cancelled",
    "ended": "ended, results to be fetched",
    "collected": "results fetched",
    "refused": "refused by the provider",
    "withdrawn": "withdrawn before it was sent",
}
"""Every batch state in words (tests hold this against the state table)."""


def notice(event: Notice) -> str:
    """Write a notice with its weight in front, when it has any."""
    return event.text if event.level == "info" else f"{event.level}: {event.text}"


def batch_moved(event: BatchMoved) -> str:
    """Write where a batch stands now."""
    known_as = f", {event.provider_batch_id}" if event.provider_batch_id else ""
    says = f" (the provider says {event.provider_status})" if event.provider_status else ""
    note = f": {event.note}" if event.note else ""
    state = STATE_WORDS.get(event.state, event.state)
    return f"batch {event.number} ({count(event.rows, 'row')}{known_as}): {state}{says}{note}"


def finished(status: JobStatus) -> int:
    """How many requests have their final result."""
    return status.requests - status.pending


def outcomes(status: JobStatus) -> str:
    """Write how requests ended: ``46 succeeded, 2 failed``; states that nobody is in are left out."""
    parts = [
        f"{number:,} {word}"
        for word in ("succeeded", "failed", "expired", "cancelled")
        if (number := getattr(status, word)) or word == "succeeded"
    ]
    return ", ".join(parts)


def batches(status: JobStatus) -> str:
    """Write how many batches are in which state."""
    states = Counter(batch.state for batch in status.batches)
    return ", ".join(f"{number:,} {state.replace('_', ' ')}" for state, number in states.items()) or "none yet"


def continued(status: JobStatus) -> str:
    """Say that a job is not new."""
    if status.pending == 0:
        return f"job {status.job_id} was finished before: nothing is sent"
    return f"job {status.job_id} was begun before: {finished(status):,} of {status.requests:,} are done"


def rows_done(status: JobStatus) -> str:
    """Write how many requests have their result, and how many more the provider says are finished there."""
    waiting = status.finished_at_provider
    at_provider = f" (and {waiting:,} at the provider)" if waiting else ""
    return f"{finished(status):,} of {status.requests:,} done{at_provider}: {outcomes(status)}"


def progress_line(status: JobStatus) -> str:
    """Write the whole job in one line."""
    left = f"; time left: {time_left(status.eta_s)}" if status.pending else ""
    return f"{rows_done(status)}; batches: {batches(status)}; {money(status.money.cost_usd)} so far{left}"
