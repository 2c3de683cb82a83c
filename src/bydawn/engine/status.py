"""Reads how a job stands from the store. Asks no provider."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from bydawn.core.job import BatchStatus, JobOptions, JobStatus, Money
from bydawn.pricing import usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bydawn.store.records import BatchRecord, JobRecord, Tally
    from bydawn.store.sqlite import Store

_SUMMED = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")


def job_status(store: Store, job_id: str, now_s: float) -> JobStatus:
    """Return the status of one job; raises JobNotFound."""
    job = store.job(job_id)
    batches = store.batches(job_id)
    lanes = [str(lane) for lane in store.lanes(job_id)]
    standing = store.standing(job_id)
    final = sum(standing.values())
    tallies = [batch.tally for batch in batches if batch.tally is not None]
    running = [batch for batch in batches if batch.state in ("in_progress", "cancelling")]
    finished = sum(batch.counts.succeeded + batch.counts.failed for batch in running if batch.counts is not None)
    options = msgspec.json.decode(job.options, type=JobOptions)
    return JobStatus(
        job_id=job_id,
        name=job.name,
        state=job.state,
        reason=job.reason,
        models=options.models or tuple(dict.fromkeys(lane.split(" ")[0] for lane in lanes)),
        rows=job.rows,
        requests=job.requests,
        **standing,
        pending=job.requests - final,
        finished_at_provider=finished,
        **{name: sum(getattr(tally, name) for tally in tallies) for name in _SUMMED},
        money=_money(tallies),
        batches=tuple(_batch_status(batch, lanes[batch.lane]) for batch in batches),
        adjustments=job.adjustments,
        notices=job.notices,
        created_at_s=job.created_at_s,
        updated_at_s=job.updated_at_s,
        eta_s=_eta(job, batches, final + finished, now_s),
    )


def _money(tallies: Sequence[Tally]) -> Money:
    return Money(
        cost_usd=usd(sum(tally.cost_pico for tally in tallies)) if tallies else Decimal(0),
        live_usd=usd(sum(tally.live_pico for tally in tallies)) if tallies else Decimal(0),
        unpriced=sum(tally.unpriced for tally in tallies),
    )


def _batch_status(batch: BatchRecord, lane: str) -> BatchStatus:
    return BatchStatus(
        number=batch.number,
        lane=lane,
        state=batch.state,
        end_reason=batch.end_reason,
        rows=batch.rows,
        provider_batch_id=batch.provider_batch_id,
        provider_status=batch.provider_status,
        counts=batch.counts,
        submitted_at_s=batch.sent_at_s,
        ended_at_s=batch.ended_at_s,
        note=batch.note,
    )


def _eta(job: JobRecord, batches: Sequence[BatchRecord], finished: int, now_s: float) -> float | None:
    """Judge by the pace so far; None before anything has finished or when nothing is left."""
    sent = [batch.sent_at_s for batch in batches if batch.sent_at_s is not None]
    left = job.requests - finished
    if job.state != "running" or not sent or finished <= 0 or left <= 0:
        return None
    elapsed_s = max(0.0, now_s - min(sent))
    return elapsed_s * left / finished
