"""The actions that move a batch: each asks or tells its provider one thing and commits what came of it.

Theory of operation. An action starts from the stored batch and ends with one commit; between two commits nothing is
known that the next start would not find out again. Only `send` makes an unsafe call: the driver calls ``before_unsafe``
just before it, which commits ``submitting``. From there on the batch is *in doubt* until an answer says otherwise.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from bydawn.core.batch import RESULT_KINDS, Refusal, ResultFile, Submission
from bydawn.core.events import Notice
from bydawn.core.result import Answer, RowError
from bydawn.engine.collect import Task, after_end, answers_lost, decode_batch
from bydawn.engine.policy import MAX_REFUSALS, poll_delay, quota_delay, retry_delay
from bydawn.engine.replan import replan, settle_rows
from bydawn.engine.rows import load_rows
from bydawn.engine.writing import DiskShelf
from bydawn.errors import (
    InDoubt,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Rejected,
    TooLarge,
    TransportError,
)
from bydawn.store.ledger import CANCELLED, WAITING
from bydawn.store.records import lane_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bydawn.core.batch import BatchReport, ResultKind
    from bydawn.engine.collect import Collected
    from bydawn.engine.desk import Desk
    from bydawn.store.ledger import Segment
    from bydawn.store.records import BatchRecord

LOOKS_BEFORE_ABSENT = 3
"""How many times a provider's list must be read in vain, besides the time that must pass, before a create counts as
never done."""

OVERDUE_GRACE_S = 3600.0
"""Providers take a while to wind up a batch whose window has passed (finalizing for hours is known: openai.md §9)."""

REPORT_GONE_AFTER_S = 26 * 3600.0
"""When a batch that the provider no longer knows is given up: the 24-hour window and two hours of grace."""


LOOKS_BEFORE_GONE = 6
"""How many times, with growing pauses, a result file may answer 404, or come cut, before that is taken for final."""

DOUBTED_SINCE = "doubted_since"
"""Fact: when a create came into doubt. Waiting counts from there: the provider may have acted after our time-out."""

SECOND_LOOKS = "second_looks"
"""Fact: how often the results were fetched again because rows were missing from them."""


def _first_look(path: Path) -> Path:
    """Where a received file waits while it is fetched a second time."""
    return path.with_name(path.name + ".first")


class Actions:
    """Performs actions for one job. ``cancelled`` tells whether the user has cancelled it."""

    def __init__(self, desk: Desk, cancelled: Callable[[], bool]) -> None:
        self._desk = desk
        self._cancelled = cancelled

    # Sending

    async def send(self, batch: BatchRecord) -> None:
        """Create the batch at its provider.

        Raises what keeps all batches from being sent (a refused key, no money, no connection), with this one safe.
        """
        desk, store = self._desk, self._desk.store
        stored = batch

        def checkpoint(facts: Mapping[str, str]) -> None:
            nonlocal stored
            stored = store.update_batch(stored, facts={**stored.facts, **facts})

        def commit_intent() -> None:
            nonlocal stored
            stored = store.move_batch(stored, "send", sent_at_s=desk.clock.now(), looks=0, note=None)

        flow = desk.provider(batch).submit(self._submission(batch), batch.facts)
        try:
            provider_batch_id = await desk.way(batch).run(flow, on_checkpoint=checkpoint, before_unsafe=commit_intent)
        except InDoubt as doubt:
            self._lose(stored, note=str(doubt))
            desk.on_event(Notice("warning", f"batch {batch.number} is in doubt and will be looked for: {doubt}"))
            return
        except (Rejected, NotFound) as error:
            self._refuse_sending(stored, error)
            return
        except RateLimited as error:
            self._take_back(stored, str(error), error.retry_after_s)
            return
        except (ProviderError, TransportError) as error:
            self._take_back(stored, str(error), None)
            raise
        store.move_batch(
            stored,
            "accepted",
            provider_batch_id=provider_batch_id,
            look_at_s=self._later(poll_delay(0, desk.settings, desk.rng)),
        )

    def _submission(self, batch: BatchRecord) -> Submission:
        return Submission(
            tag=batch.tag,
            lane=self._desk.lane(batch),
            requests=self._desk.files.requests(batch.number),
            rows=batch.rows,
            bytes=batch.bytes,
            job_name=self._desk.job_name,
        )

    def _take_back(self, batch: BatchRecord, why: str, asked_s: float | None) -> None:
        """Note that a batch was surely not created, and when to try again."""
        desk = self._desk
        changes = {
            "looks": batch.looks + 1,
            "look_at_s": self._later(retry_delay(batch.looks, desk.settings, desk.rng, asked_s)),
            "note": why,
        }
        if batch.state == "submitting":
            desk.store.move_batch(batch, "not_sent", **changes)
        else:
            desk.store.update_batch(batch, **changes)

    def _refuse_sending(self, batch: BatchRecord, error: Rejected | NotFound) -> None:
        kind: Literal["size", "unknown"] = "size" if isinstance(error, TooLarge) else "unknown"
        self.refuse(batch, Refusal(kind, str(error), error.code))

    # Settling

    def _lose(self, batch: BatchRecord, note: str | None) -> BatchRecord:
        """Note that a create is in doubt from now on."""
        desk = self._desk
        return desk.store.move_batch(
            batch,
            "lost",
            facts={**batch.facts, DOUBTED_SINCE: repr(desk.clock.now())},
            looks=0,
            look_at_s=self._later(poll_delay(0, desk.settings, desk.rng)),
            note=note,
        )

    async def settle(self, batch: BatchRecord) -> None:
        """Look for a batch whose create was in doubt; adopt it, or find it absent after looking long enough."""
        desk, store = self._desk, self._desk.store
        if batch.state == "submitting":  # a process died with the create on its way
            batch = self._lose(batch, note="a process ended while it was being created")
        sent_at_s = batch.sent_at_s or desk.clock.now()
        flow = desk.provider(batch).find(self._submission(batch), batch.facts, sent_at_s)
        provider_batch_id = await desk.way(batch).run(flow)
        now_s = desk.clock.now()
        if provider_batch_id is not None:
            store.move_batch(
                batch, "adopted", provider_batch_id=provider_batch_id, looks=0, look_at_s=now_s, note="found again"
            )
            desk.on_event(Notice("info", f"batch {batch.number} was created after all: {provider_batch_id}"))
            return
        looks = batch.looks + 1
        waited = now_s - float(batch.facts[DOUBTED_SINCE]) >= desk.settings.settle_wait_s
        if waited and looks >= LOOKS_BEFORE_ABSENT:
            store.move_batch(batch, "absent", looks=0, look_at_s=now_s, note="was never created")
            desk.on_event(Notice("info", f"batch {batch.number} was never created: it is sent again"))
            return
        span_s = desk.settings.settle_wait_s / (2 * LOOKS_BEFORE_ABSENT)
        store.update_batch(batch, looks=looks, look_at_s=now_s + span_s)

    # Watching

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
                note=self._overdue(report),
            )
        elif report.end_reason == "failed" and not report.files:
            refusal = self._desk.provider(batch).read_refusal(report.problems)
            self.refuse(self._desk.store.update_batch(batch, provider_status=report.status), refusal)
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

    def _overdue(self, report: BatchReport) -> str | None:
        """A remark on a batch that should have ended. It is not given up: it may still run, and be billed."""
        if report.expires_at_s is None or self._desk.clock.now() < report.expires_at_s + OVERDUE_GRACE_S:
            return None
        return "past its completion window and still not ended: ask the provider, or `bydawn cancel`"

    def _look_again(self, batch: BatchRecord, *, looks: int, **changes: object) -> None:
        desk = self._desk
        delay_s = poll_delay(looks, desk.settings, desk.rng)
        desk.store.update_batch(batch, looks=looks, look_at_s=self._later(delay_s), **changes)

    async def cancel(self, batch: BatchRecord) -> None:
        """Ask the provider to cancel the batch; what it has finished is still collected."""
        assert batch.provider_batch_id is not None
        try:
            await self._desk.way(batch).run(self._desk.provider(batch).cancel(batch.provider_batch_id))
        except (Rejected, NotFound) as error:  # nothing to cancel: polling finds out why
            self._desk.on_event(Notice("warning", f"batch {batch.number} could not be cancelled: {error}"))
        self._desk.store.move_batch(batch, "cancel", looks=0, look_at_s=0.0)

    # Collecting

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
        task = self._task(batch, received=tuple(received), no_line=no_line)
        collected = await asyncio.to_thread(decode_batch, task)
        if collected.tally.missing:
            suspect = await self._is_suspect(batch, task, collected)
            if self._may_look_again(batch, suspect=suspect):
                await self._look_again_at_files(batch, collected)
                return
            if suspect and collected.tally.missing > collected.unread:  # more was lost than a line or two that came cut
                collected = await asyncio.to_thread(decode_batch, replace(task, no_line=answers_lost))
        self._warn(batch, collected)
        self._commit(batch, "collect", task.ordinals, collected)
        self._wake_lane(batch)
        if collected.quota is not None:
            raise QuotaExhausted(collected.quota, provider=desk.lane(batch).model.provider)

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
        """Whether rows are missing because a file came cut or unreadable, rather than because they have no line."""
        if collected.cut or collected.unread:
            return True
        desk = self._desk
        for kind, path in task.received:
            try:
                size = await desk.way(batch).run(desk.provider(batch).size(ResultFile(kind, batch.facts[kind])))
            except NotFound:
                continue
            received = path.stat().st_size
            if not received or (size is not None and size > received):
                return True
        return False

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
            look_at_s=self._later(poll_delay(looks, desk.settings, desk.rng)),
            note=f"{collected.tally.missing} rows have no line yet",
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

    def _task(
        self, batch: BatchRecord, *, received: tuple[tuple[ResultKind, Path], ...], no_line: Callable[[int], Answer]
    ) -> Task:
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

    def _commit(
        self, batch: BatchRecord, event: str, ordinals: Sequence[int], collected: Collected, **changes: object
    ) -> None:
        assert collected.tally.adds_up(), collected.tally
        segments = settle_rows(batch, ordinals, collected.states, self._segment)
        changes = {"tally": collected.tally, **changes}
        self._desk.store.collect(batch, event, segments, waiting=collected.waiting, **changes)

    # Refusals, withdrawals, new plans

    def refuse(self, batch: BatchRecord, refusal: Refusal) -> None:
        """Commit that the whole batch was refused before any row ran; its good rows return to planning."""
        desk = self._desk
        bad = {line: problem for line, problem in refusal.bad if 1 <= line <= batch.rows}
        if refusal.kind == "rows" and not bad:
            refusal = replace(refusal, kind="unknown")
        retryable = not _hopeless(batch, refusal)

        def verdict(position: int) -> Answer:
            problem = bad.get(position + 1)
            if problem is not None:
                return Answer(
                    "", "errored", error=RowError("invalid_request", problem.code, problem.message, retryable=False)
                )
            return Answer(
                "", "errored", error=RowError("batch_refused", refusal.code, refusal.message, retryable=retryable)
            )

        task = self._task(batch, received=(), no_line=verdict)
        collected = decode_batch(task)
        note = f"refused: {refusal.message}"
        limits = self._smaller(batch, refusal)
        delay_s = self._refusal_delay(batch, refusal)
        self._commit(
            batch, "refuse", task.ordinals, collected, note=note, look_at_s=self._later(delay_s),
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
            return {} if others > 0 else {"max_tokens": str(max(1, batch.input_tokens // 2))}
        if refusal.kind == "size" or (refusal.kind == "rows" and batch.refusals >= MAX_REFUSALS):
            return {"max_rows": str(max(1, batch.rows // 2))}
        return {}

    def _wake_lane(self, ended: BatchRecord) -> None:
        """Let batches that wait for quota try again now that one of their lane has ended."""
        store = self._desk.store
        for batch in store.batches(self._desk.job_id):
            if batch.state == "refused" and batch.waiting and batch.lane == ended.lane:
                store.update_batch(batch, look_at_s=0.0)

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
            first_number=max(other.number for other in store.batches(desk.job_id)) + 1,
            segment=self._segment,
        )
        store.replan(batch, planned.segments, planned.batches)
        rows_again = sum(new.rows for new in planned.batches)
        desk.on_event(Notice("info", f"{rows_again} rows of batch {batch.number} are sent again"))

    async def withdraw(self, batch: BatchRecord) -> None:
        """Take back a batch that was never sent, because the job was cancelled."""
        desk = self._desk
        ordinals = load_rows(desk.files.rows(batch.number), batch.rows)
        states = bytearray([CANCELLED]) * batch.rows
        segments = settle_rows(batch, ordinals, states, self._segment)
        desk.store.collect(batch, "withdraw", segments, waiting=0)

    async def give_up(self, batch: BatchRecord) -> None:
        """Let rows that wait to be sent again end as cancelled, because the job was."""
        desk, store = self._desk, self._desk.store
        ordinals = load_rows(desk.files.rows(batch.number), batch.rows)
        states = bytearray([CANCELLED]) * batch.rows
        segments = settle_rows(batch, ordinals, states, self._segment, standing=WAITING)
        store.replan(batch, segments, [])

    def _segment(self, number: int) -> Segment:
        return self._desk.store.segment(self._desk.job_id, number)

    def _later(self, delay_s: float) -> float:
        return self._desk.clock.now() + delay_s


def _hopeless(batch: BatchRecord, refusal: Refusal) -> bool:
    """Whether the rows of a refused batch will be refused however often they are sent."""
    if refusal.kind == "size":
        return batch.rows == 1
    return refusal.kind == "lane" or (refusal.kind == "unknown" and batch.refusals + 1 >= MAX_REFUSALS)
