"""Lines with a time in front, for logs and pipes: what changed, and not too often."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bydawn.cli.display import words
from bydawn.cli.texts import adjustment, count
from bydawn.core.events import BatchMoved, Notice, Planning, Progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, TextIO

    from bydawn.core.adjustment import Adjustment
    from bydawn.core.events import Event

PROGRESS_EVERY_S = 10.0
"""At most one line about progress in so many seconds: a job of a day makes a log that can still be read."""


class PlainDisplay:
    """Writes a line per notice and per batch that moved, and now and then one about the whole job."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.time) -> None:
        self._stream = stream
        self._clock = clock
        self._progress_due = 0.0
        self._last_progress = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return

    def __call__(self, event: Event) -> None:
        match event:
            case Notice():
                self._write(words.notice(event))
            case BatchMoved():
                self._write(words.batch_moved(event))
            case Planning():
                self._write_now_and_then(f"reading the input: {count(event.rows, 'row')}")
            case Progress():
                self._write_now_and_then(words.progress_line(event.status))

    def adjusted(self, changes: tuple[tuple[Adjustment, int], ...]) -> None:
        """Write one line per change."""
        for change, rows in changes:
            self._write(adjustment(change, rows))

    def _write_now_and_then(self, line: str) -> None:
        if line != self._last_progress and self._clock() >= self._progress_due:
            self._progress_due = self._clock() + PROGRESS_EVERY_S
            self._last_progress = line
            self._write(line)

    def _write(self, line: str) -> None:
        stamp = time.strftime("%H:%M:%S", time.localtime(self._clock()))
        self._stream.write(f"{stamp}  {line}\n")
        self._stream.flush()


class QuietDisplay:
    """Writes nothing but notices that need an action."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice) and event.level == "error":
            self._stream.write(words.notice(event) + "\n")
            self._stream.flush()

    def adjusted(self, changes: tuple[tuple[Adjustment, int], ...]) -> None:
        """Adjustments are no errors."""
