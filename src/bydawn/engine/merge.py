"""Puts the decoded records of all batches in row order: a copy of bytes, with ``id`` and ``row`` in front.

Memory holds one ledger segment and the index of each batch that still has rows ahead; records are read where they lie.
"""

from __future__ import annotations

import mmap
import os
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.core.result import RowError
from bydawn.engine.decode import RAW_ERROR_FILE, Tail
from bydawn.engine.rows import load_rows
from bydawn.errors import StoreDamaged
from bydawn.store.ledger import CANCELLED, STATUS_NAMES, SUCCEEDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bydawn.core.batch import Lane
    from bydawn.store.files import JobFiles
    from bydawn.store.records import BatchRecord, JobRecord
    from bydawn.store.sqlite import Store

READ_WHOLE_BYTES = 32 << 20
"""How many bytes of records may be mapped at once; what is beyond is read row by row, at a system call each."""

_encode = msgspec.json.Encoder().encode
_CANCELLED = b',"status":"cancelled"'


def result_lines(store: Store, files: JobFiles, job: JobRecord, *, raw: bool = False) -> Iterator[bytes]:
    """Yield the record of every request that has a final status, in row order, each a line of JSON."""
    width = job.width
    with _Shelf(store, files, job, raw=raw) as shelf, _Ids(files.ids, job.rows) as ids:
        for segment in store.segments(job.job_id):
            first = segment.first
            for start, stop, owner in _runs(segment.owners):
                get = None
                for position in range(start, stop):
                    state = segment.states[position]
                    if state < FIRST_FINAL:
                        continue
                    ordinal = first + position
                    if get is None:
                        get = shelf.records(owner, ordinal).get
                    row = ordinal // width
                    yield b'{"id":%b,"row":%d%b' % (ids.at(row), row, get(ordinal, state))


def _runs(owners: array[int]) -> Iterator[tuple[int, int, int]]:
    """Cut a segment where the owner changes: ``(start, stop, owner)``."""
    start = 0
    while start < len(owners):
        owner = owners[start]
        stop = start + 1
        step = 1
        while stop < len(owners) and owners[stop] == owner:  # gallop while whole blocks agree
            block = owners[stop : stop + step]
            if block.count(owner) == len(block):
                stop += len(block)
                step *= 2
            else:
                step = 1
                stop += 1
        yield start, stop, owner
        start = stop


FIRST_FINAL = SUCCEEDED
"""The smallest final state of the ledger."""


class _Ids:
    """The users' ids by row, read forward only; the row number where the input has no ids."""

    def __init__(self, path: Path, rows: int) -> None:
        self._file = path.open("rb", buffering=1 << 20) if path.exists() else None
        self._rows = rows
        self._next = 0
        self._current = b""

    def at(self, row: int) -> bytes:
        """Return the JSON text of a row's id."""
        if self._file is None:
            return b'"%d"' % row
        while self._next <= row:
            self._current = self._file.readline()
            self._next += 1
        if not self._current.endswith(b"\n"):
            raise StoreDamaged(f"{self._file.name} ends before row {row} of {self._rows}")
        return self._current[:-1]

    def __enter__(self) -> _Ids:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()


class _Shelf:
    """The records of all batches, opened when first needed and closed when their last row has passed."""

    def __init__(self, store: Store, files: JobFiles, job: JobRecord, *, raw: bool) -> None:
        self._files = files
        self._raw = raw
        self._lanes = store.lanes(job.job_id)
        self._batches = {batch.number: batch for batch in store.batches(job.job_id)}
        self._open: dict[int, _Records] = {}

    def __enter__(self) -> _Shelf:
        return self

    def __exit__(self, *exc: object) -> None:
        for records in self._open.values():
            records.close()

    def records(self, owner: int, ordinal: int) -> _Records:
        """Return the records of one batch; those whose rows are all before ``ordinal`` are closed for it."""
        records = self._open.get(owner)
        if records is None:
            self._forget_before(ordinal)
            batch = self._batches.get(owner)
            if batch is None:
                raise StoreDamaged(f"the ledger names batch {owner}, which the job does not have")
            room = READ_WHOLE_BYTES - sum(records.held_bytes for records in self._open.values())
            records = _Records(batch, self._files, self._lanes[batch.lane], raw=self._raw, room=room)
            self._open[owner] = records
        return records

    def _forget_before(self, ordinal: int) -> None:
        for number in [number for number, records in self._open.items() if records.last < ordinal]:
            self._open.pop(number).close()


class _Records:
    """One batch's records by ordinal, mapped into memory when they take no more than ``room`` bytes."""

    def __init__(self, batch: BatchRecord, files: JobFiles, lane: Lane, *, raw: bool, room: int) -> None:
        self._batch = batch
        self._lane = lane
        self._ordinals: Sequence[int] = load_rows(files.rows(batch.number), batch.rows)
        self._even = self._ordinals if isinstance(self._ordinals, range) else None
        self._count = len(self._ordinals)
        self.last = self._ordinals[-1]
        self._file: int | None = None
        self._data: mmap.mmap | None = None
        self._raw = _RawLines(files, batch.number) if raw else None
        path = files.results(batch.number)
        if batch.state != "withdrawn" and path.exists():
            self._index = _load_index(files.index(batch.number), batch.rows)
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if 0 < os.fstat(self._file).st_size <= room:
                self._data = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)
        self.held_bytes = 0 if self._data is None else len(self._data)

    def get(self, ordinal: int, state: int) -> bytes:
        """Return the record of ``ordinal``, or one that only states how it ended when the batch never ran."""
        even = self._even
        position = (ordinal - even.start) // even.step if even is not None else bisect_left(self._ordinals, ordinal)
        if not 0 <= position < self._count or self._ordinals[position] != ordinal:
            raise StoreDamaged(f"batch {self._batch.number} does not hold request {ordinal}, as the ledger says")
        if self._file is None:
            return self._without_answer(state)
        offset, length = self._index[0][position], self._index[1][position]
        if not length:
            return self._without_answer(state)
        data = self._data
        record = data[offset : offset + length] if data is not None else os.pread(self._file, length, offset)
        if len(record) != length:
            raise StoreDamaged(f"the results of batch {self._batch.number} are cut off")
        if state == CANCELLED and not record.startswith(_CANCELLED):
            return self._without_answer(state)  # an earlier answer of a request that was to be tried again
        if self._raw is None:
            return record
        return self._raw.attach(record, self._index[2][position], self._index[3][position])

    def _without_answer(self, state: int) -> bytes:
        """The record of a request that was cancelled before it was (again) sent; any other must be on disk."""
        if state != CANCELLED:
            raise StoreDamaged(
                f"a record of batch {self._batch.number} is missing",
                hint="The provider's answers are kept in the job's folder 'received', unless they were cleaned.",
            )
        error = RowError("cancelled", None, "the job was cancelled before this request was sent", retryable=True)
        tail = Tail(
            STATUS_NAMES[state], str(self._lane.model), None, None, None, None, None, None, error,
            self._batch.attempt - (self._batch.state == "withdrawn"), None,
        )  # fmt: skip
        return b"," + _encode(tail)[1:] + b"\n"

    def close(self) -> None:
        """Close the files."""
        if self._data is not None:
            self._data.close()
        if self._file is not None:
            os.close(self._file)
        if self._raw is not None:
            self._raw.close()


class _RawLines:
    """The provider's lines as they came, for ``raw``."""

    def __init__(self, files: JobFiles, number: int) -> None:
        self._paths = {kind: files.received(number, kind) for kind in ("output", "error")}
        self._open: dict[str, int] = {}

    def attach(self, record: bytes, where: int, length: int) -> bytes:
        """Return the record with the raw line as its last field; null when there was none or it was cleaned."""
        kind = "error" if where & RAW_ERROR_FILE else "output"
        path = self._paths[kind]
        line = b"null"
        if length and path.exists():
            if kind not in self._open:
                self._open[kind] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            line = _as_json(os.pread(self._open[kind], length, where & ~RAW_ERROR_FILE).strip())
        return record[:-2] + b',"raw":' + line + b"}\n"

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._open.values():
            os.close(descriptor)


def _as_json(line: bytes) -> bytes:
    """Return a provider's line, as a JSON text where it is no valid JSON itself (the codec may have mended it)."""
    try:
        msgspec.json.decode(line)
    except (ValueError, RecursionError):  # not JSON, or not even UTF-8
        return _encode(line.decode("utf-8", "replace"))
    return line


def _load_index(path: Path, count: int) -> tuple[array[Any], array[Any], array[Any], array[Any]]:
    columns = (array("Q"), array("I"), array("Q"), array("I"))
    try:
        with path.open("rb") as file:
            for column in columns:
                column.fromfile(file, count)
    except (OSError, EOFError, ValueError) as error:
        raise StoreDamaged(f"{path} cannot be read: {error}") from error
    return columns
