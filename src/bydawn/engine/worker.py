"""The loop that brings a job to its end: look at what is stored, decide, act, commit, again.

A job is reconciled, not scripted. Whatever happened before (a crash, a restart, a day of sleep), the loop starts from
the stored state. Nothing else needs to be alive, and the caller holds the job's lock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bydawn.core.events import BatchMoved, Notice, Progress
from bydawn.core.states import AT_PROVIDER
from bydawn.engine.actions import Actions
from bydawn.engine.policy import retry_delay
from bydawn.engine.schedule import Snapshot, decide, waiting_for_quota
from bydawn.engine.status import job_status
from bydawn.errors import (
    AuthenticationFailed,
    BydawnError,
    PermissionDenied,
    ProviderError,
    QuotaExhausted,
    TransportError,
    UnexpectedAnswer,
)
from bydawn.store.records import lane_key

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bydawn.core.job import JobStatus
    from bydawn.engine.desk import Desk
    from bydawn.engine.schedule import Action, Goal
    from bydawn.store.records import BatchRecord

PROGRESS_EVERY_S = 0.5
"""Counting a large job's ledger costs milliseconds: not after every small step."""

TICK_S = 2.0
"""How often the store is looked at whatever happens: another process may have cancelled the job."""

UNREADABLE_ANSWERS_MAX = 4
"""How many answers that cannot be read are put up with before a job with nothing at its provider gives up."""

UNSAFE_GRACE_S = 10.0
"""How long an interrupted worker waits for a create that is on its way, so that it need not be looked for later."""


class Worker:
    """Works on one job until its goal is reached or something stops it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._actions = Actions(desk, lambda: desk.store.job(desk.job_id).state == "cancelled")
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._doing: dict[int, Action] = {}
        self._stop: BydawnError | None = None
        self._told: dict[int, tuple[str, str | None]] = {}
        self._progress_at = float("-inf")
        self._quota_told: frozenset[str] = frozenset()

    async def run(self, goal: Goal) -> JobStatus:
        """Return the job's status when the goal is reached.

        Raises the error that stopped it: a refused key, exhausted quota (after everything in flight was collected),
        a provider that cannot be reached while nothing is in flight.
        """
        try:
            await self._loop(goal)
        finally:
            await self._let_go()
        status = self._finish(goal)
        if self._stop is not None:
            raise self._stop
        return status

    async def _loop(self, goal: Goal) -> None:
        desk = self._desk
        while True:
            snapshot = self._snapshot()
            decision = decide(snapshot, frozenset(self._tasks), desk.clock.now(), desk.settings, goal)
            self._tell(snapshot)
            if decision.reached or self._hopeless():
                return
            for action in decision.actions:
                self._start(action)
            await self._wait(decision.wake_at_s)

    def _snapshot(self) -> Snapshot:
        desk = self._desk
        return Snapshot(
            job=desk.store.job(desk.job_id),
            batches=desk.store.live_batches(desk.job_id),
            lanes=[lane_key(lane) for lane in desk.lanes],
            enqueued=desk.store.enqueued_tokens(desk.realm),
            quotas=desk.store.quotas(desk.realm),
        )

    def _start(self, action: Action) -> None:
        perform: Coroutine[None, None, None] = getattr(self._actions, action.kind)(action.batch)
        self._doing[action.batch.number] = action
        self._tasks[action.batch.number] = asyncio.create_task(perform, name=f"{action.kind} {action.batch.number}")

    async def _wait(self, wake_at_s: float | None) -> None:
        """Until an action ends or the time has come; then take in what the ended ones say."""
        clock = self._desk.clock
        waits: set[asyncio.Task[None]] = set(self._tasks.values())
        pause_s = TICK_S if wake_at_s is None else min(TICK_S, max(0.0, wake_at_s - clock.now()))
        timer = asyncio.create_task(clock.sleep(pause_s))
        waits.add(timer)
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        for number in [number for number, task in self._tasks.items() if task.done()]:
            action = self._doing.pop(number)
            error = self._tasks.pop(number).exception()
            if error is not None:
                self._take_in(action, error)

    def _take_in(self, action: Action, error: BaseException) -> None:
        """Decide what an action's failure means for the job; what is no failure of the outside world is raised."""
        if isinstance(error, (AuthenticationFailed, PermissionDenied, QuotaExhausted)):
            self._pause(error)
        elif isinstance(error, (ProviderError, TransportError)):
            self._try_later(action, error)
        else:
            raise error

    def _pause(self, error: ProviderError) -> None:
        store = self._desk.store
        job = store.job(self._desk.job_id)
        if job.state == "running":
            store.move_job(job, "pause", reason=str(error))
        if self._stop is None:
            self._desk.on_event(Notice("error", f"paused: {error}"))
            self._stop = error

    def _try_later(self, action: Action, error: ProviderError | TransportError) -> None:
        desk = self._desk
        batch = self._stored(action.batch.number)
        if action.kind != "send":  # `send` has noted its own failure
            delay_s = retry_delay(batch.looks, desk.settings, desk.rng, getattr(error, "retry_after_s", None))
            desk.store.update_batch(batch, looks=batch.looks + 1, look_at_s=desk.clock.now() + delay_s, note=str(error))
        passing = isinstance(error, UnexpectedAnswer) and batch.looks < UNREADABLE_ANSWERS_MAX
        if passing or self._anything_at_stake():
            if str(error) == action.batch.note:
                return  # told before
            desk.on_event(Notice("warning", f"batch {batch.number}: {action.kind} will be tried again: {error}"))
        else:
            self._stop = error

    def _anything_at_stake(self) -> bool:
        """Whether work is at the provider, for whose sake we go on trying however long it takes."""
        batches = self._desk.store.batches(self._desk.job_id)
        return any(batch.state in AT_PROVIDER or batch.state in ("ended", "collected") for batch in batches)

    def _hopeless(self) -> bool:
        """Whether to stop before the goal: at once when the key is refused or nothing is at stake."""
        return self._stop is not None and not isinstance(self._stop, QuotaExhausted)

    def _stored(self, number: int) -> BatchRecord:
        return self._desk.store.batch(self._desk.job_id, number)

    async def _let_go(self) -> None:
        """End what is under way. A create on its way may take a moment to answer; all else is cut off."""
        sending = [task for number, task in self._tasks.items() if self._doing[number].kind == "send"]
        for task in self._tasks.values():
            if task not in sending:
                task.cancel()
        if sending:
            await asyncio.wait(sending, timeout=UNSAFE_GRACE_S)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    def _finish(self, goal: Goal) -> JobStatus:
        desk = self._desk
        job = desk.store.job(desk.job_id)
        if goal == "done" and job.state == "running" and self._stop is None:
            desk.store.move_job(job, "finish")
        status = job_status(desk.store, desk.job_id, desk.clock.now())
        desk.on_event(Progress(status))
        return status

    def _tell(self, snapshot: Snapshot) -> None:
        """Report batches that moved, lanes that wait for quota, and now and then the whole."""
        desk = self._desk
        live = {batch.number for batch in snapshot.batches}
        ended = [self._stored(number) for number in self._told.keys() - live]
        for batch in (*sorted(ended, key=lambda batch: batch.number), *snapshot.batches):
            now = (batch.state, batch.provider_status)
            if self._told.get(batch.number) != now:
                self._told[batch.number] = now
                desk.on_event(_moved(batch))
        for batch in ended:
            del self._told[batch.number]
        waiting = dict(waiting_for_quota(snapshot))
        for lane in waiting.keys() - self._quota_told:
            desk.on_event(Notice("info", f"waiting for {waiting[lane]:,} enqueued tokens of {lane}"))
        self._quota_told = frozenset(waiting)
        now_s = desk.clock.monotonic()
        if now_s - self._progress_at >= PROGRESS_EVERY_S:
            self._progress_at = now_s
            desk.on_event(Progress(job_status(desk.store, desk.job_id, desk.clock.now())))


def _moved(batch: BatchRecord) -> BatchMoved:
    return BatchMoved(batch.number, batch.state, batch.rows, batch.provider_batch_id, batch.provider_status, batch.note)
