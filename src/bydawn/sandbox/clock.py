"""The sandbox's own time: it runs at a chosen speed and can be pushed forward."""

from __future__ import annotations

import threading
import time


class VirtualClock:
    """Virtual Unix seconds, growing by `speed` per real second from `start`. Never goes back."""

    def __init__(self, start: float, speed: float) -> None:
        self.speed = speed
        self._start = start
        self._real_start = time.monotonic()
        self._lock = threading.Lock()

    def now(self) -> float:
        """Virtual Unix time in seconds."""
        with self._lock:
            return self._start + (time.monotonic() - self._real_start) * self.speed

    def advance(self, seconds: float) -> float:
        """Jump forward and return the new time. Raises ValueError for a negative jump."""
        if seconds < 0:
            raise ValueError(f"the clock only goes forward, got {seconds!r} seconds")
        with self._lock:
            self._start += seconds
        return self.now()

    def real_seconds_until(self, moment: float) -> float | None:
        """Real seconds until the virtual `moment`; None when time stands still."""
        if self.speed == 0:
            return None
        return max(0.0, (moment - self.now()) / self.speed)
