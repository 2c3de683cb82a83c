"""Where a job's files lie, and what is removed when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bydawn.store.files import JobFiles, create_private

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    """The files of a job with one batch, all of them there, each ten bytes."""
    files = JobFiles(tmp_path, "job")
    files.create()
    for path in paths(files):
        path.write_bytes(b"0123456789")
    return files


def paths(files: JobFiles) -> set[Path]:
    sent = {files.ids, files.requests(1), files.rows(1)}
    came = {files.received(1, "output"), files.received(1, "error"), files.strays(1)}
    return sent | came | {files.results(1), files.index(1)}


def left(files: JobFiles) -> set[Path]:
    return {path for path in files.folder.rglob("*") if path.is_file()}


def test_every_file_has_a_place_of_its_own(files: JobFiles) -> None:
    assert len(paths(files)) == 8
    assert left(files) == paths(files)
    assert paths(files).isdisjoint({files.requests(2), files.rows(2), files.results(2), files.index(2)})


def test_a_plan_that_was_cut_off_is_dropped(files: JobFiles) -> None:
    files.drop_plan()
    assert left(files) == paths(files) - {files.requests(1), files.rows(1), files.ids}
    files.drop_plan()


def test_bodies_are_dropped_and_counted_and_results_stay_readable(files: JobFiles) -> None:
    """Which row has which record is in the index and the ordinals: both must outlive the bodies."""
    assert files.drop_bodies() == 40
    assert {files.results(1), files.index(1), files.rows(1), files.ids} <= left(files)
    assert files.requests(1) not in left(files)
    assert files.drop_bodies() == 0


def test_a_job_is_removed_whole_and_twice_without_harm(files: JobFiles) -> None:
    files.remove()
    assert not files.folder.exists()
    files.remove()


def test_a_private_file_starts_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old and long")
    with create_private(tmp_path / "file") as file:
        file.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
