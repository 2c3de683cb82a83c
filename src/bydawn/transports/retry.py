"""When a call that failed is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    ``attempts`` bounds the sendings of one call, the first included; ``first_s`` is the longest wait after the first
    failure, and it doubles with every further one up to ``max_s``.
    """

    attempts: int = 5
    first_s: float = 0.5
    max_s: float = 30.0

    def delay_s(self, failures: int, rng: Random, asked_s: float | None) -> float | None:
        """Return how long to wait after the ``failures``-th failure (1 is the first), or None to give up.

        ``asked_s`` is what the provider asked for. It is never cut short: a longer wait than ``max_s`` is left to the
        caller, who can remember it.
        """
        asked = asked_s or 0.0
        if failures >= self.attempts or asked > self.max_s:
            return None
        backoff = min(self.max_s, self.first_s * 2.0 ** (failures - 1))
        return max(asked, rng.uniform(0.0, backoff))
