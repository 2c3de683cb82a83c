"""Asking how batches are doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bydawn.engine.policy import poll_delay
from bydawn.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from bydawn.core.batch import BatchReport, Refusal
    from bydawn.engine.desk import Desk
    from bydawn.store.records import BatchRecord

OVERDUE_GRACE_S = 3600.0
"""Providers take a while to wind up a batch whose window has passed (finalizing for hours is known: openai.md §9)."""

REPORT_GONE_AFTER_S = 26 * 3600.0
"""When a batch that the provider no longer knows is given up: the 24-hour window and two hours of grace."""


class Watching:
    """Watches the batches of one job. ``refuse`` commits that a batch was refused."""

    def __init__(self, desk: Desk, refuse: Callable[[BatchRecord, Refusal], None]) -> None:
        self._desk = desk
        self._refuse = refuse

    async def poll(self, batch: BatchRecord) -> None:
        """Ask how the batch is doing, and note what changed."""
        assert batch.provider_batch_id is not None
        try:
            report = await self._desk.way(batch).run(self._desk.provider(batch).poll(batch.provider_batch_id))
        except NotFound as error:
            self._not_there(batch, error)
            return
        self._note_report(batch, report)

    def _not_there(self, batch: BatchRecord, error: NotFound) -> None:
        """A batch we were told the id of is not known (yet, or no more): look again until its window has passed."""
        desk = self._desk
        now_s = desk.clock.now()
        if now_s - (batch.sent_at_s or now_s) > REPORT_GONE_AFTER_S:
            desk.store.move_batch(batch, "end", end_reason="failed", ended_at_s=now_s, note=str(error))
            return
        self._look_again(batch, looks=batch.looks + 1, note=str(error))

    def _note_report(self, batch: BatchRecord, report: BatchReport) -> None:
        if report.phase != "ended":
            changed = (report.status, report.counts) != (batch.provider_status, batch.counts)
            self._look_again(
                batch,
                looks=0 if changed else batch.looks + 1,
                provider_status=report.status,
                counts=report.counts,
                expires_at_s=report.expires_at_s,
                note=self._overdue(batch, report),
            )
        elif report.end_reason == "failed" and not report.files:
            refusal = self._desk.provider(batch).read_refusal(report.problems)
            self._refuse(self._desk.store.update_batch(batch, provider_status=report.status), refusal)
        else:
            self._desk.store.move_batch(
                batch,
                "end",
                end_reason=report.end_reason,
                provider_status=report.status,
                counts=report.counts,
                ended_at_s=self._desk.clock.now(),
                facts={**batch.facts, **{file.kind: file.file_id for file in report.files}},
                looks=0,
                look_at_s=0.0,
                note=None,
            )

    def _overdue(self, batch: BatchRecord, report: BatchReport) -> str | None:
        """A remark on a batch that should have ended. It is not given up: it may still run, and be billed."""
        if report.expires_at_s is None or report.created_at_s is None or batch.sent_at_s is None:
            return None
        window_s = report.expires_at_s - report.created_at_s  # by the provider's clock, which may not be ours
        if self._desk.clock.now() - batch.sent_at_s < window_s + OVERDUE_GRACE_S:
            return None
        return "past its completion window and still not ended: ask the provider, or `bydawn cancel`"

    def _look_again(self, batch: BatchRecord, *, looks: int, **changes: object) -> None:
        desk = self._desk
        delay_s = poll_delay(looks, desk.settings, desk.rng)
        desk.store.update_batch(batch, looks=looks, look_at_s=desk.later(delay_s), **changes)
