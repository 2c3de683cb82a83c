"""How a batch gets from validating to its end: the state machine, driven by the clock.

    validating -> failed | in_progress          in_progress -> finalizing -> completed | expired
    validating | in_progress -> cancelling -> cancelled

Every change of state is one transaction that first makes sure nobody else (a cancel) changed it meanwhile; the long
work in between touches only spool files and can be repeated. Timestamps are when things were due, not when the
thread came round to them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from bydawn.sandbox.openai.records import BATCH, Schedule, StoredBatch
from bydawn.sandbox.openai.results import EVERY_ROW, Workshop
from bydawn.sandbox.openai.validation import Accepted, Problem, Validator, problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bydawn.sandbox.openai.execution import Executor
    from bydawn.sandbox.openai.files import Files
    from bydawn.sandbox.openai.models import Catalogue
    from bydawn.sandbox.openai.records import Status
    from bydawn.sandbox.openai.upstream import UpstreamRuns
    from bydawn.sandbox.openai.webhooks import Webhooks
    from bydawn.sandbox.world import World

_decode = msgspec.json.Decoder(StoredBatch).decode

VALIDATING_S = (2.0, 30.0)
IN_PROGRESS_S = (60.0, 7_200.0)
FINALIZING_S = (2.0, 60.0)
CANCELLING_S = (5.0, 600.0)
"""Between which virtual seconds each stage takes; drawn so that every order of magnitude is equally likely."""


def draw_schedule(world: World, batch_id: str) -> Schedule:
    """How long the stages of a batch take."""
    if world.config.instant:
        return Schedule(validating_s=0, in_progress_s=0, finalizing_s=0, cancelling_s=0)
    draws = world.random("schedule", batch_id)

    def between(low: float, high: float) -> float:
        return low * math.exp(draws.random() * math.log(high / low))

    return Schedule(
        validating_s=between(*VALIDATING_S), in_progress_s=between(*IN_PROGRESS_S),
        finalizing_s=between(*FINALIZING_S), cancelling_s=between(*CANCELLING_S),
    )  # fmt: skip


class Lifecycle:
    """Moves batches on. An `Actor` of the world."""

    def __init__(
        self, world: World, *, files: Files, executor: Executor, catalogue: Catalogue, runs: UpstreamRuns | None,
        webhooks: Webhooks,
    ) -> None:  # fmt: skip
        self._world = world
        self._store = world.store
        self._files = files
        self._executor = executor
        self._catalogue = catalogue
        self._runs = runs
        self._webhooks = webhooks

    def advance(self, now: float) -> float | None:
        """Take every batch as far as it is due at `now`; return when the next step of any is due."""
        dues = [self._advance_batch(_decode(record.data), now) for record in self._store.live_records(BATCH)]
        return min((due for due in dues if due is not None and due < math.inf), default=None)

    def close(self) -> None:
        """Stop asking an upstream and sending events."""
        if self._runs is not None:
            self._runs.stop_all()
        self._webhooks.close()

    def view(self, batch: StoredBatch) -> StoredBatch:
        """The batch with its counts as they are at this moment."""
        if batch.status == "in_progress":
            self._count(batch, self._finished_at(batch, self._world.clock.now()))
        return batch

    def cancel(self, batch_id: str) -> StoredBatch:
        """Begin to cancel a batch unless it is terminal; return it as it is right after."""
        now = self._world.clock.now()
        begun: list[StoredBatch] = []

        def begin(batch: StoredBatch) -> None:
            if batch.status == "in_progress":
                self._count(batch, self._finished_at(batch, now))
            batch.status = "cancelling"
            batch.cancelling_at = now
            begun.append(batch)

        any(self._change(batch_id, status, begin) for status in ("validating", "in_progress", "finalizing"))
        if self._runs is not None:
            self._runs.stop(batch_id)
        self._world.wake()
        return begun[0] if begun else self._load(batch_id)

    # One batch

    def _advance_batch(self, batch: StoredBatch, now: float) -> float | None:
        while not batch.is_terminal:
            due = self._due(batch, now)
            if due > now:
                return due
            self._step(batch, due)
            batch = self._load(batch.id)
        return None

    def _due(self, batch: StoredBatch, now: float) -> float:
        schedule = batch.schedule
        match batch.status:
            case "validating":
                return batch.created_at + schedule.validating_s
            case "in_progress":
                return self._progress_ends(batch, now)
            case "finalizing":
                assert batch.finalizing_at is not None
                return batch.finalizing_at + schedule.finalizing_s
            case _:
                assert batch.cancelling_at is not None
                return batch.cancelling_at + schedule.cancelling_s

    def _progress_ends(self, batch: StoredBatch, now: float) -> float:
        if self._runs is not None:
            return now if self._runs.ensure(batch) else math.inf
        assert batch.in_progress_at is not None
        if batch.quirks.expire_at_share is not None:
            return batch.in_progress_at if self._world.config.instant else batch.expires_at
        return min(batch.in_progress_at + batch.schedule.in_progress_s, batch.expires_at)

    def _step(self, batch: StoredBatch, due: float) -> None:
        match batch.status:
            case "validating":
                self._validate(batch, due)
            case "in_progress":
                self._finalize(batch, due)
            case "finalizing":
                self._publish(batch, "finalizing", batch.ending, due)
            case _:
                self._publish(batch, "cancelling", "cancelled", due)

    # Steps

    def _validate(self, batch: StoredBatch, due: float) -> None:
        accepted = self._verdict(batch)
        if not isinstance(accepted, Accepted):
            self._fail(batch, accepted, due)
            return
        batch.total = accepted.total
        if self._runs is None:
            Workshop(self._world, batch).execute_all(self._executor, due)

        def start(stored: StoredBatch) -> None:
            stored.status = "in_progress"
            stored.in_progress_at = due
            stored.total = accepted.total
            stored.model = accepted.model
            stored.sent_model = accepted.sent_model
            stored.enqueued_tokens = accepted.prompt_tokens

        if not self._change(batch.id, "validating", start):
            self._store.drop_rows(batch.id)

    def _verdict(self, batch: StoredBatch) -> Accepted | list[Problem] | None:
        """What validation says; None is a failure without a reason."""
        quirks = batch.quirks
        if quirks.fail_silently:
            return None
        if quirks.failure is not None:
            code, message, lines = quirks.failure
            return [problem(code, message, None, line) for line in lines] or [problem(code, message)]
        file = self._files.find(batch.input_file_id, batch.account)
        if file is None or file.purpose != "batch":
            message = (
                f"Cannot find file {batch.input_file_id}, or organization {organization(batch.account)}"
                " does not have access to it."
            )
            return [problem("invalid_request", message, "file_id")]
        workshop = Workshop(self._world, batch)
        workshop.take_input(self._files.path(file.id))
        validator = Validator(batch.endpoint, self._catalogue, self._world.config.requests_per_batch_max)
        verdict = validator.run(workshop.input)
        return verdict if isinstance(verdict, list) else self._within_limit(batch, verdict)

    def _within_limit(self, batch: StoredBatch, accepted: Accepted) -> Accepted | list[Problem]:
        config = self._world.config
        limit = config.enqueued_tokens_max_by_model.get(accepted.sent_model, config.enqueued_tokens_max)
        waiting = sum(
            other.enqueued_tokens
            for other in (_decode(record.data) for record in self._store.live_records(BATCH))
            if other.account == batch.account and other.sent_model == accepted.sent_model and other.id != batch.id
        )
        if waiting + accepted.prompt_tokens <= limit:
            return accepted
        message = (
            f"Enqueued token limit reached for {accepted.sent_model} in organization {organization(batch.account)}."
            f" Limit: {limit:,} enqueued tokens. Please try again once some in_progress batches have been completed."
        )
        return [problem("token_limit_exceeded", message)]

    def _fail(self, batch: StoredBatch, problems: list[Problem] | None, due: float) -> None:
        def fail(stored: StoredBatch) -> None:
            stored.status = "failed"
            stored.failed_at = due
            stored.errors = problems

        if self._change(batch.id, "validating", fail):
            self._ended(batch)

    def _finalize(self, batch: StoredBatch, due: float) -> None:
        expired = self._runs is None and (batch.quirks.expire_at_share is not None or due >= batch.expires_at)
        finished = self._finished_at(batch, due) if expired else batch.total

        def finalize(stored: StoredBatch) -> None:
            stored.status = "finalizing"
            stored.finalizing_at = due
            stored.ending = "expired" if expired else "completed"
            self._count(stored, finished)

        self._change(batch.id, "in_progress", finalize)

    def _publish(self, batch: StoredBatch, before: Status, ending: Status, due: float) -> None:
        """Make the files, then end: both in one transaction, so a kill in between repeats the whole step."""
        if self._runs is not None:
            self._runs.stop(batch.id)
        workshop = Workshop(self._world, batch)
        empty = ending == "cancelled" and (batch.in_progress_at is None or batch.quirks.cancel_empty)
        never_run = {"expired": "batch_expired", "cancelled": "batch_cancelled"}.get(ending)
        paths = (None, None) if empty else workshop.finish(batch.finished, never_run, due)

        def end(stored: StoredBatch) -> None:
            stored.status = ending
            setattr(stored, f"{ending}_at", due)
            stored.output_file_id = self._keep(stored, paths[0], "output")
            stored.error_file_id = self._keep(stored, paths[1], "error")
            if stored.quirks.cancel_empty:
                stored.completed = stored.failed = 0
            self._store.drop_rows(stored.id, stored.finished)
            self._store.bill(stored.id)

        if self._change(batch.id, before, end):
            self._ended(batch)

    def _ended(self, batch: StoredBatch) -> None:
        Workshop(self._world, batch).clear()
        self._webhooks.batch_ended(self._load(batch.id))

    def _keep(self, batch: StoredBatch, path: Path | None, kind: str) -> str | None:
        if path is None:
            return None
        file_id = f"file-{self._world.new_id('file')}"
        name = f"{batch.id}_{kind}.jsonl"
        return self._files.keep(path, file_id, batch.account, "batch_output", name, batch.result_life_s).id

    # Progress

    def _finished_at(self, batch: StoredBatch, now: float) -> int:
        """How many rows are done at `now`."""
        if self._runs is not None:
            return self._store.row_sums(batch.id, EVERY_ROW)["rows"]
        assert batch.in_progress_at is not None
        share = 1.0
        if batch.schedule.in_progress_s > 0:
            share = (now - batch.in_progress_at) / batch.schedule.in_progress_s
        if batch.quirks.expire_at_share is not None:
            share = min(share, batch.quirks.expire_at_share)
        return max(0, min(batch.total, int(share * batch.total)))

    def _count(self, batch: StoredBatch, finished: int) -> None:
        sums = self._store.row_sums(batch.id, finished)
        batch.finished = finished
        batch.completed = sums["ok"]
        batch.failed = sums["rows"] - sums["ok"]
        for name in ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"):
            setattr(batch.usage, name, sums[name])

    # Memory

    def _load(self, batch_id: str) -> StoredBatch:
        record = self._store.get(BATCH, batch_id)
        assert record is not None
        return _decode(record.data)

    def _change(self, batch_id: str, expected: str, change: Callable[[StoredBatch], None]) -> bool:
        """Apply `change` if the batch is still in state `expected`; tell whether it was."""
        with self._store.transaction():
            batch = self._load(batch_id)
            if batch.status != expected:
                return False
            change(batch)
            self._store.update(BATCH, batch_id, live=not batch.is_terminal, data=msgspec.json.encode(batch))
        return True


def organization(account: str) -> str:
    """The organisation id of an account."""
    return f"org-{account}"
