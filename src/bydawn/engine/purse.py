"""Adds up the tokens of a batch's answers and what they cost, answer by answer.

Each answer is priced by itself, as long-context prices demand. What the same answers would have cost as live calls is
added up by tokens where the live price is one for all lengths, which is exact and half the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bydawn.core.result import Usage
from bydawn.pricing import PICO

if TYPE_CHECKING:
    from bydawn.pricing import Rates
    from bydawn.store.records import Tally


class Purse:
    """The sums of one batch. Without rates tokens are counted and answers are unpriced."""

    __slots__ = ("_cached", "_cost", "_flat", "_input", "_live", "_output", "_rates", "_reasoning", "_unpriced")

    def __init__(self, rates: Rates | None) -> None:
        self._rates = rates
        self._flat = rates is not None and len(rates.live.tiers) == 1
        self._input = self._output = self._cached = self._reasoning = 0
        self._cost = self._live = self._unpriced = 0

    def spend(self, usage: Usage | None) -> float | None:
        """Take in one answer's tokens; return its cost in US$, None when it is unknown."""
        if usage is None:
            return None
        self._input += usage.input_tokens
        self._output += usage.output_tokens
        self._cached += min(usage.cached_tokens, usage.input_tokens)
        self._reasoning += usage.reasoning_tokens
        rates = self._rates
        if rates is None:
            self._unpriced += 1
            return None
        cost = rates.batch.picousd(usage)
        self._cost += cost
        if not self._flat:
            self._live += rates.live.picousd(usage)
        return cost / PICO

    def empty_into(self, tally: Tally) -> None:
        """Write the sums down."""
        if self._rates is not None and self._flat:
            self._live = self._rates.live.picousd(Usage(self._input, self._output, self._cached))
        tally.input_tokens = self._input
        tally.output_tokens = self._output
        tally.cached_tokens = self._cached
        tally.reasoning_tokens = self._reasoning
        tally.cost_pico = self._cost
        tally.live_pico = self._live
        tally.unpriced = self._unpriced
