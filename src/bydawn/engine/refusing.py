"""What follows when a provider refuses a whole batch before any of its rows ran.

Rows that the provider names end as failed; the others wait to be planned into new batches: smaller ones when this one
was too large, later ones when a quota is used up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bydawn.core.events import Notice
from bydawn.core.result import Answer, RowError
from bydawn.engine.decode import decode_batch
from bydawn.engine.policy import MAX_REFUSALS, quota_delay, retry_delay
from bydawn.errors import QuotaExhausted
from bydawn.store.records import lane_key

if TYPE_CHECKING:
    from bydawn.core.batch import Refusal
    from bydawn.engine.desk import Desk
    from bydawn.engine.outcomes import Outcomes
    from bydawn.store.records import BatchRecord

HALVINGS_MAX = 3
"""How often rows that are refused for a quota of unknown size are sent in smaller batches; then they only wait."""


class Refusing:
    """Takes in refusals of one job's batches."""

    def __init__(self, desk: Desk, outcomes: Outcomes) -> None:
        self._desk = desk
        self._outcomes = outcomes

    def refuse(self, batch: BatchRecord, refusal: Refusal) -> None:
        """Commit that the whole batch was refused before any row ran; its good rows return to planning."""
        desk = self._desk
        bad = {line: problem for line, problem in refusal.bad if 1 <= line <= batch.rows}
        if refusal.kind == "rows" and not bad:
            refusal = replace(refusal, kind="unknown")
        retryable = not _hopeless(batch, refusal)

        provider = desk.lane(batch).model.provider
        refused = RowError("batch_refused", refusal.code, refusal.message, retryable, provider)

        def verdict(position: int) -> Answer:
            problem = bad.get(position + 1)
            if problem is None:
                return Answer("", "errored", error=refused)
            error = RowError("invalid_request", problem.code, problem.message, retryable=False, provider=provider)
            return Answer("", "errored", error=error)

        task = self._outcomes.task(batch, received=(), no_line=verdict)
        collected = decode_batch(task)
        note = f"refused: {refusal.message}"
        limits = self._smaller(batch, refusal)
        delay_s = self._refusal_delay(batch, refusal)
        self._outcomes.commit(
            batch, "refuse", task.ordinals, collected, note=note, look_at_s=desk.later(delay_s),
            facts={**batch.facts, **limits},
        )  # fmt: skip
        desk.on_event(Notice("warning", f"batch {batch.number} was refused: {refusal.message}"))
        if refusal.kind == "money":
            raise QuotaExhausted(refusal.message, provider=desk.lane(batch).model.provider, code=refusal.code)

    def _refusal_delay(self, batch: BatchRecord, refusal: Refusal) -> float:
        desk = self._desk
        if refusal.kind == "quota":
            if refusal.limit is not None and batch.input_tokens > refusal.limit and batch.rows > 1:
                return 0.0  # it could never have fitted: the smaller ones that follow may
            return quota_delay(batch.refusals, desk.settings, desk.rng)
        if refusal.kind == "unknown":
            return retry_delay(batch.refusals, desk.settings, desk.rng)
        return 0.0

    def _smaller(self, batch: BatchRecord, refusal: Refusal) -> dict[str, str]:
        """Note by how much the batches that take over the rows must be smaller, as facts of the refused one."""
        desk = self._desk
        if refusal.kind == "quota":
            if refusal.limit is not None:
                desk.store.learn_quota(desk.realm, lane_key(desk.lane(batch)), refusal.limit)
                return {}
            others = desk.store.enqueued_tokens(desk.realm).get(lane_key(desk.lane(batch)), 0) - batch.input_tokens
            if others > 0 or batch.refusals >= HALVINGS_MAX:
                return {}  # it is not the size: what is enqueued has to be freed first
            return {"max_tokens": str(max(1, batch.input_tokens // 2))}
        if refusal.kind == "size" or (refusal.kind == "rows" and batch.refusals >= MAX_REFUSALS):
            return {"max_rows": str(max(1, batch.rows // 2))}
        return {}


def _hopeless(batch: BatchRecord, refusal: Refusal) -> bool:
    """Whether the rows of a refused batch will be refused however often they are sent."""
    if refusal.kind == "size":
        return batch.rows == 1
    if refusal.kind == "quota":  # a full quota is no verdict on rows, but one that a single row exceeds is
        too_large = refusal.limit is not None and batch.input_tokens > refusal.limit
        return too_large and batch.rows == 1 and batch.refusals + 1 >= MAX_REFUSALS
    return refusal.kind == "lane" or (refusal.kind == "unknown" and batch.refusals + 1 >= MAX_REFUSALS)
