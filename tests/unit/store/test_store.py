"""What is put into the store is what comes out of it, for every reader of the file."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from bydawn.core.adjustment import Adjustment
from bydawn.core.batch import Counts, Lane
from bydawn.core.model import ModelRef
from bydawn.store.ledger import CANCELLED, EXPIRED, FAILED, PENDING, SUCCEEDED, VOID, WAITING, Segment
from bydawn.store.queries import migrations
from bydawn.store.records import Plan, Tally, lane_key
from bydawn.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from bydawn.store.records import BatchRecord, NewBatch

EMBEDDINGS = Lane(ModelRef("openai", "ft:text-embedding-3/x"), "embeddings", "second")


def advance(store: Store, batch: BatchRecord, *steps: tuple[str, dict[str, object]]) -> BatchRecord:
    for event, changes in steps:
        batch = store.move_batch(batch, event, **changes)
    return batch


SENT = ("send", {"sent_at_s": 5.0})
ACCEPTED = ("accepted", {"provider_batch_id": "batch_1"})


def test_a_new_file_is_migrated_and_opened_again_as_it_is(store: Store, add_job: Callable[..., str]) -> None:
    add_job("one")
    store.close()
    again = Store(store.path, lambda: 0.0)
    assert again.job("one").state == "running"
    assert again._db.execute("PRAGMA user_version").fetchone()[0] == migrations()[-1][0]
    assert again._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert again._db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert again._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    again.close()


def test_a_plan_comes_back_as_it_was_given(store: Store, new_batch: Callable[..., NewBatch]) -> None:
    dropped = Adjustment("dropped", "temperature", "not accepted", "no-temperature", "a source", "confirmed")
    store.create_job(
        job_id="j", fingerprint="f", name="n", realm="live", options='{"models":["a/b"]}', source="rows.jsonl"
    )
    planning = store.job("j")
    assert (planning.state, planning.rows, planning.adjustments, planning.notices) == ("planning", 0, (), ())
    batches = (new_batch(1), new_batch(2, lane=1, refusals=1, answer_format='{"type":"json_object"}'))
    lanes = (Lane(ModelRef("openai", "gpt-4o"), "chat"), EMBEDDINGS)
    store.commit_plan(
        "j",
        Plan(rows=3, width=2, requests=4, lanes=lanes, batches=batches, adjustments=((dropped, 3),), notices=("é",)),
    )
    job = store.job("j")
    assert (job.state, job.rows, job.width, job.requests) == ("running", 3, 2, 4)
    assert (job.adjustments, job.notices, job.options) == (((dropped, 3),), ("é",), '{"models":["a/b"]}')
    assert job.updated_at_s > job.created_at_s
    assert tuple(store.lanes("j")) == lanes
    stored = store.batches("j")
    for given, found in zip(batches, stored, strict=True):
        assert {name: getattr(found, name) for name in given.__slots__} == {
            name: getattr(given, name) for name in given.__slots__
        }
        assert (found.state, found.facts, found.counts, found.tally, found.waiting) == ("planned", {}, None, None, 0)


def test_columns_of_a_batch_come_back_typed(store: Store, add_job: Callable[..., str]) -> None:
    add_job("one")
    tally = Tally(rows=2, succeeded=1, missing=1, cost_pico=10**15, unpriced=1)
    batch = advance(store, store.batches("one")[0], SENT, ACCEPTED)
    assert (batch.state, batch.sent_at_s, batch.provider_batch_id) == ("in_progress", 5.0, "batch_1")
    batch = store.update_batch(batch, counts=Counts(2, 1, 0), facts={"output": "file-é"}, looks=3, look_at_s=9.5)
    assert (batch.counts, batch.facts, batch.looks, batch.look_at_s) == (Counts(2, 1, 0), {"output": "file-é"}, 3, 9.5)
    batch = store.move_batch(batch, "end", end_reason="expired", counts=None, ended_at_s=7.0)
    assert (batch.end_reason, batch.counts, batch.facts) == ("expired", None, {"output": "file-é"})
    batch = store.collect(batch, "collect", [Segment(0, bytearray([3, 2]))], waiting=1, tally=tally)
    assert (batch.state, batch.tally, batch.waiting) == ("collected", tally, 1)
    assert store.batches("one") == [batch]


def test_only_the_named_batch_of_the_named_job_changes(
    store: Store, add_job: Callable[..., str], new_batch: Callable[..., NewBatch]
) -> None:
    add_job("one", new_batch(1, tag="a"), new_batch(2, tag="b"))
    add_job("two", new_batch(1, tag="c"))
    advance(store, store.batches("one")[0], SENT)
    assert [batch.state for batch in store.batches("one") + store.batches("two")] == [
        "submitting",
        "planned",
        "planned",
    ]


def test_a_superseded_job_gives_up_its_fingerprint_and_stays(store: Store, add_job: Callable[..., str]) -> None:
    add_job("old")
    store.create_job(
        job_id="new", fingerprint="print-old", name="n", realm="live", options="{}", source="s", supersede=True
    )
    found = store.find_job("print-old")
    assert found is not None
    assert found.job_id == "new"
    assert [job.job_id for job in store.jobs()] == ["new", "old"]


def test_a_deleted_job_takes_everything_with_it(store: Store, add_job: Callable[..., str]) -> None:
    for job_id in ("one", "two"):
        add_job(job_id)
        store.put_segments(job_id, [Segment(0, bytearray([1]))])
    store.delete_job("one")
    db = sqlite3.connect(store.path)
    for table in ("job", "lane", "batch", "ledger"):
        assert db.execute(f"SELECT DISTINCT job_id FROM {table}").fetchall() == [("two",)]
    db.close()


def test_a_plan_that_was_cut_off_can_be_made_again(store: Store) -> None:
    store.create_job(job_id="j", fingerprint="f", name="n", realm="live", options="{}", source="s")
    store.put_segments("j", [Segment(0, bytearray([1, 1])), Segment(3, bytearray([1]))])
    store.reset_plan("j")
    assert list(store.segments("j")) == []
    assert store.job("j").state == "planning"


def test_segments_are_replaced_and_read_in_order(store: Store, add_job: Callable[..., str]) -> None:
    add_job("one")
    for number, states in ((10, [PENDING]), (2, [WAITING]), (10, [SUCCEEDED, FAILED])):
        segment = Segment(number, bytearray(states))
        segment.owners.extend([1] * len(states))
        store.put_segments("one", [segment])
    assert [(part.number, list(part.states)) for part in store.segments("one")] == [(2, [2]), (10, [3, 4])]


def test_standing_counts_final_states_only(store: Store, add_job: Callable[..., str]) -> None:
    add_job("one")
    for number in (0, 1):
        states = [VOID, PENDING, WAITING, SUCCEEDED, SUCCEEDED, FAILED, EXPIRED, CANCELLED]
        segment = Segment(number, bytearray(states))
        segment.owners.extend([1] * len(states))
        store.put_segments("one", [segment])
    assert store.standing("one") == {"succeeded": 4, "failed": 2, "expired": 2, "cancelled": 2}


def test_replanning_is_one_step(store: Store, add_job: Callable[..., str], new_batch: Callable[..., NewBatch]) -> None:
    add_job("one")
    batch = advance(store, store.batches("one")[0], SENT, ACCEPTED, ("end", {"end_reason": "expired"}))
    segment = Segment(0, bytearray([2, 2]))
    segment.owners.extend([1, 1])
    batch = store.collect(batch, "collect", [segment], waiting=2)
    segment.owners[0] = segment.owners[1] = 2
    segment.states[:] = bytes([PENDING, PENDING])
    store.replan(batch, [segment], [new_batch(2, tag="again", attempt=2)])
    old, new = store.batches("one")
    assert (old.state, old.waiting) == ("collected", 0)
    assert (new.state, new.attempt, new.tag) == ("planned", 2, "again")
    assert list(store.segment("one", 0).owners) == [2, 2]


def test_requeued_rows_are_counted_and_given_attempts(
    store: Store, add_job: Callable[..., str], new_batch: Callable[..., NewBatch]
) -> None:
    add_job("one", *(new_batch(number, tag=f"t{number}", attempts_left=number - 1) for number in (1, 2, 3)))
    for batch in store.batches("one"):
        store.collect(store.update_batch(batch, look_at_s=99.0), "withdraw", [], waiting=batch.number)
    segment = Segment(0, bytearray([2]))
    segment.owners.append(1)
    store.requeue("one", [segment], {1: 4, 3: 1}, attempts=1)
    assert [(b.waiting, b.attempts_left, b.look_at_s) for b in store.batches("one")] == [
        (5, 1, 0.0),
        (2, 1, 99.0),
        (4, 2, 0.0),
    ]
    assert store.segment("one", 0).states == b"\x02"


def test_tokens_at_the_provider_are_summed_by_lane_over_all_jobs_of_a_realm(
    store: Store, add_job: Callable[..., str], new_batch: Callable[..., NewBatch]
) -> None:
    """Planned and ended batches do not count; a batch in doubt does, because it may run."""
    for job_id, realm in (("one", "live"), ("two", "live"), ("three", "sandbox")):
        add_job(job_id, *(new_batch(n, tag=f"{job_id}{n}", input_tokens=10**n) for n in range(6)), realm=realm)
        steps = {
            1: (SENT,),
            2: (SENT, ("lost", {})),
            3: (SENT, ACCEPTED),
            4: (SENT, ACCEPTED, ("cancel", {})),
            5: (SENT, ACCEPTED, ("end", {"end_reason": "completed"})),
        }
        for batch in store.batches(job_id):
            advance(store, batch, *steps.get(batch.number, ()))
    add_job("four", new_batch(1, tag="four", input_tokens=5), lane=EMBEDDINGS)
    advance(store, store.batches("four")[0], SENT)
    chat = lane_key(store.lanes("one")[0])
    assert store.enqueued_tokens("live") == {chat: 2 * 11110, lane_key(EMBEDDINGS): 5}
    assert store.enqueued_tokens("sandbox") == {chat: 11110}
    assert store.enqueued_tokens("elsewhere") == {}


def test_the_last_quota_learned_counts_and_realms_do_not_mix(store: Store) -> None:
    store.learn_quota("live", "a", 90_000)
    store.learn_quota("live", "a", 2_000_000)
    store.learn_quota("sandbox", "a", 7)
    assert store.quotas("live") == {"a": 2_000_000}
    assert store.quotas("sandbox") == {"a": 7}


def test_two_stores_on_one_file_see_each_others_commits(store: Store, add_job: Callable[..., str]) -> None:
    """As two processes have it, one of which works while the other shows how far it is."""
    other = Store(store.path, lambda: 0.0)
    add_job("one")
    seen = other.batches("one")[0]
    advance(store, store.batches("one")[0], SENT)
    assert other.batches("one")[0].state == "submitting"
    assert seen.state == "planned"
    other.move_batch(other.batches("one")[0], "lost")
    assert store.batches("one")[0].state == "in_doubt"
    other.close()
