"""Who works on a job: the operating system's lock on a file, which a dying process lets go by itself."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from bydawn.errors import JobBusy, StoreError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class JobLock:
    """The right to act on one job, held by at most one process (and one object in it) at a time."""

    def __init__(self, path: Path, job_id: str) -> None:
        self._path = path
        self._job_id = job_id
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock at once.

        Raises JobBusy, naming the holder's process id, when another one has it, and StoreError without a folder.
        """
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot lock job {self._job_id} ({self._path}): {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise JobBusy(
                f"another process (pid {holder}) works on job {self._job_id}",
                hint="It goes on by itself; `bydawn status --watch` follows it.",
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode("ascii"), 0)
        self._file = file

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two different files."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> JobLock:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
