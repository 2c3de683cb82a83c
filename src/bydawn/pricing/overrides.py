"""The shape of ``overrides.toml`` and of a user's own prices, and how they are read."""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any

import msgspec

from bydawn.core.model import ModelRef
from bydawn.errors import ConfigError
from bydawn.pricing.rates import Tariff, Tier


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all tables state: patterns over ``provider/name``, where the facts come from, what users should know."""

    models: tuple[str, ...]
    sources: tuple[str, ...] = ("your settings",)
    note: str | None = None

    def fits(self, ref: ModelRef) -> bool:
        """Whether the table is about this model. A fine-tuned model is its own: it does not cost what its base does."""
        return any(fnmatchcase(str(ref), pattern) for pattern in self.models)


class TierEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """US$ per million tokens, for rows of more than ``above`` input tokens. Cached input costs what input does where
    nothing else is said."""

    input: Decimal
    output: Decimal = Decimal(0)
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    above: int = 0

    def __post_init__(self) -> None:
        for price in (self.input, self.output, self.cached, self.cache_write):
            if price is not None and not (price.is_finite() and price >= 0):
                raise ValueError("a price is a number, and not below zero")

    def tier(self) -> Tier:
        return Tier(
            above=self.above,
            input=self.input,
            cached=self.input if self.cached is None else self.cached,
            output=self.output,
            cache_write=self.input if self.cache_write is None else self.cache_write,
        )


class PriceEntry(Entry, frozen=True, kw_only=True):
    """A ``[[price]]`` table: tiers for live calls, for batches, or for both."""

    live: tuple[TierEntry, ...] = ()
    batch: tuple[TierEntry, ...] = ()

    def __post_init__(self) -> None:
        for tiers in (self.live, self.batch):
            thresholds = [tier.above for tier in tiers]
            if thresholds and (thresholds[0] != 0 or thresholds != sorted(set(thresholds))):
                raise ValueError("tiers begin with one without `above`, and their thresholds rise")


class BatchShare(Entry, frozen=True, kw_only=True):
    """A ``[[batch_share]]`` table: which part of the live price a batch pays."""

    input: Decimal
    output: Decimal
    cached: Decimal

    def of(self, live: Tariff) -> Tariff:
        """The batch tariff that follows from a live one."""
        return Tariff(
            tuple(
                Tier(
                    above=tier.above,
                    input=tier.input * self.input,
                    cached=tier.cached * self.cached,
                    output=tier.output * self.output,
                    cache_write=tier.cache_write * self.input,
                )
                for tier in live.tiers
            )
        )


class Overrides(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All prices we state ourselves, the first table that fits counting."""

    sources: dict[str, str] = {}
    price: tuple[PriceEntry, ...] = ()
    batch_share: tuple[BatchShare, ...] = ()

    def cited(self, entry: Entry) -> str:
        """An entry's sources in full."""
        return "; ".join(self.sources.get(key, key) for key in entry.sources)

    def over(self, other: "Overrides") -> "Overrides":
        """Both, these asked first."""
        return Overrides(
            sources={**other.sources, **self.sources},
            price=self.price + other.price,
            batch_share=self.batch_share + other.batch_share,
        )


def tariff(tiers: tuple[TierEntry, ...]) -> Tariff | None:
    """The tariff that tables state, or None where they state none."""
    return Tariff(tuple(entry.tier() for entry in tiers)) if tiers else None


def shipped_overrides() -> Overrides:
    """The prices that come with bydawn."""
    text = (files("bydawn.pricing") / "overrides.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), Overrides)


def read_overrides(own: Mapping[str, Any]) -> Overrides:
    """A user's own prices: ``{"price": […], "batch_share": […]}``, the shape of overrides.toml.

    Raises ConfigError naming the entry that does not fit.
    """
    try:
        return msgspec.convert(own, Overrides)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"prices: {error}",
            hint='[[prices.price]] needs models = ["openai/…"] and live = [{ input = "0.15", output = "0.60" }].',
        ) from error
