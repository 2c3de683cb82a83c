"""Waiting rows go into new batches once each, with everything that was known of them; nobody else's row moves."""

from __future__ import annotations

from array import array
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.core.batch import Limits
from bydawn.engine.replan import Replanned, replan, settle_rows, wait_again
from bydawn.engine.rows import load_rows, save_rows
from bydawn.engine.writing import PER_ROW, DiskShelf
from bydawn.errors import StoreDamaged
from bydawn.ids import IdSource
from bydawn.store import ledger
from bydawn.store.ledger import CANCELLED, EXPIRED, FAILED, PENDING, SUCCEEDED, VOID, WAITING, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bydawn.core.batch import Lane
    from bydawn.store.files import JobFiles
    from bydawn.store.records import BatchRecord

    Make = Callable[..., Any]

ROWS = 8
STATES = (VOID, PENDING, WAITING, SUCCEEDED, FAILED, EXPIRED, CANCELLED)


@pytest.fixture
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "SEGMENT_ROWS", ROWS)
        yield


class Job:
    """A job's ledger in memory, and one batch of it on disk."""

    def __init__(self, files: JobFiles, lane: Lane, plain: Any, batch: BatchRecord, ordinals: Sequence[int]) -> None:
        self.files, self.lane, self.plain, self.batch, self.ordinals = files, lane, plain, batch, ordinals
        self.ledger = {
            number: Segment(number, bytearray([PENDING]) * ROWS, array("I", [batch.number]) * ROWS)
            for number in range(4)
        }
        save_rows(files.rows(batch.number), array("Q", ordinals))
        lines = [{"id": f"old-{ordinal}", "prompt": f"é {ordinal}", "inputs": ordinal % 3} for ordinal in ordinals]
        files.requests(batch.number).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))

    def set(self, ordinal: int, state: int, owner: int = 1) -> None:
        segment = self.ledger[ordinal // ROWS]
        segment.states[ordinal % ROWS], segment.owners[ordinal % ROWS] = state, owner

    def at(self, ordinal: int) -> tuple[int, int]:
        segment = self.ledger[ordinal // ROWS]
        return segment.states[ordinal % ROWS], segment.owners[ordinal % ROWS]

    def everything(self) -> list[tuple[int, int]]:
        return [self.at(ordinal) for ordinal in range(4 * ROWS)]

    def replan(self, **limits: Any) -> Replanned:
        return replan(
            self.batch,
            self.lane,
            files=self.files,
            shelf=DiskShelf(self.files),
            ids=IdSource(Random(3)),
            provider=self.plain,
            limits=Limits(**{"rows": 100, "bytes": 10**6, "row_bytes": 10**6} | limits),
            first_number=5,
            segment=self.ledger.__getitem__,
        )


@pytest.fixture
def make_job(small_segments: None, files: JobFiles, lane: Lane, plain: Any, batch: Make) -> Callable[..., Job]:
    def make(ordinals: Sequence[int], **changes: Any) -> Job:
        values = {"state": "collected", "end_reason": "expired", "rows": len(ordinals)}
        return Job(files, lane, plain, batch(1, **values | changes), ordinals)

    return make


def sent(files: JobFiles, new: Any) -> dict[int, dict[str, Any]]:
    """The lines of a new batch by ordinal."""
    lines = [msgspec.json.decode(line) for line in files.requests(new.number).read_bytes().split(b"\n")[:-1]]
    return dict(zip(load_rows(files.rows(new.number), new.rows), lines, strict=True))


def test_only_rows_that_wait_for_this_batch_are_sent_again(make_job: Callable[..., Job], files: JobFiles) -> None:
    job = make_job(range(3, 13))
    for ordinal, state in zip(range(3, 10), STATES, strict=True):
        job.set(ordinal, state)
    job.set(10, WAITING)
    job.set(11, WAITING, owner=9)
    job.set(12, WAITING)
    job.set(20, WAITING)
    before = job.everything()

    planned = job.replan()

    (new,) = planned.batches
    again = [5, 10, 12]
    assert list(sent(files, new)) == again
    for ordinal, line in sent(files, new).items():
        assert line == {"id": f"{new.nonce}-{ordinal}", "prompt": f"é {ordinal}", "inputs": ordinal % 3}
    assert [job.at(ordinal) for ordinal in again] == [(PENDING, 5)] * 3
    untouched = [ordinal for ordinal in range(4 * ROWS) if ordinal not in again]
    assert [job.at(ordinal) for ordinal in untouched] == [before[ordinal] for ordinal in untouched]
    assert [segment.number for segment in planned.segments] == [0, 1]


def test_new_batches_keep_within_limits_that_may_be_narrower_now(make_job: Callable[..., Job], files: JobFiles) -> None:
    job = make_job(range(0, 30, 3))
    for ordinal in job.ordinals:
        job.set(ordinal, WAITING)
    planned = job.replan(rows=3)
    assert [(new.number, new.rows) for new in planned.batches] == [(5, 3), (6, 3), (7, 3), (8, 1)]
    assert [ordinal for new in planned.batches for ordinal in sent(files, new)] == list(job.ordinals)
    assert [job.at(ordinal)[1] for ordinal in job.ordinals] == [5, 5, 5, 6, 6, 6, 7, 7, 7, 8]
    for new in planned.batches:
        assert new.bytes == files.requests(new.number).stat().st_size


@pytest.mark.parametrize("narrow", [{"bytes": 120}, {"inputs": 3}, {"enqueued_tokens": 40}])
def test_every_limit_counts_again(make_job: Callable[..., Job], narrow: dict[str, int]) -> None:
    job = make_job(range(12))
    for ordinal in job.ordinals:
        job.set(ordinal, WAITING)
    planned = job.replan(**narrow)
    assert len(planned.batches) > 1
    assert sum(new.rows for new in planned.batches) == 12


@pytest.mark.parametrize(
    ("changes", "attempt", "attempts_left", "refusals"),
    [
        ({"state": "collected", "attempt": 1, "attempts_left": 2, "refusals": 3}, 2, 1, 0),
        ({"state": "collected", "attempt": 3, "attempts_left": 0, "refusals": 0}, 4, 0, 0),
        ({"state": "refused", "attempt": 1, "attempts_left": 2, "refusals": 0}, 1, 2, 1),
        ({"state": "refused", "attempt": 2, "attempts_left": 0, "refusals": 3}, 2, 0, 4),
        ({"state": "withdrawn", "attempt": 1, "attempts_left": 2, "refusals": 1}, 1, 2, 1),
    ],
)
def test_an_attempt_is_used_up_only_by_a_batch_that_ran(
    make_job: Callable[..., Job], changes: dict[str, Any], attempt: int, attempts_left: int, refusals: int
) -> None:
    job = make_job(range(2), **changes)
    job.set(0, WAITING)
    (new,) = job.replan().batches
    assert (new.attempt, new.attempts_left, new.refusals) == (attempt, attempts_left, refusals)
    assert (new.lane, new.rows) == (job.batch.lane, 1)
    assert new.tag != job.batch.tag
    assert new.nonce != job.batch.nonce


@pytest.mark.parametrize("answer_format", [None, '{"type":"json_object"}', PER_ROW])
def test_the_answer_format_goes_with_the_rows(make_job: Callable[..., Job], answer_format: str | None) -> None:
    job = make_job(range(3), answer_format=answer_format)
    for ordinal in job.ordinals:
        job.set(ordinal, WAITING)
    assert [new.answer_format for new in job.replan(rows=2).batches] == [answer_format] * 2


def test_when_nothing_waits_nothing_is_planned(make_job: Callable[..., Job]) -> None:
    job = make_job(range(4))
    assert job.replan().batches == []
    assert list(job.files.requests(1).parent.glob("000005*")) == []


def test_a_batch_whose_requests_were_cleaned_away_is_damaged_state(make_job: Callable[..., Job]) -> None:
    job = make_job(range(4))
    job.set(2, WAITING)
    job.files.requests(1).unlink()
    with pytest.raises(StoreDamaged, match=r"000001\.jsonl"):
        job.replan()


@pytest.mark.parametrize("left", [0, 10, -1])
def test_requests_that_are_cut_off_are_damaged_state(make_job: Callable[..., Job], left: int) -> None:
    job = make_job(range(4))
    job.set(3, WAITING)
    path = job.files.requests(1)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(StoreDamaged, match="requests of batch 1 are cut off"):
        job.replan()


# Moves within the ledger

ENTRIES = st.lists(st.tuples(st.sampled_from(STATES), st.integers(1, 3)), min_size=4 * ROWS, max_size=4 * ROWS)


def segments_of(entries: list[tuple[int, int]]) -> dict[int, Segment]:
    return {
        number: Segment(number, bytearray(state for state, _ in part), array("I", [owner for _, owner in part]))
        for number in range(4)
        for part in [entries[number * ROWS : (number + 1) * ROWS]]
    }


def entries_of(segments: dict[int, Segment]) -> list[tuple[int, int]]:
    return [
        entry for number in range(4) for entry in zip(segments[number].states, segments[number].owners, strict=True)
    ]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(entries=ENTRIES, ordinals=st.sets(st.integers(0, 4 * ROWS - 1)), data=st.data())
def test_settling_touches_only_pending_rows_that_the_batch_still_owns(
    batch: Make, entries: list[tuple[int, int]], ordinals: set[int], data: st.DataObject
) -> None:
    rows = sorted(ordinals)
    new = data.draw(st.lists(st.sampled_from(STATES[2:]), min_size=len(rows), max_size=len(rows)))
    segments = segments_of(entries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "SEGMENT_ROWS", ROWS)
        changed = settle_rows(batch(2, rows=len(rows)), rows, bytearray(new), segments.__getitem__)
    expected = list(entries)
    for ordinal, state in zip(rows, new, strict=True):
        if entries[ordinal] == (PENDING, 2):
            expected[ordinal] = (state, 2)
    assert entries_of(segments) == expected
    assert [segment.number for segment in changed] == sorted({ordinal // ROWS for ordinal in rows})


@settings(max_examples=100, deadline=None, derandomize=True)
@given(entries=ENTRIES, wanted=st.frozensets(st.sampled_from(STATES[3:])))
def test_rows_that_wait_again_are_named_by_their_owners(entries: list[tuple[int, int]], wanted: frozenset[int]) -> None:
    segment = segments_of(entries)[1]
    mine = entries[ROWS : 2 * ROWS]
    owners = wait_again(segment, wanted)
    assert list(owners) == [owner for state, owner in mine if state in wanted]
    assert list(zip(segment.states, segment.owners, strict=True)) == [
        (WAITING if state in wanted else state, owner) for state, owner in mine
    ]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(entries=ENTRIES)
def test_settling_twice_is_settling_once(batch: Make, entries: list[tuple[int, int]]) -> None:
    """A crash between decoding and committing repeats it."""
    rows = range(4 * ROWS)
    segments = segments_of(entries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "SEGMENT_ROWS", ROWS)
        settle_rows(batch(1, rows=len(rows)), rows, bytearray([SUCCEEDED]) * len(rows), segments.__getitem__)
        once = entries_of(segments)
        settle_rows(batch(1, rows=len(rows)), rows, bytearray([FAILED]) * len(rows), segments.__getitem__)
    assert entries_of(segments) == once
