"""Where a job's big things lie.

    <home>/bydawn.db                     jobs, batches, packed ledger
    <home>/jobs/<job>/lock               held by the process that works on the job
                      ids                one JSON text per ordinal, when the input has ids of its own
                      requests/000001.jsonl   the exact bytes sent      requests/000001.rows   their ordinals
                      received/000001.output  the exact bytes received  received/000001.error
                      results/000001.jsonl    the decoded records       results/000001.index   where each row's is
                      strays/000001.jsonl     lines nobody asked for

Folders are 0700 and files 0600: prompts and answers are private to the user.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, BinaryIO

from bydawn.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

WRITE_BLOCK = 1 << 19
"""Lines are short and many: with Python's own 8 KB a batch file would take twenty thousand system calls."""

_FOLDERS = ("requests", "received", "results", "strays")


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it, that only the user can enter; raises StoreError when that cannot be done."""
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the folder {path}: {error.strerror}", hint="Set BYDAWN_HOME to a folder you may write to."
        ) from error
    return path


def create_private(path: Path) -> BinaryIO:
    """Open a new or emptied file for writing that only the user can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb", buffering=WRITE_BLOCK)


def sync_folder(path: Path) -> None:
    """Make renames and new files in ``path`` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class JobFiles:
    """The files of one job."""

    def __init__(self, home: Path, job_id: str) -> None:
        self.folder = home / "jobs" / job_id
        self.lock = self.folder / "lock"
        self.ids = self.folder / "ids"

    def create(self) -> None:
        """Make the folders."""
        for name in _FOLDERS:
            private_folder(self.folder / name)

    def requests(self, batch: int) -> Path:
        """The lines of a batch, as they are sent."""
        return self.folder / "requests" / f"{batch:06d}.jsonl"

    def rows(self, batch: int) -> Path:
        """The ordinals of those lines, eight bytes each."""
        return self.folder / "requests" / f"{batch:06d}.rows"

    def received(self, batch: int, kind: str) -> Path:
        """A result file as it came; ``kind`` is ``output`` or ``error``."""
        return self.folder / "received" / f"{batch:06d}.{kind}"

    def results(self, batch: int) -> Path:
        """The decoded records of a batch, in the order they came."""
        return self.folder / "results" / f"{batch:06d}.jsonl"

    def index(self, batch: int) -> Path:
        """Where in `results` and `received` each row of the batch is found."""
        return self.folder / "results" / f"{batch:06d}.index"

    def strays(self, batch: int) -> Path:
        """Lines that belong to no row of the batch, or came twice."""
        return self.folder / "strays" / f"{batch:06d}.jsonl"

    def drop_plan(self) -> None:
        """Remove what an interrupted planning wrote."""
        for path in (self.folder / "requests").glob("*"):
            path.unlink()
        self.ids.unlink(missing_ok=True)

    def drop_bodies(self) -> int:
        """Remove the bytes sent and received; return how many. Decoded results stay readable."""
        freed = 0
        for name in ("requests", "received", "strays"):
            for path in (self.folder / name).glob("*"):
                if path.suffix != ".rows":
                    freed += path.stat().st_size
                    path.unlink()
        return freed

    def remove(self) -> None:
        """Remove everything of the job."""
        shutil.rmtree(self.folder, ignore_errors=True)
