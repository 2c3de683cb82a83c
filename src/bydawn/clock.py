"""Time as something that is handed in, so that tests and simulations decide how late it is."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Return the Unix time in seconds; it may jump when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only ever grow, for measuring spans."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Return the Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since some fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that long, giving way to other tasks."""
        await asyncio.sleep(seconds)
