"""Commits how the rows of a batch came out: records on disk, states in the ledger, the batch itself, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bydawn.engine.decode import Task
from bydawn.engine.replan import settle_rows
from bydawn.engine.rows import load_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bydawn.core.batch import ResultKind
    from bydawn.core.result import Answer
    from bydawn.engine.decode import Collected
    from bydawn.engine.desk import Desk
    from bydawn.store.records import BatchRecord


class Outcomes:
    """Of one job. ``cancelled`` tells whether the user has cancelled it: then no row is tried again."""

    def __init__(self, desk: Desk, cancelled: Callable[[], bool]) -> None:
        self._desk = desk
        self._cancelled = cancelled

    def task(
        self, batch: BatchRecord, *, received: tuple[tuple[ResultKind, Path], ...], no_line: Callable[[int], Answer]
    ) -> Task:
        """Gather what is needed to decode a batch."""
        desk, files, number = self._desk, self._desk.files, batch.number
        lane = desk.lane(batch)
        return Task(
            batch=batch,
            lane=lane,
            ordinals=load_rows(files.rows(number), batch.rows),
            provider=desk.provider(batch),
            rates=desk.rates(lane.model),
            may_retry=not self._cancelled(),
            received=received,
            no_line=no_line,
            requests=files.requests(number),
            results=files.results(number),
            index=files.index(number),
            strays=files.strays(number),
        )

    def commit(
        self, batch: BatchRecord, event: str, ordinals: Sequence[int], collected: Collected, **changes: object
    ) -> None:
        """Move the batch by ``event``, and its rows to where they were decoded to."""
        desk = self._desk
        assert collected.tally.adds_up(), collected.tally
        segments = settle_rows(batch, ordinals, collected.states, desk.segment)
        changes = {"tally": collected.tally, **changes}
        desk.store.collect(batch, event, segments, waiting=collected.waiting, **changes)
