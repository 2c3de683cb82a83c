"""Writes a file whole or not at all: a temporary file in the same folder, flushed to disk, renamed into place."""

from __future__ import annotations

import glob
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUFFER_BYTES = 1 << 20
PRIVATE = 0o600


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """Open a file that becomes ``path`` when the block ends well; otherwise ``path`` stays as it was.

    Permissions are ``mode``; without one those of the file replaced, or what the umask leaves of 0666. Through a
    symbolic link the file it names is replaced, not the link. Raises OSError.
    """
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.bydawn-{os.getpid()}-{os.urandom(4).hex()}.part")
    _sweep(target)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
    try:
        with open(descriptor, "wb", buffering=_BUFFER_BYTES) as file:  # noqa: PTH123 - a descriptor, not a path
            if mode is None and target.exists():
                os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(descriptor)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sweep(target: Path) -> None:
    """Remove what processes that died while writing ``target`` have left beside it."""
    start = f".{target.name}.bydawn-"
    for path in target.parent.glob(f"{glob.escape(start)}*.part"):
        number = path.name.removeprefix(start).partition("-")[0]
        if number.isdecimal() and not _is_alive(int(number)):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
