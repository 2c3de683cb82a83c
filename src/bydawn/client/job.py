"""A handle on one stored job: look at it, work on it, read its results."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from bydawn.core.batch import RESULT_KINDS, ResultFile
from bydawn.core.events import Notice, Progress, ignore
from bydawn.core.job import CleanReport, JobOptions
from bydawn.core.result import Result
from bydawn.engine.failures import group_failures
from bydawn.engine.merge import result_lines
from bydawn.engine.replan import wait_again
from bydawn.engine.worker import Worker
from bydawn.errors import ConfigError, JobBusy, ProviderError, TransportError
from bydawn.io import write_results
from bydawn.store.files import JobFiles
from bydawn.store.ledger import CANCELLED, EXPIRED, FAILED
from bydawn.store.lock import JobLock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from bydawn.client.client import Client
    from bydawn.core.events import Listener
    from bydawn.core.job import FailureGroup, JobStatus
    from bydawn.engine.schedule import Goal
    from bydawn.io import OutputFormat

FOLLOW_EVERY_S = 2.0
"""How often a process that waits for another one looks at the job."""

RESULTS_BETWEEN_PAUSES = 100
"""How many results an ``async for`` may take before other tasks have their turn."""

_RETRIED = frozenset({FAILED, EXPIRED, CANCELLED})


class Results:
    """The results of a job, one after the other; nothing is held in memory."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._results = map(msgspec.json.Decoder(Result).decode, lines)

    def __iter__(self) -> Iterator[Result]:
        return self._results

    async def __aiter__(self) -> AsyncIterator[Result]:
        for number, result in enumerate(self._results, 1):
            yield result
            if number % RESULTS_BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)


class Job:
    """A handle on one stored job. Nothing of it is held in memory but its id."""

    def __init__(self, client: Client, job_id: str) -> None:
        self._client = client
        self.job_id = job_id
        self._files = JobFiles(client.settings.home, job_id)

    def status(self) -> JobStatus:
        """Read the job's state from the store; asks no provider."""
        return self._client.status(self.job_id)

    async def wait(self, on_event: Listener = ignore) -> JobStatus:
        """Work on the job until nothing is left to do, then return its status.

        Where another process works on it, say so and follow it, taking over should it die. Raises ProviderError when
        the job is paused (key refused, quota gone), TransportError when its provider cannot be reached, StoreError.
        """
        return await self._work("done", on_event)

    async def start(self, on_event: Listener = ignore) -> JobStatus:
        """Work on the job until every batch is at its provider, without waiting for answers."""
        return await self._work("sent", on_event)

    async def _work(self, goal: Goal, on_event: Listener) -> JobStatus:
        told = False
        while True:
            try:
                with JobLock(self._files.lock, self.job_id):
                    return await self._work_alone(goal, on_event)
            except JobBusy as busy:
                if not told:
                    on_event(Notice("info", f"{busy}; waiting for it"))
                    told = True
            on_event(Progress(self.status()))
            await self._client.pause(FOLLOW_EVERY_S)

    async def _work_alone(self, goal: Goal, on_event: Listener) -> JobStatus:
        store = self._client.store
        job = store.job(self.job_id)
        if job.state == "planning":
            raise ConfigError(
                f"job {self.job_id} was never planned to its end",
                hint="Run the command that started it again, with its input.",
            )
        if job.state == "paused":
            store.move_job(job, "resume")
        return await Worker(self._client.desk(self.job_id, on_event)).run(goal)

    def lines(self, *, partial: bool = False, raw: bool = False) -> Iterator[bytes]:
        """Yield one JSON line per finished request, in row order. Raises ConfigError when the job is not done."""
        job = self._client.store.job(self.job_id)
        if not partial and (pending := self.status().pending):
            raise ConfigError(
                f"job {self.job_id} is not done: {pending:,} requests are pending",
                hint=f"`bydawn wait {self.job_id}` finishes it; --partial takes what is there.",
            )
        return result_lines(self._client.store, self._files, job, raw=raw)

    def results(self, *, partial: bool = False, raw: bool = False) -> Results:
        """Return one result per request in row order; with ``partial`` only the finished ones of a running job.

        Read it once, with ``for`` or ``async for``. Raises ConfigError when the job is not done.
        """
        return Results(self.lines(partial=partial, raw=raw))

    def write(
        self,
        target: Path | BinaryIO,
        *,
        file_format: OutputFormat | None = None,
        partial: bool = False,
        raw: bool = False,
    ) -> int:
        """Write the results (jsonl, csv, parquet; by extension when not given), atomically; return how many."""
        return write_results(self.lines(partial=partial, raw=raw), target, format=file_format)

    def failures(self) -> list[FailureGroup]:
        """Group what did not succeed by cause, most frequent first."""
        return group_failures(self.lines(partial=True))

    async def retry(self) -> int:
        """Put failed, expired and cancelled requests back to planning; return how many.

        `wait` then sends them. Raises JobBusy while another process works on the job.
        """
        store, job_id = self._client.store, self.job_id
        with JobLock(self._files.lock, job_id):
            job = store.job(job_id)
            options = msgspec.json.decode(job.options, type=JobOptions)
            total = 0
            for segment in store.segments(job_id):
                counts = Counter(wait_again(segment, _RETRIED))
                self._refuse_cleaned(counts)
                total += counts.total()
                store.requeue(job_id, [segment], counts, options.max_attempts)
            if total and job.state in ("done", "cancelled"):
                store.move_job(job, "retry")
        return total

    def _refuse_cleaned(self, batches: Iterable[int]) -> None:
        if not all(self._files.requests(number).exists() for number in batches):
            raise ConfigError(
                f"the requests of job {self.job_id} were cleaned away and cannot be sent again",
                hint="Run the job anew with --new.",
            )

    async def cancel(self, on_event: Listener = ignore) -> JobStatus:
        """Withdraw what was not sent, cancel what runs, and collect what had finished.

        A process that works on the job takes notice by itself; otherwise the work is done here.
        """
        store = self._client.store
        job = store.job(self.job_id)
        if job.state in ("running", "paused"):
            store.move_job(job, "cancel")
            store.wake(self.job_id)
        elif job.state != "cancelled":
            raise ConfigError(f"job {self.job_id} is {job.state}: there is nothing to cancel")
        return await self._work("done", on_event)

    async def clean(self, *, remote: bool = True, local: bool = True) -> CleanReport:
        """Delete the job's remote files, and the bytes sent and received on this machine; results stay readable.

        Raises ConfigError while requests are pending, JobBusy while another process works on the job.
        """
        with JobLock(self._files.lock, self.job_id):
            if pending := self.status().pending:
                raise ConfigError(
                    f"job {self.job_id} still has {pending:,} pending requests", hint="Finish or cancel it first."
                )
            removed, failures = await self._clean_remote() if remote else (0, [])
            freed = self._files.drop_bodies() if local else 0
        return CleanReport(remote_files=removed, local_bytes=freed, failures=tuple(failures))

    async def _clean_remote(self) -> tuple[int, list[str]]:
        removed, failures = 0, []
        desk = self._client.desk(self.job_id, ignore)
        for batch in self._client.store.batches(self.job_id):
            files = [ResultFile(kind, batch.facts[kind]) for kind in RESULT_KINDS if kind in batch.facts]
            try:
                removed += await desk.way(batch).run(desk.provider(batch).clean(batch.facts, files))
            except (ProviderError, TransportError) as error:
                failures.append(f"batch {batch.number}: {error}")
        return removed, failures
