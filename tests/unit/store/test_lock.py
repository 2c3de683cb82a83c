"""Who works on a job: one process at a time, and a dead one lets go by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bydawn.errors import JobBusy, StoreError
from bydawn.store.lock import JobLock

_HOLDER = """
import sys
from pathlib import Path
from bydawn.store.lock import JobLock
JobLock(Path(sys.argv[1]), "job").acquire()
print("held", flush=True)
sys.stdin.read()
"""


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_second_holder_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with JobLock(tmp_path / "lock", "abc"):
        with pytest.raises(JobBusy, match=rf"pid {os.getpid()}\) works on job abc") as caught:
            JobLock(tmp_path / "lock", "abc").acquire()
        assert caught.value.hint


def test_a_refused_holder_neither_breaks_the_lock_nor_leaks_files(tmp_path: Path) -> None:
    with JobLock(tmp_path / "lock", "abc"):
        before = open_files()
        for _ in range(5):
            with pytest.raises(JobBusy):
                JobLock(tmp_path / "lock", "abc").acquire()
        assert open_files() == before


def test_it_is_let_go_in_the_end_whatever_happened(tmp_path: Path) -> None:
    lock = JobLock(tmp_path / "lock", "abc")
    with pytest.raises(RuntimeError), lock:
        raise RuntimeError
    with lock:
        pass
    lock.release()
    with JobLock(tmp_path / "lock", "abc"):
        pass


def test_other_jobs_are_not_held_up(tmp_path: Path) -> None:
    with JobLock(tmp_path / "one", "one"), JobLock(tmp_path / "two", "two"):
        pass


def test_the_file_stays_and_names_the_last_holder_only(tmp_path: Path) -> None:
    """Removing it would let two processes lock two different files of one name."""
    (tmp_path / "lock").write_bytes(b"12345678901234\n")
    with JobLock(tmp_path / "lock", "abc"):
        pass
    assert (tmp_path / "lock").read_bytes() == b"%d\n" % os.getpid()


def test_a_holder_that_is_killed_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, os.fspath(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(JobBusy, match=f"pid {holder.pid}"):
                JobLock(path, "job").acquire()
        finally:
            holder.kill()
    with JobLock(path, "job"):
        pass


def test_a_lock_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="lock"):
        JobLock(tmp_path / "missing" / "lock", "abc").acquire()
