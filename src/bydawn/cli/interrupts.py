"""Ctrl-C: the first one asks the work to stop at the next safe point, the second one ends the process.

Work runs in one asyncio task. A signal that comes while the task waits cancels it, and the client shields calls that
must not be torn. Code that does not give way to the loop (reading an input, writing results) is marked `blocking`;
there the signal raises KeyboardInterrupt on the spot, for that code is safe to leave anywhere. SIGTERM counts too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from bydawn.cli.errors import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\x1b[?25h"


class Interrupts:
    """Runs one piece of asynchronous work that the user may stop."""

    def __init__(self) -> None:
        self._seen = 0
        self._blocking = False
        self._cancel: Callable[[], object] | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run ``work`` to its end. Raises KeyboardInterrupt when it was stopped and did not say so itself."""
        with self._handling(), asyncio.Runner() as runner:
            try:
                return runner.run(self._as_task(work))
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None
            finally:
                self._cancel = None

    @contextmanager
    def blocking(self) -> Iterator[None]:
        """Mark code that does not give way to the loop: an interrupt leaves it right where it is."""
        self._blocking = True
        try:
            yield
        finally:
            self._blocking = False

    async def _as_task(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        assert task is not None
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        return await work()

    @contextmanager
    def _handling(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may have signal handlers; elsewhere the caller decides
            return
        before = [(number, signal.signal(number, self._on_signal)) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._seen += 1
        if self._seen > 1:
            _leave_at_once()
        if self._blocking or self._cancel is None:
            raise KeyboardInterrupt
        # os.write, because the signal may have come in the middle of a write to sys.stderr.
        os.write(2, b"\nstopping at the next safe point; Ctrl-C again stops at once (the state is safe)\n")
        self._cancel()


def _leave_at_once() -> None:
    """End the process as if it were killed: nothing durable depends on an orderly end."""
    if sys.stderr.isatty():
        os.write(2, _SHOW_CURSOR.encode())
    os.write(2, b"\nstopped\n")
    os._exit(INTERRUPTED)
