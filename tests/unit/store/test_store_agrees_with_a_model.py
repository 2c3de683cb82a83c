"""The store beside plain dictionaries: whatever is done, in whatever order, both say the same afterwards.

Every rule does one thing to both and compares what it returned; the invariants compare all that can be read. Two stores
are open on the one file, as in two processes: what one writes, either reads.
"""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from bydawn.core.batch import Counts, Lane
from bydawn.core.model import ModelRef
from bydawn.core.states import AT_PROVIDER, BATCH, JOB
from bydawn.errors import JobNotFound, StoreError
from bydawn.store.ledger import CANCELLED, FAILED, PENDING, STATUS_NAMES, SUCCEEDED, VOID, WAITING, Segment
from bydawn.store.records import NewBatch, Plan, Tally, lane_key
from bydawn.store.sqlite import Store

LANES = (Lane(ModelRef("openai", "gpt-4o"), "chat"), Lane(ModelRef("openai", "text-embedding-3-small"), "embeddings"))
MOVES = sorted(event for event in {event for _, event in BATCH} if event not in ("collect", "refuse", "withdraw"))
REALMS = st.sampled_from(["live", "sandbox"])


@dataclass
class ModelBatch:
    """What the store must say of one batch."""

    new: NewBatch
    state: str = "planned"
    waiting: int = 0
    attempts_left: int = 0
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass
class ModelJob:
    """What the store must say of one job."""

    fingerprint: str
    realm: str
    state: str = "planning"
    reason: str | None = None
    batches: dict[int, ModelBatch] = field(default_factory=dict)
    ledger: dict[int, tuple[bytes, list[int]]] = field(default_factory=dict)


class StoreBesideModel(RuleBasedStateMachine):
    """Jobs are drawn by id, also ones that were deleted."""

    jobs = Bundle("jobs")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "bydawn.db"
        ticks = count()
        self.stores = [Store(path, lambda: float(next(ticks))) for _ in range(2)]
        self.model: dict[str, ModelJob] = {}
        self.quotas: dict[str, dict[str, int]] = {"live": {}, "sandbox": {}}
        self.names = count()

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

    def batch(self, job_id: str, number: int) -> Any:
        return next(batch for batch in self.store.batches(job_id) if batch.number == number)

    # Jobs

    @rule(target=jobs, same=st.booleans(), supersede=st.booleans(), realm=REALMS)
    def create(self, same: bool, supersede: bool, realm: str) -> Any:
        job_id = f"job{next(self.names):03d}"
        known = next((job.fingerprint for job in self.model.values()), None) if same else None
        fingerprint = known or f"print-{job_id}"
        values = {"job_id": job_id, "fingerprint": fingerprint, "name": "n", "realm": realm, "options": "{}"}
        if known and not supersede:
            with pytest.raises(StoreError):
                self.store.create_job(**values, source="s")
            return multiple()
        self.store.create_job(**values, source="s", supersede=supersede)
        for other_id, other in self.model.items():
            if other.fingerprint == fingerprint:
                other.fingerprint = f"{fingerprint}:{other_id}"
        self.model[job_id] = ModelJob(fingerprint, realm)
        return job_id

    @rule(job_id=consumes(jobs))
    def delete(self, job_id: str) -> None:
        self.store.delete_job(job_id)
        del self.model[job_id]
        with pytest.raises(JobNotFound):
            self.store.job(job_id)

    @rule(job_id=jobs, sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3))
    def plan(self, job_id: str, sizes: list[int]) -> None:
        job = self.model[job_id]
        batches = tuple(self.new_batch(size) for size in sizes)
        rows = sum(sizes)
        plan = Plan(rows=rows, width=1, requests=rows, lanes=LANES, batches=batches)
        if job.state != "planning":
            with pytest.raises(StoreError):
                self.store.commit_plan(job_id, plan)
            return
        owners = [batch.number for batch in batches for _ in range(batch.rows)]
        self.put(job_id, {0: (bytes([PENDING]) * rows, owners)})
        self.store.commit_plan(job_id, plan)
        job.state = "running"
        self.note_new(job, batches)

    def new_batch(self, rows: int, attempts_left: int = 2) -> NewBatch:
        """Numbers grow, though not without gaps."""
        name = next(self.names)
        return NewBatch(
            number=name, lane=name % 2, tag=f"tag{name}", nonce=f"nonce{name}", rows=rows, bytes=rows * 9,
            input_tokens=rows * 3, attempt=1, attempts_left=attempts_left,
        )  # fmt: skip

    def note_new(self, job: ModelJob, batches: tuple[NewBatch, ...]) -> None:
        for new in batches:
            job.batches[new.number] = ModelBatch(new, attempts_left=new.attempts_left)

    @rule(job_id=jobs)
    def reset_plan(self, job_id: str) -> None:
        if self.model[job_id].state == "planning":
            self.store.reset_plan(job_id)
            self.model[job_id].ledger.clear()

    @rule(job_id=jobs, event=st.sampled_from(sorted({event for _, event in JOB} - {"planned"})), reason=st.text())
    def move_job(self, job_id: str, event: str, reason: str) -> None:
        job = self.model[job_id]
        stored = self.store.job(job_id)
        if (job.state, event) not in JOB:
            with pytest.raises(AssertionError):
                self.store.move_job(stored, event, reason)
            return
        job.state, job.reason = JOB[job.state, event], reason
        assert self.store.move_job(stored, event, reason).state == job.state
        if job.state != stored.state:
            with pytest.raises((StoreError, AssertionError)):
                self.store.move_job(stored, event)

    # Batches

    def pick(self, job_id: str, choice: int) -> tuple[ModelJob, int] | None:
        job = self.model[job_id]
        return (job, sorted(job.batches)[choice % len(job.batches)]) if job.batches else None

    @rule(job_id=jobs, choice=st.integers(0, 9), event=st.sampled_from(MOVES), text=st.text(max_size=5))
    def move(self, job_id: str, choice: int, event: str, text: str) -> None:
        picked = self.pick(job_id, choice)
        if picked is None:
            return
        job, number = picked
        batch, stored = job.batches[number], self.batch(job_id, number)
        changes: dict[str, Any] = {"note": text}
        if event in ("accepted", "adopted"):
            changes["provider_batch_id"] = f"remote{number}"
        if event == "end":
            changes |= {"end_reason": "expired", "facts": {"output": text}}
        if (batch.state, event) not in BATCH:
            with pytest.raises(AssertionError):
                self.store.move_batch(stored, event, **changes)
            return
        batch.state = BATCH[batch.state, event]
        batch.columns |= changes
        assert self.store.move_batch(stored, event, **changes).state == batch.state
        with pytest.raises(StoreError):
            self.store.update_batch(stored, note="stale")

    @rule(job_id=jobs, choice=st.integers(0, 9), looks=st.integers(0, 9), counts=st.integers(0, 9))
    def update(self, job_id: str, choice: int, looks: int, counts: int) -> None:
        if (picked := self.pick(job_id, choice)) is not None:
            job, number = picked
            changes = {"looks": looks, "counts": Counts(9, counts, 0), "look_at_s": looks / 3}
            self.store.update_batch(self.batch(job_id, number), **changes)
            job.batches[number].columns |= changes

    @rule(job_id=jobs, choice=st.integers(0, 9), state=st.sampled_from([WAITING, SUCCEEDED, FAILED, CANCELLED]))
    def collect(self, job_id: str, choice: int, state: int) -> None:
        picked = self.pick(job_id, choice)
        if picked is None:
            return
        job, number = picked
        batch = job.batches[number]
        event = {"ended": "collect", "in_progress": "refuse", "planned": "withdraw"}.get(batch.state)
        if event is None:
            return
        ledger = self.with_rows_of(job, number, PENDING, lambda _: (state, number))
        waiting = batch.new.rows if state == WAITING else 0
        tally = Tally(rows=batch.new.rows, succeeded=batch.new.rows)
        self.store.collect(
            self.batch(job_id, number), event, segments(ledger), waiting=waiting, tally=tally, note="over"
        )
        job.ledger |= ledger
        batch.state, batch.waiting = BATCH[batch.state, event], waiting
        batch.columns |= {"tally": tally, "note": "over"}

    @rule(job_id=jobs, choice=st.integers(0, 9))
    def replan(self, job_id: str, choice: int) -> None:
        picked = self.pick(job_id, choice)
        if picked is None or not picked[0].batches[picked[1]].waiting:
            return
        job, number = picked
        batch = job.batches[number]
        new = self.new_batch(batch.waiting, batch.attempts_left - 1)
        ledger = self.with_rows_of(job, number, WAITING, lambda _: (PENDING, new.number))
        self.store.replan(self.batch(job_id, number), segments(ledger), [new])
        job.ledger |= ledger
        batch.waiting = 0
        self.note_new(job, (new,))

    @rule(job_id=jobs, attempts=st.integers(0, 4))
    def requeue(self, job_id: str, attempts: int) -> None:
        job = self.model[job_id]
        waiting: Counter[int] = Counter()

        def wait_again(entry: tuple[int, int]) -> tuple[int, int]:
            waiting[entry[1]] += 1
            return WAITING, entry[1]

        ledger = dict(job.ledger)
        for state in (FAILED, CANCELLED):
            ledger = self.with_rows_of(replace(job, ledger=ledger), None, state, wait_again)
        self.store.requeue(job_id, segments(ledger), waiting, attempts)
        job.ledger = ledger
        for number, rows in waiting.items():
            batch = job.batches[number]
            batch.waiting += rows
            batch.attempts_left = max(batch.attempts_left, attempts)
            batch.columns["look_at_s"] = 0.0

    def with_rows_of(self, job: ModelJob, number: int | None, state: int, change: Any) -> dict[int, Any]:
        """The ledger after ``change`` of the entries in ``state`` that ``number`` (or anybody) owns."""
        changed = {}
        for segment, (states, owners) in job.ledger.items():
            entries = [
                change((here, owner)) if here == state and number in (None, owner) else (here, owner)
                for here, owner in zip(states, owners, strict=True)
            ]
            changed[segment] = bytes(here for here, _ in entries), [owner for _, owner in entries]
        return changed

    # Ledger and quota

    @rule(job_id=jobs, number=st.integers(1, 3), length=st.integers(0, 5), state=st.sampled_from([VOID, SUCCEEDED]))
    def put_segment(self, job_id: str, number: int, length: int, state: int) -> None:
        """Segments beside that of the batches."""
        self.put(job_id, {number: (bytes([state]) * length, [0] * length)})

    def put(self, job_id: str, ledger: dict[int, tuple[bytes, list[int]]]) -> None:
        self.store.put_segments(job_id, segments(ledger))
        self.model[job_id].ledger |= ledger

    @rule(realm=REALMS, lane=st.sampled_from(LANES), tokens=st.integers(0, 2**40))
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
                assert (found.state, found.waiting, found.attempts_left) == (
                    batch.state,
                    batch.waiting,
                    batch.attempts_left,
                )
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
        for realm in ("live", "sandbox"):
            enqueued: Counter[str] = Counter()
            for job in self.model.values():
                for batch in job.batches.values():
                    if job.realm == realm and batch.state in AT_PROVIDER:
                        enqueued[lane_key(LANES[batch.new.lane])] += batch.new.input_tokens
            assert self.store.enqueued_tokens(realm) == enqueued
            assert self.store.quotas(realm) == self.quotas[realm]


def segments(ledger: dict[int, tuple[bytes, list[int]]]) -> list[Segment]:
    return [Segment(number, bytearray(states), array("I", owners)) for number, (states, owners) in ledger.items()]


TestStoreBesideModel = StoreBesideModel.TestCase
TestStoreBesideModel.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
