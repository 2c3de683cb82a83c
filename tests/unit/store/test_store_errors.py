"""A database that cannot be used says why, and what to do; nothing is half done."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bydawn.core.states import IllegalMove
from bydawn.errors import JobNotFound, SchemaTooNew, StoreDamaged, StoreError
from bydawn.store.ledger import Segment
from bydawn.store.queries import migrations
from bydawn.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Callable


def dump(store: Store) -> list[str]:
    """The whole database as SQL."""
    db = sqlite3.connect(store.path)
    try:
        return list(db.iterdump())
    finally:
        db.close()


def open_store(path: Path) -> Store:
    return Store(path, lambda: 0.0)


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bydawn.db"
    open_store(path).close()
    newest = migrations()[-1][0]
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {newest + 1}")
    db.close()
    with pytest.raises(SchemaTooNew, match=f"state version {newest + 1}, this one knows {newest}") as caught:
        open_store(path)
    assert "Update bydawn" in (caught.value.hint or "")
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (newest + 1,)
    db.close()


def test_a_file_that_is_no_database_is_damaged_state(tmp_path: Path) -> None:
    path = tmp_path / "bydawn.db"
    path.write_bytes(b"this was never a database " * 100)
    with pytest.raises(StoreDamaged, match="is damaged") as caught:
        open_store(path)
    assert "backup" in (caught.value.hint or "")
    assert path.read_bytes().startswith(b"this was never")


def test_a_database_with_a_broken_page_is_damaged_state(tmp_path: Path, add_job: Callable[..., str]) -> None:
    add_job("one")
    path = tmp_path / "copy.db"
    source, target = sqlite3.connect(tmp_path / "bydawn.db"), sqlite3.connect(path)
    source.backup(target)
    source.close()
    target.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreDamaged, match="is damaged"):
        open_store(path).jobs()


@pytest.mark.parametrize("place", ["missing/bydawn.db", "file/bydawn.db", "."])
def test_a_place_that_cannot_hold_a_database_is_a_store_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / place)
    assert "BYDAWN_HOME" in (caught.value.hint or "")


def test_a_read_only_folder_is_a_store_error_with_a_hint() -> None:
    """/proc takes no files, not even from root, whom permissions do not stop."""
    with pytest.raises(StoreError) as caught:
        open_store(Path("/proc/bydawn.db"))
    assert "you may write to it" in (caught.value.hint or "")


def test_a_full_disk_says_so_and_changes_nothing(store: Store, add_job: Callable[..., str]) -> None:
    """SQLite rolls back by itself then; our own rollback must not hide the reason. And afterwards work goes on."""
    add_job("one")
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    before = dump(store)
    with pytest.raises(StoreError, match="disk is full") as caught:
        store.put_segments("one", [Segment(number, bytearray(9999), None) for number in range(50)])
    assert "Free some disk space" in (caught.value.hint or "")
    assert dump(store) == before
    store._db.execute("PRAGMA max_page_count = 100000")
    store.put_segments("one", [Segment(0)])
    assert [segment.number for segment in store.segments("one")] == [0]


def test_a_locked_database_is_a_store_error(store: Store) -> None:
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store._db.execute("PRAGMA busy_timeout = 0")
    with pytest.raises(StoreError, match="locked"):
        store.learn_quota("live", "lane", 1)
    other.execute("ROLLBACK")
    other.close()
    store.learn_quota("live", "lane", 1)


def test_a_missing_job_is_not_found(store: Store) -> None:
    with pytest.raises(JobNotFound, match="no job 'nope'"):
        store.job("nope")
    assert store.find_job("nope") is None


def test_a_missing_or_cut_segment_is_damaged_state(store: Store, add_job: Callable[..., str]) -> None:
    add_job("one")
    with pytest.raises(StoreDamaged, match="segment 0 is not in"):
        store.segment("one", 0)
    store.put_segments("one", [Segment(0, bytearray(3), None)])
    with pytest.raises(StoreDamaged, match="job one: ledger segment 0 has 3 bytes"):
        store.segment("one", 0)


def test_a_move_from_a_state_that_is_no_longer_is_refused(store: Store, add_job: Callable[..., str]) -> None:
    add_job("one")
    stale = store.batches("one")[0]
    store.move_batch(stale, "send", sent_at_s=1.0)
    before = dump(store)
    for change in (
        lambda: store.move_batch(stale, "send"),
        lambda: store.update_batch(stale, note="x"),
        lambda: store.collect(stale, "withdraw", [Segment(0, bytearray(b"\x06"))], waiting=0),
        lambda: store.replan(stale, [Segment(0)], []),
    ):
        with pytest.raises(StoreError, match="batch 1 of job one is no longer planned"):
            change()
    assert dump(store) == before


def test_a_stale_job_is_not_moved(store: Store, add_job: Callable[..., str]) -> None:
    add_job("one")
    stale = store.job("one")
    store.move_job(stale, "pause", reason="no money")
    with pytest.raises(StoreError, match="changed by another process"):
        store.move_job(stale, "finish")
    assert (store.job("one").state, store.job("one").reason) == ("paused", "no money")


def test_an_illegal_event_leaves_the_database_as_it_was(store: Store, add_job: Callable[..., str]) -> None:
    add_job("one")
    batch, before = store.batches("one")[0], dump(store)
    with pytest.raises(IllegalMove):
        store.move_batch(batch, "collect", note="never")
    with pytest.raises(IllegalMove):
        store.collect(batch, "collect", [Segment(0, bytearray(b"\x03"))], waiting=0)
    with pytest.raises(IllegalMove):
        store.move_job(store.job("one"), "resume")
    assert dump(store) == before
    store.move_batch(batch, "send", sent_at_s=1.0)


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        ("accepted", {}),
        ("accepted", {"provider_batch_id": "batch_1", "waiting": 1}),
    ],
)
def test_the_schema_refuses_what_the_columns_cannot_mean(
    store: Store, add_job: Callable[..., str], event: str, changes: dict[str, object]
) -> None:
    """No batch at the provider without its id there; no rows that wait in a batch that still has them."""
    add_job("one")
    batch = store.move_batch(store.batches("one")[0], "send", sent_at_s=1.0)
    with pytest.raises(StoreError, match="CHECK constraint failed"):
        store.move_batch(batch, event, **changes)
    assert store.batches("one") == [batch]


def test_a_batch_does_not_end_without_a_reason(store: Store, add_job: Callable[..., str]) -> None:
    add_job("one")
    batch = store.move_batch(store.batches("one")[0], "send", sent_at_s=1.0)
    batch = store.move_batch(batch, "accepted", provider_batch_id="batch_1")
    for reason in ({}, {"end_reason": "bored"}):
        with pytest.raises(StoreError, match="CHECK constraint failed"):
            store.move_batch(batch, "end", **reason)


def test_only_columns_that_may_change_can_be_set(store: Store, add_job: Callable[..., str]) -> None:
    add_job("one")
    for column in ("tag", "state", "rows", "job_id = 'x', note"):
        with pytest.raises(AssertionError):
            store.update_batch(store.batches("one")[0], **{column: "x"})


def test_a_plan_is_committed_whole_or_not_at_all(
    store: Store, add_job: Callable[..., str], new_batch: Callable[..., object]
) -> None:
    """A tag must be unique in the home: it is how a batch is found again at the provider."""
    add_job("one", new_batch(1, tag="same"))
    with pytest.raises(StoreError, match="UNIQUE constraint failed"):
        add_job("two", new_batch(1, tag="other"), new_batch(2, tag="same"))
    assert store.job("two").state == "planning"
    assert store.batches("two") == []
    assert store.lanes("two") == []


_CRASH = """
import os, sys
from pathlib import Path
from bydawn.store.sqlite import Store
store = Store(Path(sys.argv[1]), lambda: 0.0)
with store._transaction() as db:
    db.execute("UPDATE job SET name = 'half done'")
    os._exit(9)
"""


def test_a_process_that_dies_in_a_transaction_leaves_nothing_of_it(store: Store, add_job: Callable[..., str]) -> None:
    add_job("one")
    died = subprocess.run([sys.executable, "-c", _CRASH, os.fspath(store.path)], check=False, timeout=60)
    assert died.returncode == 9
    assert store.job("one").name == "rows"
