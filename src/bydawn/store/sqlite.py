"""The embedded store: one SQLite file in the home folder. Every public method is one transaction.

A batch's state changes only through `Store.move_batch` and `Store.collect`, and only along the table in `core.states`.
Several processes may have the file open (WAL); who may work on a job is decided by `lock.JobLock`, not here.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.core.adjustment import Adjustment
from bydawn.core.batch import Counts
from bydawn.core.states import move_batch, move_job
from bydawn.errors import JobNotFound, SchemaTooNew, StoreDamaged, StoreError
from bydawn.store.ledger import STATUS_NAMES, Segment
from bydawn.store.queries import migrations, queries
from bydawn.store.records import BatchRecord, JobRecord, NewBatch, Plan, Tally, lane_from_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from bydawn.core.batch import Lane

_encode = msgspec.json.Encoder().encode
_decode_facts = msgspec.json.Decoder(dict[str, str]).decode
_decode_counts = msgspec.json.Decoder(Counts).decode
_decode_tally = msgspec.json.Decoder(Tally).decode
_decode_adjustments = msgspec.json.Decoder(tuple[tuple[Adjustment, int], ...]).decode
_decode_notices = msgspec.json.Decoder(tuple[str, ...]).decode
_COLUMNS = frozenset({
    "end_reason", "provider_batch_id", "provider_status", "facts", "counts", "tally", "waiting", "looks", "look_at_s",
    "sent_at_s", "ended_at_s", "expires_at_s", "note",
})  # fmt: skip
"""Columns of a batch that may change after it was planned, besides its state."""


class Store:
    """Jobs, batches and the packed ledger. ``now`` gives Unix seconds for the time stamps."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self.path = path
        self._now = now
        self._sql = queries()
        self._db = _connect(path)

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite rolls back by itself when the disk is full
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _store_error(self.path, error) from error

    def _read(self, name: str, **values: Any) -> list[sqlite3.Row]:
        try:
            return self._db.execute(self._sql[name], values).fetchall()
        except sqlite3.Error as error:
            raise _store_error(self.path, error) from error

    # Jobs

    def create_job(
        self,
        *,
        job_id: str,
        fingerprint: str,
        name: str,
        realm: str,
        options: str,
        source: str,
        supersede: bool = False,
    ) -> None:
        """Record a job that is being planned, unless another process has just recorded it.

        With ``supersede`` an older job gives up the fingerprint.
        """
        with self._transaction() as db:
            if supersede:
                db.execute(self._sql["release_fingerprint"], {"fingerprint": fingerprint})
            db.execute(
                self._sql["insert_job"],
                {
                    "job_id": job_id,
                    "fingerprint": fingerprint,
                    "name": name,
                    "realm": realm,
                    "options": options,
                    "source": source,
                    "now_s": self._now(),
                },
            )

    def delete_job(self, job_id: str) -> None:
        """Forget a job with everything that hangs on it."""
        with self._transaction() as db:
            db.execute(self._sql["delete_job"], {"job_id": job_id})

    def commit_plan(self, job_id: str, plan: Plan) -> None:
        """Turn a planned job into a running one. The ledger segments were put before."""
        with self._transaction() as db:
            db.executemany(
                self._sql["insert_lane"],
                [
                    {
                        "job_id": job_id,
                        "lane": number,
                        "provider": lane.model.provider,
                        "model": lane.model.name,
                        "endpoint": lane.endpoint,
                        "account": lane.account,
                    }
                    for number, lane in enumerate(plan.lanes)
                ],
            )
            self._insert_batches(job_id, plan.batches)
            db.execute(
                self._sql["commit_plan"],
                {
                    "job_id": job_id,
                    "state": move_job("planning", "planned"),
                    "rows": plan.rows,
                    "width": plan.width,
                    "requests": plan.requests,
                    "adjustments": _encode(plan.adjustments).decode(),
                    "notices": _encode(plan.notices).decode(),
                    "now_s": self._now(),
                },
            )

    def reset_plan(self, job_id: str) -> None:
        """Drop the ledger of a job whose planning was cut off."""
        with self._transaction() as db:
            db.execute(self._sql["delete_ledger"], {"job_id": job_id})

    def job(self, job_id: str) -> JobRecord:
        """Return one job; raises JobNotFound."""
        rows = self._read("job_by_id", job_id=job_id)
        if not rows:
            raise JobNotFound(f"there is no job {job_id!r}", hint="`bydawn jobs` lists the jobs of this home.")
        return _job(rows[0])

    def find_job(self, fingerprint: str) -> JobRecord | None:
        """Return the job of this input and these options, if there is one."""
        rows = self._read("job_by_fingerprint", fingerprint=fingerprint)
        return _job(rows[0]) if rows else None

    def jobs(self) -> list[JobRecord]:
        """Return all jobs, newest first."""
        return [_job(row) for row in self._read("all_jobs")]

    def move_job(self, job: JobRecord, event: str, reason: str | None = None) -> JobRecord:
        """Move a job along the table; raises StoreError when another process moved it meanwhile."""
        state = move_job(job.state, event)
        with self._transaction() as db:
            cursor = db.execute(
                self._sql["move_job"],
                {"job_id": job.job_id, "state": state, "before": job.state, "reason": reason, "now_s": self._now()},
            )
            if cursor.rowcount != 1:
                raise StoreError(f"job {job.job_id} was changed by another process")
        return self.job(job.job_id)

    # Lanes and batches

    def lanes(self, job_id: str) -> list[Lane]:
        """Return a job's lanes; a batch's ``lane`` is an index into them."""
        rows = self._read("lanes", job_id=job_id)
        return [lane_from_row(row["provider"], row["model"], row["endpoint"], row["account"]) for row in rows]

    def batches(self, job_id: str) -> list[BatchRecord]:
        """Return a job's batches by number."""
        return [_batch(row) for row in self._read("batches", job_id=job_id)]

    def live_batches(self, job_id: str) -> list[BatchRecord]:
        """Return the batches of a job that something is still to be done about, by number."""
        return [_batch(row) for row in self._read("live_batches", job_id=job_id)]

    def batch(self, job_id: str, number: int) -> BatchRecord:
        """Return one batch."""
        return _batch(self._read("batch", job_id=job_id, number=number)[0])

    def last_number(self, job_id: str) -> int:
        """Return the highest batch number of a job."""
        number: int = self._read("last_number", job_id=job_id)[0]["number"]
        return number

    def move_batch(self, batch: BatchRecord, event: str, **changes: Any) -> BatchRecord:
        """Move a batch along the table, setting columns with it; returns it as it is now.

        Raises IllegalMove for an event its state does not know, StoreError when the stored state is another one.
        """
        with self._transaction():
            self._set(batch, {"state": move_batch(batch.state, event)} | _columns(changes))
        return self.batch(batch.job_id, batch.number)

    def update_batch(self, batch: BatchRecord, **changes: Any) -> BatchRecord:
        """Set columns of a batch without moving it; returns it as it is now."""
        with self._transaction():
            self._set(batch, _columns(changes))
        return self.batch(batch.job_id, batch.number)

    def collect(
        self, batch: BatchRecord, event: str, segments: Iterable[Segment], *, waiting: int, **changes: Any
    ) -> BatchRecord:
        """Commit the end of a batch and its rows' new states in one transaction."""
        with self._transaction() as db:
            self._put_segments(db, batch.job_id, segments)
            values = {"state": move_batch(batch.state, event), "waiting": waiting} | _columns(changes)
            self._set(batch, values)
        return self.batch(batch.job_id, batch.number)

    def replan(self, batch: BatchRecord, segments: Iterable[Segment], batches: Iterable[NewBatch]) -> None:
        """Commit the new batches that take over the waiting rows of ``batch``."""
        with self._transaction() as db:
            self._put_segments(db, batch.job_id, segments)
            self._insert_batches(batch.job_id, batches)
            self._set(batch, {"waiting": 0})

    def requeue(self, job_id: str, segments: Iterable[Segment], waiting: Mapping[int, int], attempts: int) -> None:
        """Commit rows that wait again (the user's retry): ``waiting`` counts them by batch number.

        They may have ``attempts`` further attempts, whatever they had before.
        """
        with self._transaction() as db:
            self._put_segments(db, job_id, segments)
            rows = [
                {"job_id": job_id, "number": number, "count": count, "attempts": attempts}
                for number, count in waiting.items()
            ]
            db.executemany(self._sql["requeue"], rows)

    def wake(self, job_id: str) -> None:
        """Make every batch of a job due now."""
        with self._transaction() as db:
            db.execute(self._sql["wake"], {"job_id": job_id})

    def _insert_batches(self, job_id: str, batches: Iterable[NewBatch]) -> None:
        rows = [{"job_id": job_id} | {name: getattr(batch, name) for name in NewBatch.__slots__} for batch in batches]
        self._db.executemany(self._sql["insert_batch"], rows)

    def _set(self, batch: BatchRecord, values: Mapping[str, Any]) -> None:
        assignments = ", ".join(f"{name} = :{name}" for name in values)
        cursor = self._db.execute(
            f"UPDATE batch SET {assignments} WHERE job_id = :job_id AND number = :number AND state = :before",  # noqa: S608 - names are checked against _COLUMNS
            {**values, "job_id": batch.job_id, "number": batch.number, "before": batch.state},
        )
        if cursor.rowcount != 1:
            raise StoreError(f"batch {batch.number} of job {batch.job_id} is no longer {batch.state}")

    # Ledger

    def put_segments(self, job_id: str, segments: Iterable[Segment]) -> None:
        """Store segments, replacing what was there."""
        with self._transaction() as db:
            self._put_segments(db, job_id, segments)

    def _put_segments(self, db: sqlite3.Connection, job_id: str, segments: Iterable[Segment]) -> None:
        rows = [{"job_id": job_id, "segment": part.number, "entries": part.pack()} for part in segments]
        db.executemany(self._sql["put_segment"], rows)

    def segment(self, job_id: str, number: int) -> Segment:
        """Return one segment; raises StoreDamaged when it is not there or not whole."""
        rows = self._read("segment", job_id=job_id, segment=number)
        if not rows:
            raise StoreDamaged(f"job {job_id}: ledger segment {number} is not in {self.path.name}")
        try:
            return Segment.unpack(number, rows[0]["entries"])
        except ValueError as error:
            raise StoreDamaged(f"job {job_id}: {error}") from error

    def segments(self, job_id: str) -> Iterator[Segment]:
        """Yield all segments in order, one at a time."""
        for row in self._read("segment_numbers", job_id=job_id):
            yield self.segment(job_id, row["segment"])

    def standing(self, job_id: str) -> dict[str, int]:
        """Count the requests that have a final status, by status."""
        counts = dict.fromkeys(STATUS_NAMES.values(), 0)
        for segment in self.segments(job_id):
            for code, name in STATUS_NAMES.items():
                counts[name] += segment.states.count(code)
        return counts

    # Quota

    def enqueued_tokens(self, realm: str) -> dict[str, int]:
        """Return the estimated prompt tokens at the provider by lane, over all jobs of the home."""
        return {row["lane"]: row["tokens"] for row in self._read("enqueued_tokens", realm=realm)}

    def quotas(self, realm: str) -> dict[str, int]:
        """Return the enqueued-token limits that were learned, by lane."""
        return {row["lane"]: row["tokens"] for row in self._read("quotas", realm=realm)}

    def learn_quota(self, realm: str, lane: str, tokens: int) -> None:
        """Remember a lane's enqueued-token limit."""
        with self._transaction() as db:
            db.execute(self._sql["learn_quota"], {"realm": realm, "lane": lane, "tokens": tokens, "now_s": self._now()})


def _connect(path: Path) -> sqlite3.Connection:
    _make_private(path)
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=30.0, check_same_thread=False)
        db.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 30000"):
            db.execute(f"PRAGMA {pragma}")
        _migrate(db, path)
    except sqlite3.Error as error:
        raise _store_error(path, error) from error
    return db


def _make_private(path: Path) -> None:
    """Create the file for the user's eyes only, before SQLite would; its side files take the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint=_HINT_WRITABLE) from error


_HINT_WRITABLE = "Check that the folder exists and that you may write to it (BYDAWN_HOME)."


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    known = migrations()
    latest = known[-1][0]
    if _version(db) == latest:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        version = _version(db)
        if version > latest:
            raise SchemaTooNew(
                f"{path} was written by a newer bydawn (state version {version}, this one knows {latest})",
                hint="Update bydawn, or use another home (BYDAWN_HOME).",
            )
        for number, script in known[version:]:
            for statement in _statements(script):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number:d}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _statements(script: str) -> Iterator[str]:
    # executescript() would commit on its own; statements are told apart by SQLite's own reading of completeness.
    statement = ""
    for line in script.split("\n"):
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _store_error(path: Path, error: sqlite3.Error) -> StoreError:
    text = str(error)
    if "malformed" in text or "not a database" in text:
        return StoreDamaged(
            f"{path} is damaged: {text}",
            hint="Restore it from a backup, or move it aside: the bodies sent and received are in the jobs folder.",
        )
    hint = None
    if "full" in text:
        hint = "Free some disk space, then run the same command again: nothing is lost."
    elif "readonly" in text or "unable to open" in text:
        hint = _HINT_WRITABLE
    return StoreError(f"{path}: {text}", hint=hint)


def _columns(changes: Mapping[str, Any]) -> dict[str, Any]:
    assert changes.keys() <= _COLUMNS, changes.keys() - _COLUMNS
    values = dict(changes)
    for name in ("facts", "counts", "tally"):
        if values.get(name) is not None:
            values[name] = _encode(values[name]).decode()
    return values


def _job(row: sqlite3.Row) -> JobRecord:
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118 - iterating a Row gives its values
    values["adjustments"] = _decode_adjustments(row["adjustments"])
    values["notices"] = _decode_notices(row["notices"])
    return JobRecord(**values)


def _batch(row: sqlite3.Row) -> BatchRecord:
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118 - iterating a Row gives its values
    values["facts"] = _decode_facts(row["facts"])
    values["counts"] = _decode_counts(row["counts"]) if row["counts"] else None
    values["tally"] = _decode_tally(row["tally"]) if row["tally"] else None
    return BatchRecord(**values)
