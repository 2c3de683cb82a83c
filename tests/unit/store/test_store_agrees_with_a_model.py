"""The store beside plain dictionaries: whatever is done, in whatever order, both say the same afterwards.

Every rule does one thing to both and compares what it returned; the invariants compare all that can be read. Two stores
are open on the one file, as in two processes: what one writes, either reads.
"""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bydawn.core.batch import Counts, Lane
from bydawn.core.model import ModelRef
from bydawn.core.states import AT_PROVIDER, BATCH, BATCH_STATES, JOB
from bydawn.errors import JobNotFound, StoreError
from bydawn.store.ledger import CANCELLED, FAILED, PENDING, STATUS_NAMES, SUCCEEDED, VOID, WAITING, Segment
from bydawn.store.records import NewBatch, Plan, Tally, lane_key
from bydawn.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from bydawn.store.records import BatchRecord

    Ledger = dict[int, tuple[bytes, list[int]]]

LANES = (Lane(ModelRef("openai", "gpt-4o"), "chat"), Lane(ModelRef("openai", "text-embedding-3-small"), "embeddings"))
REALMS = ("live", "sandbox")
WITH_ROWS = {"collect", "refuse", "withdraw"}
"""Events that go with the rows' new states, through `Store.collect`."""

USUAL = {"planned": "send", "submitting": "accepted", "in_progress": "end", "in_doubt": "adopted", "cancelling": "end"}

choices = st.integers(0, 2**16)


@dataclass
class ModelBatch:
    """What the store must say of one batch."""

    new: NewBatch
    attempts_left: int
    state: str = "planned"
    waiting: int = 0
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass
class ModelJob:
    """What the store must say of one job. ``ledger`` holds states and owners by segment."""

    fingerprint: str
    realm: str
    state: str = "planning"
    reason: str | None = None
    batches: dict[int, ModelBatch] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=dict)


class StoreBesideModel(RuleBasedStateMachine):
    """Rules choose jobs, batches and events by number, out of those that there are."""

    @initialize(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=3))
    def open(self, sizes: list[int]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "bydawn.db"
        ticks = count()
        self.stores = [Store(path, lambda: float(next(ticks))) for _ in range(2)]
        self.model: dict[str, ModelJob] = {}
        self.quotas: dict[str, dict[str, int]] = {realm: {} for realm in REALMS}
        self.names = count(1)
        self.create(same=False, supersede=False, realm="live")
        self.plan(0, sizes)

    def teardown(self) -> None:
        for store in getattr(self, "stores", ()):
            store.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @property
    def store(self) -> Store:
        """Both in turn."""
        self.stores.reverse()
        return self.stores[0]

    def job(self, choice: int) -> tuple[str, ModelJob]:
        job_id = sorted(self.model)[choice % len(self.model)]
        return job_id, self.model[job_id]

    def candidates(self, fits: Callable[[ModelBatch], object] = bool) -> list[tuple[str, int]]:
        """The batches that fit, of all jobs."""
        return [
            (job_id, number)
            for job_id in sorted(self.model)
            for number, batch in self.model[job_id].batches.items()
            if fits(batch)
        ]

    def batch(
        self, choice: int, fits: Callable[[ModelBatch], object] = bool
    ) -> tuple[ModelJob, ModelBatch, BatchRecord]:
        """One of the batches that fit, in the model and as it is stored."""
        fitting = self.candidates(fits)
        job_id, number = fitting[choice % len(fitting)]
        job = self.model[job_id]
        return job, job.batches[number], next(b for b in self.store.batches(job_id) if b.number == number)

    # Jobs

    @rule(same=st.booleans(), supersede=st.booleans(), realm=st.sampled_from(REALMS))
    def create(self, same: bool, supersede: bool, realm: str) -> None:
        job_id = f"job{next(self.names):03d}"
        fingerprint = next((job.fingerprint for job in self.model.values()), "") if same else ""
        taken = bool(fingerprint)
        fingerprint = fingerprint or f"print-{job_id}"
        self.store.create_job(
            job_id=job_id, fingerprint=fingerprint, name="n", realm=realm, options="{}", source="s", supersede=supersede
        )
        if taken and not supersede:
            return
        for other_id, other in self.model.items():
            if other.fingerprint == fingerprint:
                other.fingerprint = f"{fingerprint}:{other_id}"
        self.model[job_id] = ModelJob(fingerprint, realm)

    @precondition(lambda self: len(self.model) > 2)
    @rule(choice=choices)
    def delete(self, choice: int) -> None:
        job_id, _ = self.job(choice)
        self.store.delete_job(job_id)
        del self.model[job_id]
        with pytest.raises(JobNotFound):
            self.store.job(job_id)

    @rule(choice=choices, sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3))
    def plan(self, choice: int, sizes: list[int]) -> None:
        job_id, job = self.job(choice)
        batches = [self.new_batch(rows) for rows in sizes]
        plan = Plan(rows=sum(sizes), width=1, requests=sum(sizes), lanes=LANES, batches=tuple(batches))
        if job.state != "planning":
            with pytest.raises(StoreError):
                self.store.commit_plan(job_id, plan)
            return
        owners = [batch.number for batch in batches for _ in range(batch.rows)]
        self.put(job_id, {0: (bytes([PENDING]) * sum(sizes), owners)})
        self.store.commit_plan(job_id, plan)
        job.state = "running"
        self.note_new(job, *batches)

    def new_batch(self, rows: int, attempts_left: int = 2) -> NewBatch:
        """Numbers grow, though not without gaps."""
        name = next(self.names)
        return NewBatch(
            number=name, lane=name % 2, tag=f"tag{name}", nonce=f"nonce{name}", rows=rows, bytes=rows * 9,
            input_tokens=rows * 3, attempt=1, attempts_left=attempts_left,
        )  # fmt: skip

    def note_new(self, job: ModelJob, *batches: NewBatch) -> None:
        job.batches |= {new.number: ModelBatch(new, new.attempts_left) for new in batches}

    @rule(choice=choices)
    def reset_plan(self, choice: int) -> None:
        job_id, job = self.job(choice)
        if job.state == "planning":
            self.store.reset_plan(job_id)
            job.ledger.clear()

    @rule(choice=choices, which=choices, reason=st.text(max_size=5))
    def move_job(self, choice: int, which: int, reason: str) -> None:
        job_id, job = self.job(choice)
        stored = self.store.job(job_id)
        events = [event for state, event in JOB if state == job.state and event != "planned"]
        if not events:
            return
        chosen = events[which % len(events)]
        job.state, job.reason = JOB[job.state, chosen], reason
        assert self.store.move_job(stored, chosen, reason).state == job.state
        with pytest.raises(StoreError):
            self.store.move_job(stored, chosen)

    # Batches

    @precondition(candidates)
    @rule(choice=choices, which=choices, text=st.text(max_size=5))
    def move(self, choice: int, which: int, text: str) -> None:
        """Along the table, any way."""
        _, batch, stored = self.batch(choice)
        events = [name for state, name in BATCH if state == batch.state and name not in WITH_ROWS]
        if events:
            self.move_along(batch, stored, events[which % len(events)], text)

    @precondition(candidates)
    @rule(choice=choices, steps=st.integers(1, 4))
    def go_on(self, choice: int, steps: int) -> None:
        """The way that most batches go, several steps at once."""
        for _ in range(steps):
            if self.candidates(lambda batch: batch.state in USUAL):
                _, batch, stored = self.batch(choice, lambda batch: batch.state in USUAL)
                self.move_along(batch, stored, USUAL[batch.state], "")

    def move_along(self, batch: ModelBatch, stored: BatchRecord, chosen: str, text: str) -> None:
        """Move it; a second time, from a state that is no longer, is refused."""
        changes: dict[str, Any] = {"note": text}
        if chosen in ("accepted", "adopted"):
            changes["provider_batch_id"] = f"remote{batch.new.number}"
        if chosen == "end":
            changes |= {"end_reason": "expired", "facts": {"output": text}}
        batch.state = BATCH[batch.state, chosen]
        batch.columns |= changes
        assert self.store.move_batch(stored, chosen, **changes).state == batch.state
        with pytest.raises(StoreError):
            self.store.move_batch(stored, chosen, **changes)

    @precondition(candidates)
    @rule(choice=choices, event=st.sampled_from(sorted({event for _, event in BATCH})))
    def move_illegally(self, choice: int, event: str) -> None:
        _, batch, stored = self.batch(choice)
        if (batch.state, event) not in BATCH:
            with pytest.raises(AssertionError):
                self.store.move_batch(stored, event, note="never")

    @precondition(candidates)
    @rule(choice=choices, looks=st.integers(0, 9), done=st.integers(0, 9))
    def update(self, choice: int, looks: int, done: int) -> None:
        _, batch, stored = self.batch(choice)
        changes = {"looks": looks, "counts": Counts(9, done, 0), "look_at_s": looks / 3}
        self.store.update_batch(stored, **changes)
        batch.columns |= changes

    @precondition(lambda self: self.candidates(may_be_collected))
    @rule(choice=choices, which=choices, state=st.sampled_from([WAITING, SUCCEEDED, FAILED, CANCELLED]))
    def collect(self, choice: int, which: int, state: int) -> None:
        job, batch, stored = self.batch(choice, may_be_collected)
        events = [name for before, name in BATCH if before == batch.state and name in WITH_ROWS]
        chosen, number = events[which % len(events)], batch.new.number
        ledger = changed(job.ledger, PENDING, number, lambda owner: (state, owner))
        waiting = batch.new.rows if state == WAITING else 0
        tally = Tally(rows=batch.new.rows, succeeded=batch.new.rows)
        self.store.collect(stored, chosen, segments(ledger), waiting=waiting, tally=tally, note="over")
        job.ledger = ledger
        batch.state, batch.waiting = BATCH[batch.state, chosen], waiting
        batch.columns |= {"tally": tally, "note": "over"}

    @precondition(lambda self: self.candidates(waits))
    @rule(choice=choices)
    def replan(self, choice: int) -> None:
        job, batch, stored = self.batch(choice, waits)
        new = self.new_batch(batch.waiting, batch.attempts_left - 1)
        ledger = changed(job.ledger, WAITING, batch.new.number, lambda _: (PENDING, new.number))
        self.store.replan(stored, segments(ledger), [new])
        job.ledger = ledger
        batch.waiting = 0
        self.note_new(job, new)
        event("replanned")

    @rule(choice=choices, attempts=st.integers(0, 4))
    def requeue(self, choice: int, attempts: int) -> None:
        """As the user's retry does it."""
        job_id, job = self.job(choice)
        waiting: Counter[int] = Counter()

        def wait_again(owner: int) -> tuple[int, int]:
            waiting[owner] += 1
            return WAITING, owner

        for state in (FAILED, CANCELLED):
            job.ledger = changed(job.ledger, state, None, wait_again)
        self.store.requeue(job_id, segments(job.ledger), waiting, attempts)
        for number, rows in waiting.items():
            batch = job.batches[number]
            batch.waiting += rows
            batch.attempts_left = max(batch.attempts_left, attempts)
            batch.columns["look_at_s"] = 0.0
            event("requeued")

    # Ledger and quota

    @rule(choice=choices, number=st.integers(1, 3), length=st.integers(0, 5), state=st.sampled_from([VOID, SUCCEEDED]))
    def put_segment(self, choice: int, number: int, length: int, state: int) -> None:
        """Segments beside that of the batches."""
        self.put(self.job(choice)[0], {number: (bytes([state]) * length, [0] * length)})

    def put(self, job_id: str, ledger: Ledger) -> None:
        self.store.put_segments(job_id, segments(ledger))
        self.model[job_id].ledger |= ledger

    @rule(realm=st.sampled_from(REALMS), lane=st.sampled_from(LANES), tokens=st.integers(0, 2**40))
    def learn_quota(self, realm: str, lane: Lane, tokens: int) -> None:
        self.store.learn_quota(realm, lane_key(lane), tokens)
        self.quotas[realm][lane_key(lane)] = tokens

    # What must hold

    @invariant()
    def jobs_agree(self) -> None:
        stored = {job.job_id: (job.fingerprint, job.realm, job.state, job.reason) for job in self.store.jobs()}
        assert stored == {
            job_id: (job.fingerprint, job.realm, job.state, job.reason) for job_id, job in self.model.items()
        }
        assert [job.job_id for job in self.store.jobs()] == sorted(self.model, reverse=True)
        for job_id, job in self.model.items():
            found = self.store.find_job(job.fingerprint)
            assert found is not None
            assert found.job_id == job_id

    @invariant()
    def batches_agree(self) -> None:
        for job_id, job in self.model.items():
            stored = self.store.batches(job_id)
            assert [batch.number for batch in stored] == sorted(job.batches)
            for found in stored:
                batch = job.batches[found.number]
                said = (found.state, found.waiting, found.attempts_left)
                assert said == (batch.state, batch.waiting, batch.attempts_left)
                assert {name: getattr(found, name) for name in batch.columns} == batch.columns
                assert (found.tag, found.rows, found.lane) == (batch.new.tag, batch.new.rows, batch.new.lane)

    @invariant()
    def ledgers_agree(self) -> None:
        for job_id, job in self.model.items():
            assert {s.number: (bytes(s.states), list(s.owners)) for s in self.store.segments(job_id)} == job.ledger
            states = Counter(state for states, _ in job.ledger.values() for state in states)
            assert self.store.standing(job_id) == {name: states[code] for code, name in STATUS_NAMES.items()}

    @invariant()
    def sums_agree(self) -> None:
        for realm in REALMS:
            enqueued: Counter[str] = Counter()
            for job in self.model.values():
                for batch in job.batches.values():
                    if job.realm == realm and batch.state in AT_PROVIDER:
                        enqueued[lane_key(LANES[batch.new.lane])] += batch.new.input_tokens
            assert self.store.enqueued_tokens(realm) == enqueued
            assert self.store.quotas(realm) == self.quotas[realm]

    @invariant()
    def tell_hypothesis_how_far_it_came(self) -> None:
        seen = {batch.state for job in self.model.values() for batch in job.batches.values()}
        for state in seen:
            event(f"a batch is {state}")
        assert seen <= set(BATCH_STATES)


def may_be_collected(batch: ModelBatch) -> bool:
    return any((batch.state, event) in BATCH for event in WITH_ROWS)


def waits(batch: ModelBatch) -> int:
    return batch.waiting


def changed(ledger: Ledger, state: int, owner: int | None, change: Callable[[int], tuple[int, int]]) -> Ledger:
    """The ledger after ``change`` of the entries in ``state`` that ``owner`` (or anybody) owns."""
    after = {}
    for number, (states, owners) in ledger.items():
        entries = [
            change(holder) if here == state and holder and owner in (None, holder) else (here, holder)
            for here, holder in zip(states, owners, strict=True)
        ]
        after[number] = bytes(here for here, _ in entries), [holder for _, holder in entries]
    return after


def segments(ledger: Ledger) -> list[Segment]:
    return [Segment(number, bytearray(states), array("I", owners)) for number, (states, owners) in ledger.items()]


TestStoreBesideModel = StoreBesideModel.TestCase
TestStoreBesideModel.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
