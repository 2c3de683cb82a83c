"""Virtual time: an event loop that never waits, and in which nothing happens beside it.

Where all tasks wait for timers, time jumps to the next one; what would be done in threads is done on the spot. So hours
pass in milliseconds and a run is a function of its inputs. Where all tasks wait for something that no timer will bring,
or time runs on without end, the job hangs: `Hang` says so.
"""

from __future__ import annotations

import asyncio
import selectors
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import patch

import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

T = TypeVar("T")

EPOCH = 1_795_000_000.0
"""Unix time at which virtual time begins: a day of November 2026."""

LONGEST_RUN_S = 40 * 86_400.0
"""No job of the tests may take longer: thirty days and some."""


class Hang(AssertionError):
    """The program under test waits for ever."""


class _JumpingSelector(selectors.SelectSelector):
    """Does not wait: moves the loop's time on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Hang("every task waits, and no timer is set")
        self.now_s += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. ``start_s`` and ``time`` are Unix seconds."""

    def __init__(self, start_s: float) -> None:
        self._jumping = _JumpingSelector()
        self._start_s = start_s
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since the loop began."""
        if self._jumping.now_s > LONGEST_RUN_S:
            raise Hang(f"nothing came to an end within {LONGEST_RUN_S / 86_400:.0f} virtual days")
        return self._jumping.now_s

    def now(self) -> float:
        """Unix seconds."""
        return self._start_s + self._jumping.now_s

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Do it here and now."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed on, as a thread would
            future.set_exception(error)
        return future


class LoopClock:
    """The running loop's time as a `bydawn.clock.Clock`. ``skew_s`` is by how much this machine's clock is wrong."""

    def __init__(self, loop: VirtualLoop, skew_s: float = 0.0) -> None:
        self._loop = loop
        self.skew_s = skew_s

    def now(self) -> float:
        """Return Unix seconds, as this machine believes."""
        return self._loop.now() + self.skew_s

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds)


def run_virtually(start_s: float, work: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> tuple[T, float]:
    """Run ``work`` in a loop of its own that begins at ``start_s``; return its result and the time at its end."""
    loops: list[VirtualLoop] = []

    def make() -> VirtualLoop:
        loops.append(VirtualLoop(start_s))
        return loops[-1]

    async def begin() -> T:
        return await work(loops[0])

    with without_threads(), asyncio.Runner(loop_factory=make) as runner:
        result = runner.run(begin())
        return result, loops[0].now()


@contextmanager
def without_threads() -> Iterator[None]:
    """Let what the sandbox would hand to a thread be done in place."""

    async def in_place(func: Callable[..., Any], *args: Any, **_: Any) -> Any:
        return func(*args)

    with patch.object(anyio.to_thread, "run_sync", in_place):
        yield
