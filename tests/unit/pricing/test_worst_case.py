"""The worst case must hold for whatever a row comes back with."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bydawn.core.model import ModelRef
from bydawn.core.result import Usage
from bydawn.pricing import load_prices, usd, worst_case_picousd

if TYPE_CHECKING:
    from bydawn.pricing.rates import Rates

DAY = dt.date(2026, 11, 22)
BOOK = load_prices()


def rates_of(name: str) -> Rates:
    rates = BOOK.rates(ModelRef("openai", name), DAY)
    assert rates is not None
    return rates


@given(
    name=st.sampled_from(["gpt-4o-mini", "gpt-5.4", "gpt-5.6-sol", "gpt-5.5-pro", "text-embedding-3-small"]),
    bounds=st.tuples(st.integers(0, 600_000), st.integers(0, 200_000)),
    parts=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
)
def test_no_row_within_its_bounds_costs_more(
    name: str, bounds: tuple[int, int], parts: tuple[float, float, float]
) -> None:
    tokens = int(bounds[0] * parts[0])
    usage = Usage(input_tokens=tokens, cached_tokens=int(tokens * parts[1]), output_tokens=int(bounds[1] * parts[2]))
    rates = rates_of(name)
    worst = worst_case_picousd(rates, *bounds)
    assert worst is not None
    assert rates.cost_picousd(usage) <= worst


def test_without_a_bound_on_the_output_there_is_no_worst_case() -> None:
    assert worst_case_picousd(rates_of("gpt-4o-mini"), 1_000, None) is None


def test_embeddings_have_a_worst_case_without_one() -> None:
    worst = worst_case_picousd(rates_of("text-embedding-3-small"), 1_000_000, None)
    assert worst is not None
    assert usd(worst) == Decimal("0.02")


def test_writing_to_the_cache_counts_at_its_higher_price() -> None:
    """gpt-5.6 charges more for input it writes to the cache; a budget has to expect that."""
    rates = rates_of("gpt-5.6-sol")
    worst = worst_case_picousd(rates, 1_000, 0)
    assert worst == 1_000 * 2_500_000
    assert rates.cost_picousd(Usage(input_tokens=1_000)) == 1_000 * 2_000_000


@pytest.mark.parametrize(("input_tokens", "per_token"), [(272_000, 1_250_000), (272_001, 2_500_000)])
def test_the_long_context_price_counts_only_beyond_its_threshold(input_tokens: int, per_token: int) -> None:
    assert worst_case_picousd(rates_of("gpt-5.4"), input_tokens, 0) == input_tokens * per_token
