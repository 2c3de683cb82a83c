"""Promise 8: nobody else on the machine can read prompts, answers or the database, whatever the umask says."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from bydawn.errors import StoreError
from bydawn.store.files import JobFiles, create_private, private_folder
from bydawn.store.lock import JobLock
from bydawn.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def wide_open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_the_database_and_its_side_files_are_private(tmp_path: Path) -> None:
    store = Store(tmp_path / "bydawn.db", lambda: 0.0)
    store.learn_quota("live", "lane", 1)
    modes = {path.name: mode(path) for path in tmp_path.iterdir()}
    store.close()
    assert modes == {"bydawn.db": "0o600", "bydawn.db-wal": "0o600", "bydawn.db-shm": "0o600"}


def test_every_folder_of_a_job_is_private(tmp_path: Path) -> None:
    """Also the ones between the home and the job, and the home itself when it is new."""
    home = tmp_path / "new" / "home"
    private_folder(home)
    files = JobFiles(home, "job")
    files.create()
    folders = [home, *(path for path in home.rglob("*") if path.is_dir())]
    assert {mode(folder) for folder in folders} == {"0o700"}
    assert {path.name for path in files.folder.iterdir()} == {"requests", "received", "results", "strays"}


def test_files_are_private(tmp_path: Path) -> None:
    create_private(tmp_path / "file").close()
    with JobLock(tmp_path / "lock", "job"):
        assert mode(tmp_path / "file") == mode(tmp_path / "lock") == "0o600"


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot make the folder") as caught:
        private_folder(tmp_path / "file" / "home")
    assert "BYDAWN_HOME" in (caught.value.hint or "")
