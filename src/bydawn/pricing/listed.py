"""Prices as genai-prices lists them: the one place that knows this library. It takes 0.3 s to import, so it is not
imported before the first price is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bydawn.pricing.rates import Tariff, Tier

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from genai_prices.types import ModelPrice, PriceCalculation

    from bydawn.core.model import ModelRef

PROVIDERS = {"openai": "openai"}
"""Our name of a provider → theirs. Others are not looked up: a wrong match would be a wrong price."""

_BATCH = {"processing": "batch"}
_TOKEN_PRICES = frozenset({"input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok"})
_CHARGED_BY_CALL = frozenset({"web_searches_kcount", "storage_searches_kcount"})


@dataclass(frozen=True, slots=True)
class Listed:
    """A model's listed prices; ``batch`` is None where the list has none for the model and day."""

    live: Tariff
    batch: Tariff | None
    source: str


def listed_prices(ref: ModelRef, at: datetime) -> Listed | None:
    """What the list says, or None when it does not have the model or prices it by more than text tokens."""
    provider = PROVIDERS.get(ref.provider)
    if provider is None:
        return None
    from genai_prices import Usage, __version__, calc_price

    try:
        live = calc_price(Usage(), ref.name, provider_id=provider, genai_request_timestamp=at)
    except LookupError:
        return None
    live_tariff = _tariff(live.model_price)
    if live_tariff is None:
        return None
    batch_tariff = _tariff(live.model.get_prices(at, _BATCH)) if _has_batch_price(live, at) else None
    return Listed(live_tariff, batch_tariff, f"genai-prices {__version__}")


def _has_batch_price(price: PriceCalculation, at: datetime) -> bool:
    """Whether the list states a batch price for the model and day.

    Asked for one it does not have, the library answers with the standard price and says nothing. A variant may be
    empty: then the list says that batches cost the standard price.
    """
    if not any(model is price.model for model in price.provider.models):
        return False  # lent by another provider, whose batch price it is not
    return any(
        variant.when == _BATCH and (variant.constraint is None or variant.constraint.active(at))
        for variant in price.model.price_variants or ()
    )


def _tariff(price: ModelPrice) -> Tariff | None:
    """The list's prices as a tariff; None where tokens of sound or pictures, which usage does not tell apart, cost
    something of their own, or where text tokens have no price."""
    stated = {key: value for key, value in vars(price).items() if value is not None}
    if "input_mtok" not in stated or stated.keys() - _TOKEN_PRICES - _CHARGED_BY_CALL:
        return None
    starts = {tier.start for key in _TOKEN_PRICES & stated.keys() for tier in getattr(stated[key], "tiers", ())}
    return Tariff(tuple(_tier(stated, above) for above in (0, *sorted(starts))))


def _tier(stated: dict[str, Any], above: int) -> Tier:
    price = _at(stated["input_mtok"], above)
    return Tier(
        above=above,
        input=price,
        cached=_at(stated["cache_read_mtok"], above) if "cache_read_mtok" in stated else price,
        output=_at(stated["output_mtok"], above) if "output_mtok" in stated else price * 0,
        cache_write=_at(stated["cache_write_mtok"], above) if "cache_write_mtok" in stated else price,
    )


def _at(price: Any, above: int) -> Decimal:
    """One price for rows of more than ``above`` input tokens: a plain number, or a base with tiers."""
    reached = [tier.price for tier in getattr(price, "tiers", ()) if tier.start <= above]
    value: Decimal = reached[-1] if reached else getattr(price, "base", price)
    return value
