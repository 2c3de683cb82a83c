"""What becomes of rows that are not at the provider: planned again, taken back, or given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bydawn.core.events import Notice
from bydawn.engine.replan import replan, settle_rows
from bydawn.engine.rows import load_rows
from bydawn.engine.writing import DiskShelf
from bydawn.store.ledger import CANCELLED, PENDING, WAITING

if TYPE_CHECKING:
    from bydawn.engine.desk import Desk
    from bydawn.store.ledger import Segment
    from bydawn.store.records import BatchRecord


class Requeueing:
    """Of one job."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def replan(self, batch: BatchRecord) -> None:
        """Put the waiting rows of a batch into new ones."""
        desk, store = self._desk, self._desk.store
        rows, tokens = batch.facts.get("max_rows"), batch.facts.get("max_tokens")
        planned = replan(
            batch,
            desk.lane(batch),
            files=desk.files,
            shelf=DiskShelf(desk.files),
            ids=desk.ids,
            provider=desk.provider(batch),
            limits=desk.lane_limits(batch, rows=int(rows) if rows else None, tokens=int(tokens) if tokens else None),
            first_number=store.last_number(desk.job_id) + 1,
            segment=desk.segment,
        )
        store.replan(batch, planned.segments, planned.batches)
        rows_again = sum(new.rows for new in planned.batches)
        desk.on_event(Notice("info", f"{rows_again} rows of batch {batch.number} are sent again"))

    async def withdraw(self, batch: BatchRecord) -> None:
        """Take back a batch that was never sent, because the job was cancelled."""
        self._desk.store.collect(batch, "withdraw", self._cancelled(batch, PENDING), waiting=0)

    async def give_up(self, batch: BatchRecord) -> None:
        """Let rows that wait to be sent again end as cancelled, because the job was."""
        self._desk.store.replan(batch, self._cancelled(batch, WAITING), [])

    def _cancelled(self, batch: BatchRecord, standing: int) -> list[Segment]:
        """The ledger with those rows of a batch cancelled that stand so."""
        desk = self._desk
        ordinals = load_rows(desk.files.rows(batch.number), batch.rows)
        states = bytearray([CANCELLED]) * batch.rows
        return settle_rows(batch, ordinals, states, desk.segment, standing=standing)
