"""A user's own prices come first, and wrong ones are named."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from bydawn.core.model import ModelRef
from bydawn.core.result import Usage
from bydawn.errors import ConfigError
from bydawn.pricing import PICO, load_prices, usd

DAY = dt.date(2026, 11, 22)


def own_price(**entry: Any) -> dict[str, Any]:
    return {"price": [{"models": ["openai/gpt-6.2-*"], **entry}]}


def test_an_own_price_makes_an_unknown_model_known() -> None:
    """A float of TOML is the decimal it was written as, not its binary neighbour."""
    book = load_prices(own_price(live=[{"input": 0.15, "output": "0.6"}], batch=[{"input": 0.075, "output": "0.3"}]))
    rates = book.rates(ModelRef("openai", "gpt-6.2-sol"), DAY)
    assert rates is not None
    assert usd(rates.cost_picousd(Usage(input_tokens=1, output_tokens=1))) == Decimal("0.000000375")
    assert usd(rates.live_picousd(Usage(input_tokens=1, output_tokens=1))) == Decimal("0.00000075")
    assert rates.source == "your settings"
    assert rates.note is None


def test_an_own_live_price_alone_gets_the_documented_discount_and_says_so() -> None:
    rates = load_prices(own_price(live=[{"input": "2", "output": "8"}])).rates(ModelRef("openai", "gpt-6.2-sol"), DAY)
    assert rates is not None
    assert (rates.input_usd_per_mtok, rates.output_usd_per_mtok) == (Decimal(1), Decimal(4))
    assert rates.note is not None


def test_own_tiers_price_long_rows() -> None:
    tiers = [{"input": "1", "output": "2", "cached": "0.1"}, {"above": 1000, "input": "3", "output": "4"}]
    rates = load_prices(own_price(live=tiers, batch=tiers)).rates(ModelRef("openai", "gpt-6.2-sol"), DAY)
    assert rates is not None
    million = PICO // 10**6
    assert rates.cost_picousd(Usage(input_tokens=1000, cached_tokens=1000)) == 100 * million
    assert rates.cost_picousd(Usage(input_tokens=1001)) == 3 * 1001 * million


def test_an_own_price_wins_over_the_list() -> None:
    own = {"price": [{"models": ["openai/gpt-4o*"], "live": [{"input": 1}], "batch": [{"input": 1}], "note": "ours"}]}
    rates = load_prices(own).rates(ModelRef("openai", "gpt-4o-mini"), DAY)
    assert rates is not None
    assert (rates.input_usd_per_mtok, rates.note) == (Decimal(1), "ours")


def test_an_own_batch_price_keeps_the_listed_live_price() -> None:
    own = {"price": [{"models": ["openai/gpt-4o-mini"], "batch": [{"input": "0.01", "output": "0.01"}]}]}
    rates = load_prices(own).rates(ModelRef("openai", "gpt-4o-mini"), DAY)
    assert rates is not None
    assert (rates.input_usd_per_mtok, rates.live_input_usd_per_mtok) == (Decimal("0.01"), Decimal("0.15"))


def test_an_own_share_settles_what_embeddings_pay() -> None:
    own = {"batch_share": [{"models": ["openai/text-*"], "input": "0.5", "output": "0.5", "cached": "0.5"}]}
    rates = load_prices(own).rates(ModelRef("openai", "text-embedding-3-small"), DAY)
    assert rates is not None
    assert (rates.input_usd_per_mtok, rates.note) == (Decimal("0.01"), None)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"prices": []}, "prices"),
        (own_price(live=[{"input": "cheap"}]), "input"),
        (own_price(live=[{"input": "-1"}]), "below zero"),
        (own_price(live=[{"input": "NaN"}]), "number"),
        (own_price(live=[{"output": "1"}]), "input"),
        (own_price(live=[{"input": "1", "above": 10}]), "above"),
        (own_price(live=[{"input": "1"}, {"input": "2", "above": 9}, {"input": "2", "above": 5}]), "rise"),
        ({"price": [{"live": [{"input": "1"}]}]}, "models"),
    ],
)
def test_a_wrong_table_is_a_config_error_that_names_it(overrides: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_prices(overrides)


def test_the_price_list_is_not_imported_before_a_price_is_asked_for() -> None:
    """It costs 0.3 s; a fresh interpreter shows what an import pulls in."""
    code = "import sys, bydawn.pricing as p; p.load_prices(); sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
