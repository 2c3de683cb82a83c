"""Decodes a batch's result files, once, into records that only need to be put in order.

Works on files alone: it is handed paths and plain values, writes the records, their index and the strays, and returns
what the ledger is to say. Running it again after a crash writes the same files again.

Rules that decide what counts (promise 5): lines are matched by custom_id only; the output file is read before the error
file and the first line of a row wins; a row without a line is *missing*; lines nobody asked for are kept aside.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from bydawn.core.result import Answer, RowError, Usage
from bydawn.engine.answers import AnswerCheck
from bydawn.engine.policy import judge
from bydawn.engine.purse import Purse
from bydawn.engine.writing import PER_ROW
from bydawn.errors import UnexpectedAnswer
from bydawn.store.files import create_private, sync_folder
from bydawn.store.ledger import STATUS_NAMES, SUCCEEDED, WAITING
from bydawn.store.records import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bydawn.core.batch import Lane, ResultKind
    from bydawn.pricing import Rates
    from bydawn.providers.base import Provider
    from bydawn.store.records import BatchRecord

BLOCK = 1 << 20
SHORTEST_LINE = 20
"""No answer is shorter: ``{"custom_id":"a-0"}``. Only lines below it need be looked at for being blank."""
RAW_ERROR_FILE = 1 << 63
"""Set in a raw offset that points into the error file."""


class Tail(msgspec.Struct, gc=False):
    """A result record without ``id`` and ``row``, in the order of the published fields (core.result.Result)."""

    status: str
    model: str
    text: str | None
    parsed: Any
    tool_calls: Any
    finish_reason: str | None
    usage: Usage | None
    cost_usd: float | None
    error: RowError | None
    attempts: int
    provider_batch_id: str | None
    embedding: Any = msgspec.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One batch to decode.

    ``received`` are the files that exist, output before error; ``no_line`` says what became of the row at a position
    that no line came for.
    """

    batch: BatchRecord
    lane: Lane
    ordinals: Sequence[int]
    provider: Provider
    rates: Rates | None
    may_retry: bool
    received: tuple[tuple[ResultKind, Path], ...]
    no_line: Callable[[int], Answer]
    requests: Path
    results: Path
    index: Path
    strays: Path


@dataclass(slots=True)
class Collected:
    """What the ledger is to say: ``states[i]`` is the new state of the batch's i-th row.

    ``cut`` says that a result file ends in the middle of a line; ``quota`` that rows failed for want of money;
    ``unread`` counts lines that no custom_id could be read from, ``unanswered`` rows that no line came for.
    """

    states: bytearray
    tally: Tally
    cut: bool = False
    quota: str | None = None
    unread: int = 0
    unanswered: int = 0
    waiting: int = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = self.states.count(WAITING)


def decode_batch(task: Task) -> Collected:
    """Decode everything that was received for a batch and write its records."""
    with create_private(task.results) as results, create_private(task.strays) as strays:
        decoder = _Decoder(task, results, strays)
        for kind, path in task.received:
            decoder.read(kind, path)
        decoder.add_missing()
        for file in (results, strays):
            file.flush()
            os.fsync(file.fileno())
    decoder.write_index(task.index)
    if not task.strays.stat().st_size:
        task.strays.unlink()
    sync_folder(task.results.parent)
    return Collected(decoder.states, decoder.sums(), decoder.cut, decoder.quota, decoder.unread, decoder.unanswered)


class _Decoder:
    def __init__(self, task: Task, results: BinaryIO, strays: BinaryIO) -> None:
        batch = task.batch
        count = batch.rows
        self._task = task
        self._batch = batch
        self._purse = Purse(task.rates)
        self._buffer = bytearray()
        self._results = results
        self._strays = strays
        self._positions = {f"{batch.nonce}-{ordinal}": position for position, ordinal in enumerate(task.ordinals)}
        self._encode = msgspec.json.Encoder().encode_into
        self._model = str(task.lane.model)
        self._check = _checker(task)
        self._written = 0
        self._offsets = array("Q", bytes(8 * count))
        self._lengths = array("I", bytes(4 * count))
        self._raw_offsets = array("Q", bytes(8 * count))
        self._raw_lengths = array("I", bytes(4 * count))
        self.states = bytearray(count)
        self.tally = Tally(rows=count)
        self.cut = False
        self.quota: str | None = None
        self.unread = 0
        self.unanswered = 0

    def read(self, kind: str, path: Path) -> None:
        """Decode one result file."""
        decode = self._task.provider.decode
        endpoint = self._task.lane.endpoint
        base = RAW_ERROR_FILE if kind == "error" else 0
        states, position_of = self.states, self._positions.get
        with path.open("rb", buffering=BLOCK) as file:
            offset = 0
            for line in file:
                size = len(line)
                here, offset = offset, offset + size
                if size < SHORTEST_LINE and not line.strip():
                    continue
                try:
                    answer = decode(line, endpoint)
                except UnexpectedAnswer:
                    self.unread += 1
                    self.cut = self.cut or not line.endswith(b"\n")
                    self._keep_aside(line)
                    continue
                position = position_of(answer.custom_id)
                if position is None or states[position]:
                    self._count_stray(line, known=position is not None)
                    continue
                self._raw_offsets[position] = base | here
                self._raw_lengths[position] = size
                self._add(position, answer)

    def _count_stray(self, line: bytes, *, known: bool) -> None:
        if known:
            self.tally.repeats += 1
        else:
            self.tally.strays += 1
        self._keep_aside(line)

    def _keep_aside(self, line: bytes) -> None:
        self._strays.write(line if line.endswith(b"\n") else line + b"\n")

    def add_missing(self) -> None:
        """Give every row without a line its outcome."""
        no_line = self._task.no_line
        self.unanswered = self.states.count(0)
        position = self.states.find(0)
        while position >= 0:
            self._add(position, no_line(position))
            position = self.states.find(0, position)

    def _add(self, position: int, answer: Answer) -> None:
        if self._check is not None and answer.outcome == "succeeded":
            self._check(position, answer)
        state = SUCCEEDED if answer.outcome == "succeeded" else self._judge(answer)
        self.states[position] = state
        cost = self._purse.spend(answer.usage)
        if state != WAITING:  # a waiting row's record will come from a later batch
            self._record(position, state, answer, cost)

    def _judge(self, answer: Answer) -> int:
        tally, outcome = self.tally, answer.outcome
        setattr(tally, outcome, getattr(tally, outcome) + 1)
        if answer.error is not None and answer.error.kind == "quota":
            self.quota = answer.error.message
        return judge(answer, attempts_left=self._batch.attempts_left, may_retry=self._task.may_retry)

    def _record(self, position: int, state: int, answer: Answer, cost: float | None) -> None:
        tail = Tail(
            STATUS_NAMES[state],
            self._model,
            answer.text,
            answer.parsed,
            answer.tool_calls,
            answer.finish_reason,
            answer.usage,
            cost,
            answer.error,
            self._batch.attempt,
            self._batch.provider_batch_id,
        )
        if answer.embedding is not None:
            tail.embedding = answer.embedding
        buffer = self._buffer
        self._encode(tail, buffer)
        buffer[0] = _COMMA  # the record goes on after "row"
        buffer += b"\n"
        length = len(buffer)
        self._results.write(buffer)
        self._offsets[position] = self._written
        self._lengths[position] = length
        self._written += length

    def sums(self) -> Tally:
        """The tally, when everything was read."""
        tally = self.tally
        tally.succeeded = tally.rows - tally.errored - tally.expired - tally.cancelled - tally.missing
        assert tally.succeeded == self.states.count(SUCCEEDED), tally
        self._purse.empty_into(tally)
        return tally

    def write_index(self, path: Path) -> None:
        """Write where each row's record and raw line are."""
        with create_private(path) as file:
            for column in (self._offsets, self._lengths, self._raw_offsets, self._raw_lengths):
                column.tofile(file)
            file.flush()
            os.fsync(file.fileno())


_COMMA = ord(",")


def after_end(reason: str | None) -> Callable[[int], Answer]:
    """What a row without a line is, in a batch that ended for ``reason``."""
    if reason == "expired":
        error = RowError("expired", None, "the batch expired before this request ran", retryable=True)
        return lambda _: Answer("", "expired", error=error)
    if reason == "cancelled":
        error = RowError("cancelled", None, "the batch was cancelled before this request ran", retryable=True)
        return lambda _: Answer("", "cancelled", error=error)
    error = RowError("missing", None, "the batch ended without a line for this request", retryable=True)
    return lambda _: Answer("", "missing", error=error)


def answers_lost(_: int) -> Answer:
    """What a row is whose answer may have been in a result file that the provider no longer has.

    It was paid for, so it is not sent again without the user's word.
    """
    message = "the provider no longer has the result file; `bydawn retry` sends the request, and pays for it, again"
    return Answer("", "missing", error=RowError("missing", None, message, retryable=False))


def _checker(task: Task) -> Callable[[int, Answer], None] | None:
    shared = task.batch.answer_format
    if shared is None:
        return None
    if shared != PER_ROW:
        only = AnswerCheck(shared)
        return (lambda position, answer: _apply(only, answer)) if only else None  # noqa: ARG005 - one check for all
    distinct, which = _formats(task.requests)
    checks = [AnswerCheck(wanted) for wanted in distinct]
    return lambda position, answer: _apply(checks[which[position]], answer)


def _apply(check: AnswerCheck, answer: Answer) -> None:
    if not check or answer.text is None:
        return
    answer.parsed, error = check(answer.text)
    if error is not None:
        answer.outcome, answer.error = "errored", error


class _Asked(msgspec.Struct, gc=False):
    response_format: msgspec.Raw = msgspec.Raw()
    text: msgspec.Raw = msgspec.Raw()


class _AskedLine(msgspec.Struct, gc=False):
    body: _Asked


def _formats(requests: Path) -> tuple[list[bytes | None], array[int]]:
    """Read which answer format each line of a requests file asks for: the distinct ones, and an index per line."""
    numbers: dict[bytes | None, int] = {}
    which = array("I")
    decode = msgspec.json.Decoder(_AskedLine).decode
    for line in _lines(requests):
        body = decode(line).body
        wanted = bytes(body.response_format) or bytes(body.text)
        which.append(numbers.setdefault(wanted if wanted not in (b"", b"null") else None, len(numbers)))
    return list(numbers), which


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=BLOCK) as file:
        yield from file
