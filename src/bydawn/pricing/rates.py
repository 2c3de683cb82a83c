"""The prices of one model on one day, and what they make of a row's tokens.

Money is counted in whole pico-dollars (10⁻¹² US$): a price of one US$ per million tokens is 1,000,000 of them per
token, and every published price is a whole number of them. So sums over millions of rows are exact, and fast.

Only tokens are priced. What providers charge beside them (web searches by the call, for example) is not in a row's
usage and not in these costs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bydawn.core.result import Usage

PICO = 10**12
"""Pico-dollars in a US dollar."""

_TOKENS = 10**6
_PICO_PER_TOKEN = PICO // _TOKENS


def usd(picousd: int) -> Decimal:
    """The amount in US$, exactly."""
    return Decimal(picousd).scaleb(-12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Prices in US$ per million tokens, for rows with more than ``above`` input tokens.

    ``cached`` is the price of input read from the provider's cache, ``cache_write`` of input written to it; usage does
    not tell written tokens apart, so that price only counts towards the worst case.
    """

    above: int = 0
    input: Decimal
    cached: Decimal
    output: Decimal
    cache_write: Decimal

    input_pico: int = field(init=False, repr=False)
    cached_pico: int = field(init=False, repr=False)
    output_pico: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("input", "cached", "output"):
            object.__setattr__(self, f"{name}_pico", _pico_per_token(getattr(self, name)))

    @property
    def dearest_input_pico(self) -> int:
        """The most that one input token can cost, in pico-dollars."""
        return _pico_per_token(max(self.input, self.cached, self.cache_write))


def _pico_per_token(usd_per_million: Decimal) -> int:
    """A price per million tokens as whole pico-dollars per token, rounded up should it ever be finer than that."""
    return int((usd_per_million * _PICO_PER_TOKEN).to_integral_value(ROUND_CEILING))


@dataclass(frozen=True, slots=True)
class Tariff:
    """All tiers of one way of processing, the first for rows of any length, thresholds rising.

    A row is priced whole at the last tier whose threshold its input exceeds: that is how providers bill long contexts.
    """

    tiers: tuple[Tier, ...]
    base: Tier = field(init=False, repr=False)
    long_above: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", self.tiers[0])
        object.__setattr__(self, "long_above", self.tiers[1].above if len(self.tiers) > 1 else float("inf"))

    def picousd(self, usage: Usage) -> int:
        """What one row costs. Cached tokens are part of the input, and reasoning tokens of the output."""
        tokens, cached = usage.input_tokens, usage.cached_tokens
        tier = self.base if tokens <= self.long_above else self._tier(tokens)
        cached = min(cached, tokens) if cached else 0
        return (tokens - cached) * tier.input_pico + cached * tier.cached_pico + usage.output_tokens * tier.output_pico

    def worst_picousd(self, input_tokens: int, output_tokens: int) -> int:
        """The most that up to this many tokens can cost, whatever the cache does."""
        tiers = self.reachable(input_tokens)
        dearest_input = max(tier.dearest_input_pico for tier in tiers)
        return input_tokens * dearest_input + output_tokens * max(tier.output_pico for tier in tiers)

    def reachable(self, input_tokens: int) -> tuple[Tier, ...]:
        """The tiers a row of up to this many input tokens can be priced at."""
        return self.tiers[:1] + tuple(tier for tier in self.tiers[1:] if input_tokens > tier.above)

    def _tier(self, input_tokens: int) -> Tier:
        return self.reachable(input_tokens)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one model costs on one day: ``batch`` is what bydawn pays, ``live`` what the same calls cost one by one.

    ``source`` says where the prices come from; ``note`` what the user should know about them, if anything.
    """

    batch: Tariff
    live: Tariff
    source: str
    note: str | None = None

    def cost_picousd(self, usage: Usage) -> int:
        """The batch price of one row, in pico-dollars. Never call it with the sum of several rows: tiers go by row."""
        return self.batch.picousd(usage)

    def live_picousd(self, usage: Usage) -> int:
        """The price of the same row as a live call, in pico-dollars."""
        return self.live.picousd(usage)

    @property
    def input_usd_per_mtok(self) -> Decimal:
        """Batch price of a million input tokens; long contexts may cost more."""
        return self.batch.base.input

    @property
    def cached_usd_per_mtok(self) -> Decimal:
        """Batch price of a million cached input tokens."""
        return self.batch.base.cached

    @property
    def output_usd_per_mtok(self) -> Decimal:
        """Batch price of a million output tokens."""
        return self.batch.base.output

    @property
    def live_input_usd_per_mtok(self) -> Decimal:
        """Live price of a million input tokens."""
        return self.live.base.input

    @property
    def live_cached_usd_per_mtok(self) -> Decimal:
        """Live price of a million cached input tokens."""
        return self.live.base.cached

    @property
    def live_output_usd_per_mtok(self) -> Decimal:
        """Live price of a million output tokens."""
        return self.live.base.output


def worst_case_picousd(rates: Rates, input_tokens: int, max_output_tokens: int | None) -> int | None:
    """The most one row can cost in a batch, in pico-dollars; None where nothing bounds its output.

    ``input_tokens`` must be an upper bound itself (`tokens.at_most_tokens`) for the answer to be one. A model that
    charges nothing for output (embeddings) needs no bound.
    """
    if max_output_tokens is None:
        if any(tier.output_pico for tier in rates.batch.reachable(input_tokens)):
            return None
        max_output_tokens = 0
    return rates.batch.worst_picousd(input_tokens, max_output_tokens)
