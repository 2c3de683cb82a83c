"""The files of a batch while they are made.

Rows are executed in a shuffled order and written at once to two spool files, output (2xx) and errors. Each row's bytes
are noted in the store, so a batch that ends after k rows is had by cutting both files after the k-th: nothing is
executed twice and nothing is held in memory. Everything here can be repeated after a kill.
"""

from __future__ import annotations

import os
import shutil
from array import array
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from bydawn.sandbox.openai.execution import Executor, Outcome, Place, executed_row
from bydawn.sandbox.openai.models import PATHS
from bydawn.sandbox.openai.validation import decode_line, lines_of
from bydawn.sandbox.seeded import digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bydawn.sandbox.openai.records import Quirks, StoredBatch
    from bydawn.sandbox.store import ExecutedRow
    from bydawn.sandbox.world import World

NEVER_RUN = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This request was not executed because the batch was cancelled.",
}
EVERY_ROW = 2**62
"""More rows than any batch has."""
_ROWS_AT_ONCE = 500
"""Rows per database write: few enough that nobody waits long for the lock."""


class Workshop:
    """The spool files of one batch."""

    def __init__(self, world: World, batch: StoredBatch) -> None:
        self._world = world
        self._batch = batch
        self.input = world.spool / f"{batch.id}.input"
        self.output = world.spool / f"{batch.id}.output"
        self.errors = world.spool / f"{batch.id}.errors"

    def take_input(self, path: Path) -> None:
        """Keep the input, whatever becomes of the file it came from."""
        self.input.unlink(missing_ok=True)
        self.input.hardlink_to(path)

    def clear(self) -> None:
        """Remove everything under construction."""
        for path in (self.input, self.output, self.errors, *map(_finished, (self.output, self.errors))):
            path.unlink(missing_ok=True)

    def requests(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Every request with its place, in the order of execution."""
        offsets = _offsets(self.input)
        order = list(range(len(offsets)))
        self._world.random("order", self._batch.id).shuffle(order)
        with self.input.open("rb") as content:
            for row in order:
                content.seek(offsets[row])
                request = decode_line(content.readline())
                assert request is not None, "validated before"
                yield Place(self._batch.id, row, request["custom_id"]), request["body"]

    def reopen(self) -> tuple[BinaryIO, BinaryIO, int]:
        """Both spool files, ready for the next row, and how many rows they hold. For rows that come one by one."""
        sums = self._world.store.row_sums(self._batch.id, EVERY_ROW)
        _cut(self.output, sums["output_bytes"])
        _cut(self.errors, sums["error_bytes"])
        return self.output.open("ab"), self.errors.open("ab"), sums["rows"]

    def execute_all(self, executor: Executor, starts_at: float) -> None:
        """Execute every request at once, stamped as if spread over the batch's time. Begins anew when repeated."""
        store, batch = self._world.store, self._batch
        store.drop_rows(batch.id)
        endpoint = PATHS[batch.endpoint]
        pending: list[ExecutedRow] = []
        pace = batch.schedule.in_progress_s / max(1, batch.total)
        with _create(self.output) as output, _create(self.errors) as errors:
            for position, (place, body) in enumerate(self.requests()):
                created = starts_at + pace * (position + 1)
                outcome = executor.run(endpoint, body, place, created, status_for_all=batch.quirks.all_rows_status)
                pending.append(write_row(output, errors, outcome, place, position))
                if len(pending) == _ROWS_AT_ONCE or outcome.marked:
                    store.add_rows(pending)
                    pending.clear()
        store.add_rows(pending)

    def finish(self, finished: int, never_run: str | None, executed_at: float) -> tuple[Path | None, Path | None]:
        """Cut both files after `finished` rows, give the rest `never_run`; return what exists of output and errors."""
        sums = self._world.store.row_sums(self._batch.id, finished)
        _cut(self.output, sums["output_bytes"])
        _cut(self.errors, sums["error_bytes"])
        if never_run is not None:
            self._add_never_run(finished, never_run)
        quirks = self._batch.quirks
        extra = _extra_line(self._batch.id, executed_at) if quirks.extra_row else None
        output = _with_quirks(self.output, quirks, extra, cut_last_line=quirks.cut_last_line)
        errors = _with_quirks(self.errors, quirks, None, cut_last_line=False)
        return output, errors

    def _add_never_run(self, finished: int, code: str) -> None:
        done = self._world.store.row_custom_ids(self._batch.id, finished)
        error = {"code": code, "message": NEVER_RUN[code]}
        with self.errors.open("ab") as errors:
            for line in lines_of(self.input):
                request = decode_line(line)
                assert request is not None, "validated before"
                if request["custom_id"] not in done:
                    place = Place(self._batch.id, 0, request["custom_id"])
                    errors.write(_line(place, None, error))


def write_row(output: BinaryIO, errors: BinaryIO, outcome: Outcome, place: Place, position: int) -> ExecutedRow:
    """Write an outcome's line to its file and return what the ledger keeps."""
    line = b"" if outcome.twist == "missing" else result_line(outcome, place)
    if outcome.twist == "duplicate":
        line += result_line(outcome, place)
    to_output = outcome.is_ok or (outcome.status == 0 and outcome.error is None)
    (output if to_output else errors).write(line)
    sizes = (len(line), 0) if to_output else (0, len(line))
    return executed_row(outcome, place, position, *sizes)


def result_line(outcome: Outcome, place: Place) -> bytes:
    """One line of a result file."""
    if outcome.error is not None:
        return _line(place, None, outcome.error)
    request_id = digest("request_id", place.batch_id, place.row)
    response = {"status_code": outcome.status, "request_id": request_id, "body": outcome.body}
    return _line(place, response, None)


def _line(place: Place, response: dict[str, Any] | None, error: dict[str, str] | None) -> bytes:
    line_id = f"batch_req_{digest('batch_req', place.batch_id, place.custom_id)}"
    line = {"id": line_id, "custom_id": place.custom_id, "response": response, "error": error}
    return msgspec.json.encode(line) + b"\n"


def _extra_line(batch_id: str, created: float) -> bytes:
    """A row nobody asked for."""
    place = Place(batch_id, -1, f"unasked-{digest('extra', batch_id)[:12]}")
    message = {"role": "assistant", "content": "Nobody asked.", "refusal": None}
    body = {
        "id": "chatcmpl-unasked", "object": "chat.completion", "created": int(created), "model": "unasked",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5},
    }  # fmt: skip
    return _line(place, {"status_code": 200, "request_id": "0" * 32, "body": body}, None)


def _with_quirks(path: Path, quirks: Quirks, extra: bytes | None, *, cut_last_line: bool) -> Path | None:
    """The finished file, in bent form where quirks ask for it; None when there is nothing in it."""
    if extra is None and path.stat().st_size == 0:
        return None
    plain = quirks.final_newline and not (quirks.blank_lines or quirks.crlf or cut_last_line or extra)
    if plain:
        return path
    final = _finished(path)
    with path.open("rb") as source, _create(final) as target:
        shutil.copyfileobj(source, target)
    _bend(final, quirks, extra, cut_last_line=cut_last_line)
    return final


def _bend(path: Path, quirks: Quirks, extra: bytes | None, *, cut_last_line: bool) -> None:
    lines = path.read_bytes().split(b"\n")[:-1]
    if extra is not None:
        lines.append(extra.removesuffix(b"\n"))
    if cut_last_line:
        lines[-1] = lines[-1][: len(lines[-1]) // 2]
    end = b"\r\n" if quirks.crlf else b"\n"
    if quirks.blank_lines:
        end += end
    content = end.join(lines)
    ends_open = cut_last_line or not quirks.final_newline
    path.write_bytes(content if ends_open else content + end)


def _finished(path: Path) -> Path:
    return path.with_suffix(path.suffix + "-bent")


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb")


def _cut(path: Path, size: int) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "rb+") as file:
        file.truncate(size)


def _offsets(path: Path) -> array[int]:
    """Where each line begins."""
    offsets = array("q")
    position = 0
    with path.open("rb") as content:
        for line in content:
            offsets.append(position)
            position += len(line)
    return offsets
