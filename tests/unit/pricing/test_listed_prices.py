"""Our whole-number arithmetic against genai-prices' own, row by row, and the traps of its batch prices."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot

from bydawn.core.model import ModelRef
from bydawn.core.result import Usage
from bydawn.pricing import load_prices, usd

DAY = dt.date(2026, 11, 22)
NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)

TABLE = [
    # model, batch: input, output, cached; live: input, output, cached (US$ per million tokens)
    ("gpt-4o-mini", "0.075", "0.30", "0.075", "0.15", "0.60", "0.075"),
    ("gpt-4o", "1.25", "5", "1.25", "2.5", "10", "1.25"),
    ("gpt-4.1-mini", "0.2", "0.8", "0.1", "0.4", "1.6", "0.1"),
    ("gpt-5-mini", "0.125", "1", "0.0125", "0.25", "2", "0.025"),
    ("gpt-5.4", "1.25", "7.5", "0.13", "2.5", "15", "0.25"),
    ("gpt-5.5", "2.5", "15", "0.25", "5", "30", "0.5"),
    ("gpt-5.6-sol", "2", "10", "0.2", "4", "20", "0.4"),
    ("gpt-5.6-terra", "1", "6", "0.1", "2", "12", "0.2"),
    ("gpt-5.6-luna", "0.1", "0.6", "0.01", "0.2", "1.2", "0.02"),
    ("gpt-6-astra", "5", "25", "0.5", "10", "50", "1"),
    ("gpt-6-sol", "1", "5", "0.1", "2", "10", "0.2"),
    ("gpt-6-luna", "0.05", "0.25", "0.005", "0.1", "0.5", "0.01"),
    ("gpt-6.1-sol", "1", "5", "0.05", "2", "10", "0.1"),
    ("gpt-6.1-terra", "0.5", "2.5", "0.025", "1", "5", "0.05"),
    ("text-embedding-3-small", "0.02", "0", "0.02", "0.02", "0", "0.02"),
    ("text-embedding-3-large", "0.13", "0", "0.13", "0.13", "0", "0.13"),
]
"""Prices as people read them off the lists on 2026-11-22."""

INPUTS = [0, 1, 7, 999, 271_999, 272_000, 272_001, 1_000_000]
OUTPUTS = [0, 1, 333, 128_000]


def openai(name: str) -> ModelRef:
    return ModelRef("openai", name)


def grid() -> list[Usage]:
    """Rows below, at and above the long-context threshold, with no, some and only cached input."""
    return [
        Usage(input_tokens=tokens, output_tokens=output, cached_tokens=cached)
        for tokens in INPUTS
        for output in OUTPUTS
        for cached in {0, tokens // 3, tokens}
    ]


def list_price(name: str, usage: Usage, context: dict[str, str] | None) -> Decimal:
    counts = ListUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
    )
    price = calc_price(counts, name, provider_id="openai", genai_request_timestamp=NOON, price_context=context)
    return price.total_price


def models_with_batch_prices() -> list[str]:
    provider = next(provider for provider in get_snapshot().providers if provider.id == "openai")
    return [
        model.id
        for model in provider.models
        if any(variant.when == {"processing": "batch"} for variant in model.price_variants or ())
        and load_prices().rates(openai(model.id), DAY) is not None
    ]


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_rates_are_the_published_prices(row: tuple[str, ...]) -> None:
    rates = load_prices().rates(openai(row[0]), DAY)
    assert rates is not None
    found = (
        rates.input_usd_per_mtok,
        rates.output_usd_per_mtok,
        rates.cached_usd_per_mtok,
        rates.live_input_usd_per_mtok,
        rates.live_output_usd_per_mtok,
        rates.live_cached_usd_per_mtok,
    )
    assert found == tuple(Decimal(price) for price in row[1:])


@pytest.mark.parametrize("name", models_with_batch_prices())
def test_every_row_costs_what_the_list_computes(name: str) -> None:
    """Exact equality of money, for batch and live, over a grid of usages on both sides of the long-context tier."""
    rates = load_prices().rates(openai(name), DAY)
    assert rates is not None
    for usage in grid():
        assert usd(rates.cost_picousd(usage)) == list_price(name, usage, {"processing": "batch"}), usage
        assert usd(rates.live_picousd(usage)) == list_price(name, usage, None), usage


def test_the_table_of_models_is_covered_by_the_grid() -> None:
    """The grid test must not shrink to nothing when the library renames its variants."""
    chat = {row[0] for row in TABLE if "embedding" not in row[0]}
    assert chat <= set(models_with_batch_prices())
    assert len(models_with_batch_prices()) >= 35


def test_long_contexts_are_priced_by_the_row_and_not_by_the_sum() -> None:
    rates = load_prices().rates(openai("gpt-5.4"), DAY)
    assert rates is not None
    row = Usage(input_tokens=200_000)
    assert rates.cost_picousd(row) * 5 < rates.cost_picousd(Usage(input_tokens=1_000_000))


def test_more_cached_than_input_tokens_are_not_charged_below_zero() -> None:
    """A provider that miscounts must not earn us money."""
    rates = load_prices().rates(openai("gpt-5-mini"), DAY)
    assert rates is not None
    assert rates.cost_picousd(Usage(input_tokens=10, cached_tokens=500)) == rates.cost_picousd(
        Usage(input_tokens=10, cached_tokens=10)
    )


def test_a_missing_batch_price_is_not_taken_for_the_standard_price() -> None:
    """Before 2026-10-14 the list has no batch prices and would answer with the live ones."""
    early = load_prices().rates(openai("gpt-4o-mini"), dt.date(2026, 10, 13))
    assert early is not None
    assert early.input_usd_per_mtok == Decimal("0.075")
    assert early.output_usd_per_mtok == Decimal("0.30")
    assert early.cached_usd_per_mtok == Decimal("0.075")
    assert "guides/batch" in early.source
    assert early.note is not None
    assert "no batch price" in early.note
    on_the_day = load_prices().rates(openai("gpt-4o-mini"), dt.date(2026, 10, 14))
    assert on_the_day is not None
    assert on_the_day.note is None
    assert on_the_day.source.startswith("genai-prices ")


def test_assumed_batch_prices_halve_cached_input_only_from_gpt_5_on() -> None:
    early = dt.date(2026, 10, 13)
    new, old = load_prices().rates(openai("gpt-5-mini"), early), load_prices().rates(openai("gpt-4.1-mini"), early)
    assert new is not None
    assert old is not None
    assert new.cached_usd_per_mtok == Decimal("0.0125")
    assert old.cached_usd_per_mtok == Decimal("0.1")


def test_a_batch_price_listed_as_equal_to_the_live_one_is_believed() -> None:
    """gpt-3.5-turbo-1106 has an empty batch variant: the list looked, and there is no discount."""
    rates = load_prices().rates(openai("gpt-3.5-turbo-1106"), DAY)
    assert rates is not None
    assert rates.input_usd_per_mtok == rates.live_input_usd_per_mtok == Decimal(1)
    assert rates.note is None


def test_prices_change_with_the_day() -> None:
    before = load_prices().rates(openai("gpt-5.6-sol"), dt.date(2026, 8, 20))
    after = load_prices().rates(openai("gpt-5.6-sol"), dt.date(2026, 8, 21))
    assert before is not None
    assert after is not None
    assert (before.live_input_usd_per_mtok, after.live_input_usd_per_mtok) == (Decimal(5), Decimal(4))


def test_a_moment_counts_as_its_utc_day() -> None:
    """22:00 in New York on the 20th is the 21st in UTC."""
    new_york = dt.timezone(dt.timedelta(hours=-4))
    book = load_prices()
    moment = dt.datetime(2026, 8, 20, 22, tzinfo=new_york)
    assert book.rates(openai("gpt-5.6-sol"), moment) is book.rates(openai("gpt-5.6-sol"), dt.date(2026, 8, 21))


@pytest.mark.parametrize(
    "name",
    [
        "gpt-6.2-sol",  # newer than the list
        "my-model",
        "ft:gpt-4.1-mini-2025-04-14:org::id",  # fine-tuned: not the base model's price
        "whisper-1",  # priced by the hour
        "gpt-audio",  # sound costs something else, and usage does not tell it apart
    ],
)
def test_an_unknown_price_is_none(name: str) -> None:
    assert load_prices().rates(openai(name), DAY) is None


def test_a_provider_that_the_list_is_not_asked_about_has_no_price() -> None:
    assert load_prices().rates(ModelRef("azure", "gpt-4o-mini"), DAY) is None


def test_a_fine_tuned_model_that_the_list_knows_has_its_own_price() -> None:
    rates = load_prices().rates(openai("ft:gpt-4o-mini-2024-07-18:org::id"), DAY)
    assert rates is not None
    assert (rates.input_usd_per_mtok, rates.live_input_usd_per_mtok) == (Decimal("0.15"), Decimal("0.3"))


def test_a_snapshot_costs_what_its_model_costs() -> None:
    book = load_prices()
    snapshot, model = book.rates(openai("gpt-4o-mini-2024-07-18"), DAY), book.rates(openai("gpt-4o-mini"), DAY)
    assert snapshot == model


def test_embeddings_are_reckoned_in_full_and_say_so() -> None:
    rates = load_prices().rates(openai("text-embedding-3-small"), DAY)
    assert rates is not None
    assert rates.cost_picousd(Usage(input_tokens=1_000_000)) == rates.live_picousd(Usage(input_tokens=1_000_000))
    assert rates.note is not None
    assert "disagree" in rates.note


def test_moderations_are_free() -> None:
    rates = load_prices().rates(openai("omni-moderation-latest"), DAY)
    assert rates is not None
    assert rates.cost_picousd(Usage(input_tokens=1_000_000)) == 0
