"""Every moment at which a process can die and leave something behind: the steps of a run.

A step is reached *before* each thing that outlasts the process: a statement that changes the database or commits, a
file opened for writing, renamed, removed or synced, a folder made, a request sent, a piece of an answer taken. What has
happened by then is on disk or at the provider, and what comes after has not: so the state "after step N" is the state
"before step N + 1", and looking at each step once covers both sides of all of them.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    OnStep = Callable[[str, "Steps"], None]

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FILE_EVENTS = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"})
_CHANGING = ("COMMIT", "INSERT", "UPDATE", "DELETE", "CREATE", "PRAGMA user_version =")


class Steps:
    """Watches one run. ``on_step`` is called with each step's name; ``dirty`` are files written and not yet synced."""

    def __init__(self, folder: Path, on_step: OnStep) -> None:
        self._folder = str(folder)
        self._on_step = on_step
        self._inside = False
        self.dirty: set[Path] = set()

    def reach(self, name: str) -> None:
        """Report a step, unless the reporting itself has caused it."""
        if self._inside:
            return
        self._inside = True
        try:
            self._on_step(name, self)
        finally:
            self._inside = False

    def watch_database(self, db: sqlite3.Connection) -> None:
        """Report the statements of a connection that change something."""
        db.set_trace_callback(self._statement)

    def _statement(self, sql: str) -> None:
        if sql.startswith(_CHANGING):
            self.reach(f"sql {sql.split(' SET ')[0][:40]}")

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """Take in one of the interpreter's audit events."""
        if self._inside:
            return
        if event == "open":
            path, mode, flags = args
            if _is_within(path, self._folder) and (flags or 0) & _WRITES and mode != "r":
                self.reach(f"open {Path(path).name}")
                self.dirty.add(Path(path))
        elif event in _FILE_EVENTS and _is_within(args[0], self._folder):
            self.reach(f"{event} {Path(args[0]).name}")
            if event == "os.rename" and Path(args[0]) in self.dirty:
                self.dirty.discard(Path(args[0]))
                self.dirty.add(Path(args[1]))

    def sync(self, descriptor: int) -> None:
        """Stand in for `os.fsync`: the tests need no disk to turn, only the moment."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if _is_within(path, self._folder):
            self.reach(f"fsync {path.name}")
            self.dirty.discard(path)


def _is_within(path: Any, folder: str) -> bool:
    return isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(folder)  # type: ignore[arg-type]


_watching: Steps | None = None
_hooked = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watching is not None:
        _watching.audit(event, args)


@contextmanager
def watching(folder: Path, on_step: OnStep) -> Iterator[Steps]:
    """Report the steps of everything that happens in ``folder`` while the block runs."""
    global _watching, _hooked
    if not _hooked:
        sys.addaudithook(_hook)  # can never be removed: it asks each time whether anybody is watching
        _hooked = True
    steps = Steps(folder, on_step)
    _watching = steps
    try:
        with patch("os.fsync", steps.sync):
            yield steps
    finally:
        _watching = None
