"""Bringing the results of ended batches home.

Rows that no line came for are a serious matter: sending them again costs money if they were answered after all. So what
came is looked at twice before a row counts as missing, and more often when a file seems to have come cut.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from bydawn.core.batch import RESULT_KINDS, ResultFile
from bydawn.core.events import Notice
from bydawn.engine.decode import after_end, answers_lost, decode_batch
from bydawn.engine.policy import poll_delay
from bydawn.errors import NotFound, QuotaExhausted, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from bydawn.engine.decode import Collected, Task
    from bydawn.engine.desk import Desk
    from bydawn.engine.outcomes import Outcomes
    from bydawn.store.records import BatchRecord

LOOKS_BEFORE_GONE = 6
"""How many times, with growing pauses, a result file may answer 404, or come cut, before that is taken for final."""

LOOKS_BEFORE_CUT = 40
"""How often a file is fetched again while the provider says that it is longer than what came: hours, by then."""

SECOND_LOOKS = "second_looks"
"""Fact: how often the results were fetched again because rows were missing from them."""


class Collecting:
    """Collects the batches of one job."""

    def __init__(self, desk: Desk, outcomes: Outcomes) -> None:
        self._desk = desk
        self._outcomes = outcomes
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="bydawn-decode")

    async def collect(self, batch: BatchRecord) -> None:
        """Fetch the result files, decode them, and commit every row's outcome."""
        desk = self._desk
        received = []
        no_line = after_end(batch.end_reason)
        for kind in RESULT_KINDS:
            file_id = batch.facts.get(kind)
            if not file_id:
                continue
            if await self._fetch(batch, ResultFile(kind, file_id)):
                received.append((kind, desk.files.received(batch.number, kind)))
            elif kind == "output":
                no_line = answers_lost
        task = self._outcomes.task(batch, received=tuple(received), no_line=no_line)
        collected = await self._decode(task)
        if collected.unanswered:
            suspect = await self._is_suspect(batch, task, collected)
            if self._may_look_again(batch, suspect=suspect or _is_nameless(batch)):
                await self._look_again_at_files(batch, collected)
                return
            if suspect and collected.unanswered > collected.unread:  # more was lost than a line or two that came cut
                collected = await self._decode(replace(task, no_line=answers_lost))
        self._warn(batch, collected)
        self._outcomes.commit(batch, "collect", task.ordinals, collected)
        self._wake_lane(batch)
        if collected.quota is not None:
            raise QuotaExhausted(collected.quota, provider=desk.lane(batch).model.provider)

    async def _decode(self, task: Task) -> Collected:
        """Decode beside the loop, one batch at a time and in one thread: memory is that of one batch."""
        return await asyncio.get_running_loop().run_in_executor(self._decoder, decode_batch, task)

    async def _fetch(self, batch: BatchRecord, file: ResultFile) -> bool:
        """Bring a result file to disk unless it is there; False when the provider no longer has it."""
        desk = self._desk
        path = desk.files.received(batch.number, file.kind)
        if path.exists():
            return True
        try:
            await desk.way(batch).run(desk.provider(batch).fetch(file, path))
        except NotFound as error:
            earlier = _first_look(path)
            if earlier.exists():
                earlier.rename(path)
                return True
            if batch.looks < LOOKS_BEFORE_GONE:
                raise  # announced files are known to answer 404 for a while
            desk.on_event(Notice("error", f"the {file.kind} file of batch {batch.number} is gone: {error}"))
            return False
        return True

    async def _is_suspect(self, batch: BatchRecord, task: Task, collected: Collected) -> bool:
        """Whether rows have no line because a file came cut, unreadable or not at all, rather than for good.

        Raises Unavailable for a file that is longer at the provider than here: that is a broken download, which will
        be made again, and no evidence about rows.
        """
        desk = self._desk
        short = False
        for kind, path in task.received:
            try:
                size = await desk.way(batch).run(desk.provider(batch).size(ResultFile(kind, batch.facts[kind])))
            except NotFound:
                size = None
            received = path.stat().st_size
            if size is not None and size > received and batch.looks < LOOKS_BEFORE_CUT:
                path.rename(_first_look(path))
                raise Unavailable(f"the {kind} file came with {received:,} of its {size:,} bytes")
            short = short or not received or (size is not None and size > received)
        return short or collected.cut or collected.unread > 0

    def _may_look_again(self, batch: BatchRecord, *, suspect: bool) -> bool:
        """Before rows count as missing everything is fetched once more; a file that came cut gets more chances."""
        looks = int(batch.facts.get(SECOND_LOOKS, "0"))
        return looks < (LOOKS_BEFORE_GONE if suspect else 1)

    async def _look_again_at_files(self, batch: BatchRecord, collected: Collected) -> None:
        """Ask for the batch's files anew and fetch them again a little later; what came first is kept till then."""
        desk = self._desk
        assert batch.provider_batch_id is not None
        try:
            report = await desk.way(batch).run(desk.provider(batch).poll(batch.provider_batch_id))
        except NotFound:
            files = {}
        else:
            files = {file.kind: file.file_id for file in report.files} if report.phase == "ended" else {}
        for kind in RESULT_KINDS:
            path = desk.files.received(batch.number, kind)
            if path.exists():
                path.rename(_first_look(path))
        looks = int(batch.facts.get(SECOND_LOOKS, "0"))
        desk.store.update_batch(
            batch,
            facts={**batch.facts, **files, SECOND_LOOKS: str(looks + 1)},
            look_at_s=desk.later(poll_delay(looks, desk.settings, desk.rng)),
            note=f"{collected.unanswered} rows have no line yet",
        )

    def _warn(self, batch: BatchRecord, collected: Collected) -> None:
        tally = collected.tally
        aside = tally.strays + tally.repeats + collected.unread
        if aside:
            self._desk.on_event(
                Notice(
                    "warning",
                    f"batch {batch.number}: {aside} lines kept aside in {self._desk.files.strays(batch.number)} "
                    f"({tally.strays} nobody asked for, {tally.repeats} repeated, {collected.unread} unreadable)",
                )
            )
        if tally.missing:
            self._desk.on_event(Notice("warning", f"batch {batch.number}: no line came for {tally.missing} rows"))

    def _wake_lane(self, ended: BatchRecord) -> None:
        """Let batches that wait for quota try again now that one of their lane has ended."""
        store = self._desk.store
        for batch in store.live_batches(self._desk.job_id):
            if batch.state == "refused" and batch.lane == ended.lane:
                store.update_batch(batch, look_at_s=0.0)


def _is_nameless(batch: BatchRecord) -> bool:
    """Whether the provider counts answers but has not (yet) named a file for them."""
    announced = batch.counts.succeeded if batch.counts is not None else 0
    return batch.end_reason == "completed" and announced > 0 and "output" not in batch.facts


def _first_look(path: Path) -> Path:
    """Where a received file waits while it is fetched a second time."""
    return path.with_name(path.name + ".first")
