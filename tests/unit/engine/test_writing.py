"""Batch files on disk: private, whole, and there for good before anything counts on them."""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from bydawn.engine.rows import load_rows
from bydawn.engine.writing import DiskShelf, NoShelf

if TYPE_CHECKING:
    import pytest

    from bydawn.store.files import JobFiles


def test_a_closed_batch_is_on_disk_for_good(files: JobFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut the database may name the batch: then its lines and ordinals must be there."""
    synced: list[tuple[Path, int]] = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        fsync(descriptor)
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink(), os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", spy)
    shelf = DiskShelf(files)
    file = shelf.open(1)
    file.write(b"line\n")
    shelf.close(1, file, array("Q", [4]))
    assert {(files.requests(1), 5), (files.rows(1), 8)} <= set(synced)
    assert synced[-1][0] == files.requests(1).parent


def test_a_batch_is_read_as_it_was_written(files: JobFiles) -> None:
    shelf = DiskShelf(files)
    file = shelf.open(7)
    file.write(b"one\ntwo\n")
    shelf.close(7, file, array("Q", [3, 9]))
    assert files.requests(7).read_bytes() == b"one\ntwo\n"
    assert list(load_rows(files.rows(7), 2)) == [3, 9]
    assert {path.stat().st_mode & 0o777 for path in files.requests(7).parent.iterdir()} == {0o600}


def test_a_batch_that_is_planned_again_starts_afresh(files: JobFiles) -> None:
    """After a crash the same number is written once more."""
    files.requests(1).write_bytes(b"left over from before\n")
    shelf = DiskShelf(files)
    file = shelf.open(1)
    file.write(b"new\n")
    shelf.close(1, file, array("Q", [0]))
    assert files.requests(1).read_bytes() == b"new\n"


def test_checking_writes_nothing(tmp_path: Path) -> None:
    shelf = NoShelf()
    file = shelf.open(1)
    file.write(b"line\n")
    shelf.close(1, file, array("Q", [0]))
    assert file.closed
    assert list(tmp_path.iterdir()) == []
