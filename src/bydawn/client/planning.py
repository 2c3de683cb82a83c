"""Opens jobs: finds the one that an input and its options name, or plans it. Nothing is sent from here."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.core.events import Notice
from bydawn.core.job import LanePlan, PlanReport
from bydawn.core.problems import Problems
from bydawn.engine.planner import Planner
from bydawn.engine.route import Router
from bydawn.engine.writing import DiskShelf, NoShelf
from bydawn.errors import JobBusy, StrictRefusal
from bydawn.io import RowShape, Template, open_source, spool_rows
from bydawn.pricing import likely_tokens, usd
from bydawn.store.files import JobFiles, create_private, private_folder, sync_folder
from bydawn.store.lock import JobLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date
    from typing import BinaryIO

    from bydawn.adapt import FactBook
    from bydawn.clock import Clock
    from bydawn.config import Settings
    from bydawn.core.events import Listener
    from bydawn.core.job import JobOptions
    from bydawn.core.model import ModelRef
    from bydawn.engine.planner import LaneLoad
    from bydawn.ids import IdSource
    from bydawn.io import Source
    from bydawn.pricing import Rates
    from bydawn.store.records import Plan
    from bydawn.store.sqlite import Store

    Rows = str | Path | Iterable[Mapping[str, Any] | str]

JOB_ID_LENGTH = 8
LOOK_EVERY_S = 0.2
"""How often a process looks whether another one has finished planning the same job."""


class Planning:
    """Plans jobs of one home."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: Store,
        facts: FactBook,
        rates: Callable[[ModelRef], Rates | None],
        ids: IdSource,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._facts = facts
        self._rates = rates
        self._ids = ids
        self._clock = clock

    def open_job(
        self,
        source: Rows,
        options: JobOptions,
        *,
        strict: bool,
        new: bool,
        name: str | None,
        on_event: Listener,
    ) -> tuple[str, bool]:
        """Return the id of the job, and whether it was planned just now. See `Client.open_job`."""
        with self._source(source, options) as rows:
            fingerprint = self._fingerprint(rows, options)
            while True:
                if new or self._store.find_job(fingerprint) is None:
                    self._store.create_job(
                        job_id=self._ids.tag(JOB_ID_LENGTH),
                        fingerprint=fingerprint,
                        name=name or Path(rows.name).stem,
                        realm=self._settings.realm,
                        options=msgspec.json.encode(options).decode(),
                        source=rows.name,
                        supersede=new,
                    )
                    new = False
                planned = self._planned(fingerprint, rows, options, strict=strict, on_event=on_event)
                if planned is not None:
                    return planned

    def _planned(
        self, fingerprint: str, rows: Source, options: JobOptions, *, strict: bool, on_event: Listener
    ) -> tuple[str, bool] | None:
        """See to it that the job is planned, by this process or by the one that is at it.

        None when that one gave up and left no job behind: it was interrupted, or refused the input.
        """
        told = False
        while (job := self._store.find_job(fingerprint)) is not None:
            if job.state != "planning":
                if strict:
                    _refuse_adjustments(job.adjustments)
                return job.job_id, False
            files = JobFiles(self._settings.home, job.job_id)
            files.create()
            try:
                with JobLock(files.lock, job.job_id):
                    if self._store.job(job.job_id).state == "planning":
                        self._plan(job.job_id, files, rows, options, strict=strict, on_event=on_event)
                        return job.job_id, True
            except JobBusy as busy:
                if not told:
                    on_event(Notice("info", f"{busy}; waiting for its plan"))
                    told = True
                time.sleep(LOOK_EVERY_S)
        return None

    def _plan(
        self, job_id: str, files: JobFiles, rows: Source, options: JobOptions, *, strict: bool, on_event: Listener
    ) -> None:
        """Write the job's batch files and commit the plan; leave no trace of the job when the input is refused.

        What an earlier planning left behind when it was cut off is dropped first.
        """
        store = self._store
        store.reset_plan(job_id)
        files.drop_plan()
        with _IdFile(files.ids) as ids:
            planner = self._planner(
                options,
                DiskShelf(files),
                put_segment=lambda segment: store.put_segments(job_id, [segment]),
                put_id=ids.put,
                on_event=on_event,
            )
            try:
                plan = planner.plan(rows, Problems(rows.name))
                if strict:
                    _refuse_adjustments(plan.adjustments)
            except BaseException:
                planner.abandon()
                store.delete_job(job_id)
                files.remove()
                raise
            ids.fill(plan.rows)
            ids.sync()
        store.commit_plan(job_id, self._with_notices(plan))

    def _with_notices(self, plan: Plan) -> Plan:
        today = datetime.fromtimestamp(self._clock.now(), UTC).date()
        models = dict.fromkeys(lane.model for lane in plan.lanes)
        notices = [text for model in models for text in self._say_of(model, today)]
        return replace(plan, notices=(*plan.notices, *notices))

    def _say_of(self, model: ModelRef, today: date) -> list[str]:
        facts = self._facts.model(model)
        if not facts.known:
            return [f"nothing is known of {model}: its requests are sent as they are, the provider decides"]
        return facts.warnings(today)

    def _planner(self, options: JobOptions, shelf: DiskShelf | NoShelf, **outlets: Any) -> Planner:
        router = Router(
            options=options,
            facts=self._facts,
            settings=self._settings.engine,
            limits=self._settings.limits,
            quotas=self._store.quotas(self._settings.realm),
            ids=self._ids,
            shelf=shelf,
        )
        return Planner(router, **outlets)

    def check(self, source: Rows, options: JobOptions, *, on_event: Listener) -> PlanReport:
        """Plan without keeping anything. See `Client.check`."""
        with self._source(source, options) as rows:
            planner = self._planner(
                options, NoShelf(), put_segment=lambda _: None, put_id=lambda *_: None, on_event=on_event
            )
            plan = self._with_notices(planner.plan(rows, Problems(rows.name)))
        return PlanReport(
            source=rows.name,
            rows=plan.rows,
            requests=plan.requests,
            lanes=tuple(self._lane_plan(load) for load in planner.loads()),
            adjustments=plan.adjustments,
            notices=plan.notices,
        )

    def _lane_plan(self, load: LaneLoad) -> LanePlan:
        rates = self._rates(load.lane.model)
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
        folder = private_folder(self._settings.home / "spool" / self._ids.tag(JOB_ID_LENGTH))
        try:
            spool_rows(source, folder / "rows.jsonl")
            yield open_source(folder / "rows.jsonl", shape=shape)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _fingerprint(self, rows: Source, options: JobOptions) -> str:
        parts = (
            self._settings.realm.encode(),
            rows.fingerprint().encode(),
            msgspec.json.encode(options, order="sorted"),
        )
        return hashlib.sha256(b"\0".join(parts)).hexdigest()


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

    def sync(self) -> None:
        """Bring what was written to disk for good."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            sync_folder(self._path.parent)

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()


def _refuse_adjustments(adjustments: Sequence[tuple[Any, int]]) -> None:
    if adjustments:
        shown = "; ".join(
            f"{what.parameter} {what.action} for {rows} {'row' if rows == 1 else 'rows'}: {what.detail}"
            for what, rows in adjustments
        )
        raise StrictRefusal(
            f"strict: requests would be adjusted: {shown}",
            hint="Change the requests, or run without --strict.",
        )
