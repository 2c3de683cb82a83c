"""Looks up the rates of a model on a day."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from bydawn.pricing.listed import listed_prices
from bydawn.pricing.overrides import read_overrides, shipped_overrides, tariff
from bydawn.pricing.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bydawn.core.model import ModelRef
    from bydawn.pricing.overrides import Entry, Overrides


class PriceBook:
    """The prices of all models. Rates are resolved once per model and day."""

    def __init__(self, overrides: Overrides) -> None:
        self._overrides = overrides
        self._resolved: dict[tuple[ModelRef, dt.date], Rates | None] = {}

    def rates(self, ref: ModelRef, at: dt.date | dt.datetime) -> Rates | None:
        """What the model costs on that day (UTC), or None when its live or its batch price is stated nowhere.

        Tables of overrides come before the list; a batch price that neither has follows from the live one by the share
        the provider documents, and the rates say so.
        """
        key = ref, _utc_day(at)
        if key not in self._resolved:
            self._resolved[key] = self._resolve(*key)
        return self._resolved[key]

    def _resolve(self, ref: ModelRef, day: dt.date) -> Rates | None:
        used: list[Entry] = []
        sources: list[str] = []
        live = batch = None
        own = next((entry for entry in self._overrides.price if entry.fits(ref)), None)
        if own is not None:
            live, batch = tariff(own.live), tariff(own.batch)
            used.append(own)
        if live is None:
            listed = listed_prices(ref, dt.datetime.combine(day, dt.time(), dt.UTC))
            if listed is None:
                return None
            live, batch = listed.live, batch or listed.batch
            sources.append(listed.source)
        if batch is None:
            share = next((entry for entry in self._overrides.batch_share if entry.fits(ref)), None)
            if share is None:
                return None
            batch = share.of(live)
            used.append(share)
        sources += [self._overrides.cited(entry) for entry in used]
        notes = [entry.note for entry in used if entry.note]
        return Rates(batch=batch, live=live, source="; ".join(sources), note="; ".join(notes) or None)


def load_prices(overrides: Mapping[str, Any] | None = None) -> PriceBook:
    """The shipped prices with a user's own before them: ``{"price": […], "batch_share": […]}`` as in overrides.toml.

    Raises ConfigError when a table does not have that shape.
    """
    return PriceBook(read_overrides(overrides or {}).over(shipped_overrides()))


def _utc_day(at: dt.date | dt.datetime) -> dt.date:
    if not isinstance(at, dt.datetime):
        return at
    return (at.astimezone(dt.UTC) if at.tzinfo else at).date()
