"""The public API and the composition root: here, and only here, the parts are put together.

`Client` is asynchronous; `run` is the one synchronous door for scripts and notebooks.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.adapt import load_facts
from bydawn.clock import Clock, SystemClock
from bydawn.config import Settings, account_for, load_settings
from bydawn.core.batch import RESULT_KINDS, ResultFile
from bydawn.core.events import Listener, Notice, Progress, ignore
from bydawn.core.job import CleanReport, JobOptions, LanePlan, PlanReport
from bydawn.core.problems import Problems
from bydawn.core.result import Result
from bydawn.engine.desk import Desk
from bydawn.engine.failures import group_failures
from bydawn.engine.merge import result_lines
from bydawn.engine.planner import Planner
from bydawn.engine.replan import wait_again
from bydawn.engine.status import job_status
from bydawn.engine.worker import Worker
from bydawn.engine.writing import DiskShelf, NoShelf
from bydawn.errors import ConfigError, JobBusy, JobNotFound, ProviderError, StrictRefusal, TransportError
from bydawn.ids import IdSource
from bydawn.io import RowShape, Template, open_source, spool_rows, write_results
from bydawn.pricing import likely_tokens, load_prices, usd
from bydawn.providers.registry import get_provider
from bydawn.store.files import JobFiles, create_private, private_folder
from bydawn.store.ledger import CANCELLED, EXPIRED, FAILED
from bydawn.store.lock import JobLock
from bydawn.store.sqlite import Store
from bydawn.transports.driver import Driver
from bydawn.transports.http import HttpTransport
from bydawn.transports.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from random import Random
    from typing import BinaryIO, Self

    from bydawn.core.job import FailureGroup, JobStatus
    from bydawn.core.model import ModelRef
    from bydawn.engine.planner import LaneLoad
    from bydawn.engine.schedule import Goal
    from bydawn.io import OutputFormat, Source
    from bydawn.pricing import Rates
    from bydawn.store.records import JobRecord, Plan

    Rows = str | Path | Iterable[Mapping[str, Any] | str]

JOB_ID_LENGTH = 8
LAST = "last"
FOLLOW_EVERY_S = 2.0
_RETRIED = frozenset({FAILED, EXPIRED, CANCELLED})


class Client:
    """Jobs of one home folder, and the ways to their providers.

    Without ``settings`` they are read from the environment and ``bydawn.toml``. ``clock`` and ``rng`` are for
    simulations.
    """

    def __init__(
        self, settings: Settings | None = None, *, clock: Clock | None = None, rng: Random | None = None
    ) -> None:
        self.settings = settings if settings is not None else load_settings()
        self._clock = clock if clock is not None else SystemClock()
        self._rng = rng if rng is not None else SystemRandom()
        self._ids = IdSource(rng)
        self._facts = load_facts(self.settings.rules)
        self._prices = load_prices(self.settings.prices)
        self._drivers: dict[str, tuple[HttpTransport, Driver]] = {}
        private_folder(self.settings.home)
        self.store = Store(self.settings.home / "bydawn.db", self._clock.now)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections and the store."""
        for transport, _ in self._drivers.values():
            await transport.aclose()
        self._drivers.clear()
        self.store.close()

    # Planning

    def open_job(
        self,
        source: Rows,
        options: JobOptions,
        *,
        strict: bool = False,
        new: bool = False,
        name: str | None = None,
        on_event: Listener = ignore,
    ) -> tuple[Job, bool]:
        """Find the job of this input and these options, or plan a new one; True when it is new.

        Reads and validates the whole input; nothing is sent. Raises InvalidInput, StrictRefusal, ConfigError, and
        JobBusy when another process is planning the very same job.
        """
        job_id = self._ids.tag(JOB_ID_LENGTH)
        with self._source(source, options) as rows:
            fingerprint = self._fingerprint(rows, options)
            known = self.store.find_job(fingerprint)
            if known is not None and not new:
                return self._known_job(known, rows, options, strict=strict, on_event=on_event)
            self.store.create_job(
                job_id=job_id,
                fingerprint=fingerprint,
                name=name or Path(rows.name).stem,
                realm=self.settings.realm,
                options=msgspec.json.encode(options).decode(),
                source=rows.name,
                supersede=known is not None,
            )
            files = JobFiles(self.settings.home, job_id)
            files.create()
            with JobLock(files.lock, job_id):
                self._plan(job_id, files, rows, options, strict=strict, on_event=on_event)
        return Job(self, job_id), True

    def _known_job(
        self, known: JobRecord, rows: Source, options: JobOptions, *, strict: bool, on_event: Listener
    ) -> tuple[Job, bool]:
        """Return the stored job; finish its planning first when that was cut off."""
        fresh = known.state == "planning"
        if fresh:
            files = JobFiles(self.settings.home, known.job_id)
            files.create()
            with JobLock(files.lock, known.job_id):
                if self.store.job(known.job_id).state == "planning":
                    self.store.reset_plan(known.job_id)
                    files.drop_plan()
                    self._plan(known.job_id, files, rows, options, strict=strict, on_event=on_event)
        elif strict:
            _refuse_adjustments(known.adjustments)
        return Job(self, known.job_id), fresh

    def _plan(
        self, job_id: str, files: JobFiles, rows: Source, options: JobOptions, *, strict: bool, on_event: Listener
    ) -> None:
        """Write the job's batch files and commit the plan; leave no trace of the job when the input is refused."""
        with _IdFile(files.ids) as ids:
            planner = self._planner(
                options,
                DiskShelf(files),
                put_segment=lambda segment: self.store.put_segments(job_id, [segment]),
                put_id=ids.put,
                on_event=on_event,
            )
            try:
                plan = planner.plan(rows, Problems(rows.name))
                if strict:
                    _refuse_adjustments(plan.adjustments)
            except BaseException:
                self.store.delete_job(job_id)
                files.remove()
                raise
            ids.fill(plan.rows)
        self.store.commit_plan(job_id, self._with_warnings(plan))

    def _with_warnings(self, plan: Plan) -> Plan:
        today = datetime.fromtimestamp(self._clock.now(), UTC).date()
        models = dict.fromkeys(lane.model for lane in plan.lanes)
        warnings = [text for model in models for text in self._facts.model(model).warnings(today)]
        return replace(plan, notices=(*plan.notices, *warnings))

    def _planner(self, options: JobOptions, shelf: DiskShelf | NoShelf, **outlets: Any) -> Planner:
        return Planner(
            options=options,
            facts=self._facts,
            settings=self.settings.engine,
            limits=self.settings.limits,
            quotas=self.store.quotas(self.settings.realm),
            ids=self._ids,
            shelf=shelf,
            **outlets,
        )

    def check(self, source: Rows, options: JobOptions, *, on_event: Listener = ignore) -> PlanReport:
        """Plan without keeping anything: adjustments, batches, cost. Raises InvalidInput and ConfigError."""
        with self._source(source, options) as rows:
            planner = self._planner(
                options, NoShelf(), put_segment=lambda _: None, put_id=lambda *_: None, on_event=on_event
            )
            plan = self._with_warnings(planner.plan(rows, Problems(rows.name)))
        return PlanReport(
            source=rows.name,
            rows=plan.rows,
            requests=plan.requests,
            lanes=tuple(self._lane_plan(load) for load in planner.loads()),
            adjustments=plan.adjustments,
            notices=plan.notices,
        )

    def _lane_plan(self, load: LaneLoad) -> LanePlan:
        rates = self.rates(load.lane.model)
        tokens = likely_tokens(load.bytes)
        bound = load.max_output_tokens
        if rates is not None and not rates.output_usd_per_mtok:
            bound = 0  # nothing is charged for output (embeddings)
        least = most = live = None
        if rates is not None:
            base, live_base = rates.batch.base, rates.live.base
            least, live = usd(tokens * base.input_pico), usd(tokens * live_base.input_pico)
            most = None if bound is None else usd(tokens * base.input_pico + bound * base.output_pico)
        return LanePlan(
            lane=load.lane,
            requests=load.requests,
            batches=load.batches,
            bytes=load.bytes,
            input_tokens=tokens,
            max_output_tokens=bound,
            cost_least_usd=least,
            cost_most_usd=most,
            live_least_usd=live,
            price_source=None if rates is None else rates.source,
            price_note=None if rates is None else rates.note,
        )

    @contextmanager
    def _source(self, source: Rows, options: JobOptions) -> Iterator[Source]:
        """Open the input; rows from Python are written down first, so that they can be read twice."""
        shape = RowShape(
            prompt=None if options.prompt is None else Template(options.prompt),
            system=None if options.system is None else Template(options.system),
            params=options.params,
            response_format=options.response_format,
            endpoint=options.endpoint,
        )
        if isinstance(source, (str, Path)):
            yield open_source(source, shape=shape)
            return
        folder = private_folder(self.settings.home / "spool" / self._ids.tag(JOB_ID_LENGTH))
        try:
            spool_rows(source, folder / "rows.jsonl")
            yield open_source(folder / "rows.jsonl", shape=shape)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _fingerprint(self, rows: Source, options: JobOptions) -> str:
        parts = (
            self.settings.realm.encode(),
            rows.fingerprint().encode(),
            msgspec.json.encode(options, order="sorted"),
        )
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    # Jobs

    def job(self, job_id: str) -> Job:
        """Open a stored job by its id, a unique beginning of it, or ``last``. Raises JobNotFound."""
        known = [job.job_id for job in self.store.jobs()]
        found = known[:1] if job_id == LAST else [name for name in known if name == job_id]
        found = found or [name for name in known if job_id and name.startswith(job_id)]
        if len(found) != 1:
            problem = "no job is" if not found else f"{len(found)} jobs are"
            raise JobNotFound(f"{problem} called {job_id!r} here", hint="`bydawn jobs` lists the jobs of this home.")
        return Job(self, found[0])

    def jobs(self) -> list[JobStatus]:
        """All jobs of this home, newest first."""
        return [self.status(job.job_id) for job in self.store.jobs()]

    async def submit(
        self, source: Rows, models: Sequence[str] = (), *, on_event: Listener = ignore, **options: Any
    ) -> Job:
        """Plan a job (or find it again) and send its batches. ``options`` are those of JobOptions."""
        job, _ = self.open_job(source, JobOptions(models=tuple(models), **options), on_event=on_event)
        await job.start(on_event)
        return job

    def status(self, job_id: str) -> JobStatus:
        """Read how a job stands."""
        return job_status(self.store, job_id, self._clock.now())

    # Parts

    def rates(self, model: ModelRef) -> Rates | None:
        """A model's prices today, None when they are unknown."""
        return self._prices.rates(model, datetime.fromtimestamp(self._clock.now(), UTC))

    def driver(self, provider: str) -> Driver:
        """The way to a provider, made when first needed. Raises ConfigError without a key."""
        if provider not in self._drivers:
            codec = get_provider(provider)
            dials = self.settings.engine
            transport = HttpTransport(account_for(codec, self.settings), codec, self._clock)
            policy = RetryPolicy(dials.call_attempts, dials.retry_first_s, dials.retry_max_s)
            self._drivers[provider] = transport, Driver(transport, codec, self._clock, self._rng, policy)
        return self._drivers[provider][1]

    async def probe(self, provider: str) -> str:
        """Make one harmless call with the configured key; return what answered. Raises ProviderError, ConfigError."""
        return await self.driver(provider).run(get_provider(provider).probe())

    def desk(self, job_id: str, on_event: Listener) -> Desk:
        """Gather what is needed to work on a job. Raises JobNotFound."""
        job = self.store.job(job_id)
        return Desk(
            job_id=job_id,
            job_name=job.name,
            realm=job.realm,
            store=self.store,
            files=JobFiles(self.settings.home, job_id),
            lanes=tuple(self.store.lanes(job_id)),
            driver=self.driver,
            rates=self.rates,
            clock=self._clock,
            rng=self._rng,
            ids=self._ids,
            settings=self.settings.engine,
            limits=self.settings.limits,
            on_event=on_event,
        )

    async def pause(self, seconds: float) -> None:
        """Wait on the client's clock."""
        await self._clock.sleep(seconds)


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

    def results(self, *, partial: bool = False, raw: bool = False) -> Iterator[Result]:
        """Yield one result per request in row order; with ``partial`` only the finished ones of a running job."""
        return map(msgspec.json.Decoder(Result).decode, self.lines(partial=partial, raw=raw))

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


class _IdFile:
    """Writes the users' ids by row, one JSON text a line; no file at all when the input has none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rows = 0
        self._encode: Callable[[str], bytes] = msgspec.json.Encoder().encode

    def put(self, row: int, request_id: str) -> None:
        """Write the id of ``row``; rows before it that have none get their number."""
        if self._file is None:
            self._file = create_private(self._path)
        if self._rows < row:
            self.fill(row)
        self._file.write(self._encode(request_id) + b"\n")
        self._rows = row + 1

    def fill(self, rows: int) -> None:
        """Give the rows up to ``rows`` that have no id their number."""
        if self._file is not None:
            self._file.writelines(b'"%d"\n' % row for row in range(self._rows, rows))
            self._rows = rows

    def __enter__(self) -> _IdFile:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()


def _refuse_adjustments(adjustments: Sequence[tuple[Any, int]]) -> None:
    if adjustments:
        shown = "; ".join(
            f"{what.parameter} {what.action} for {rows} rows: {what.detail}" for what, rows in adjustments
        )
        raise StrictRefusal(
            f"strict: {len(adjustments)} adjustments would be made ({shown})",
            hint="Change the requests, or run without --strict.",
        )


def run(
    source: Rows,
    model: str | None = None,
    *,
    models: Sequence[str] = (),
    settings: Settings | None = None,
    on_event: Listener = ignore,
    **options: Any,
) -> Iterator[Result]:
    """Run requests to their end and yield one result per request, in row order.

    ``source`` is a file or any iterable of rows (mappings, or texts as prompts); ``options`` are those of JobOptions.
    Calling it again with the same rows continues, or just reads the finished job. Works inside notebooks, too.
    """
    names = (*models, model) if model is not None else tuple(models)

    async def work() -> tuple[Settings, str]:
        async with Client(settings) as client:
            job, _ = client.open_job(source, JobOptions(models=names, **options), on_event=on_event)
            await job.wait(on_event)
            return client.settings, job.job_id

    used, job_id = _run_anywhere(work)
    client = Client(used)
    try:
        yield from client.job(job_id).results()
    finally:
        client.store.close()


def _run_anywhere(work: Callable[[], Any]) -> Any:
    """Run a coroutine function to its end, in a thread of its own where a loop is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()
