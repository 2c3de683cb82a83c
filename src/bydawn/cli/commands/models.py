"""``models``: what is known of models, from the shipped facts, the user's own, and the price book."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bydawn.cli.invocation import Invocation, pass_invocation
from bydawn.cli.options import json_option

if TYPE_CHECKING:
    import datetime as dt

    from bydawn.adapt import FactBook, ModelFacts, RuleRow
    from bydawn.pricing import Rates

    Known = tuple[ModelFacts, Rates | None]


@click.command("models")
@click.argument("pattern", metavar="[PATTERN]", default="*")
@json_option
@pass_invocation
def models(invocation: Invocation, /, **values: Any) -> int:
    """Show what is known of models: endpoints, batches, parameter rules, end date, prices, with source and date.

    PATTERN is a model (openai/o3-mini, or just o3-mini), also with wildcards ('openai/gpt-5*'). Prices are in US
    dollars per million tokens. `bydawn.toml` can override facts and prices.
    """
    import datetime as dt

    from bydawn.adapt import load_facts
    from bydawn.config import load_settings
    from bydawn.pricing import load_prices

    settings = load_settings()
    now = dt.datetime.now(dt.UTC)
    prices = load_prices(settings.prices)
    known: list[Known] = [
        (facts, prices.rates(facts.ref, now)) for facts in _find(load_facts(settings.rules), values["pattern"])
    ]
    if invocation.json:
        invocation.emit({"models": [_record(facts, rates) for facts, rates in known]})
    else:
        invocation.say(*_lines(known, now.date()))
    return 0


def _find(book: FactBook, pattern: str) -> list[ModelFacts]:
    """Return the listed models that fit; a plain name that is not listed is looked up in the families' patterns."""
    from bydawn.core.model import parse_model
    from bydawn.errors import ConfigError
    from bydawn.providers.registry import PROVIDERS

    found = book.models(pattern)
    if found:
        return found
    if any(mark in pattern for mark in "*?["):
        raise ConfigError(f"no listed model fits {pattern!r}", hint="`bydawn models` lists them all.")
    return [book.model(parse_model(pattern, frozenset(PROVIDERS), "openai"))]


def _lines(known: list[Known], today: dt.date) -> list[str]:
    if len(known) == 1:
        return _one(*known[0], today)
    return [*_table(known), "one model in full: bydawn models PROVIDER/MODEL"]


def _table(known: list[Known]) -> list[str]:
    from bydawn.cli.texts import table

    heads = ["model", "batch", "in/out per Mtok", "live", "endpoints", "ends", "rules", "checked"]
    rows = [
        [
            str(facts.ref),
            _batch(facts),
            _pair(rates, live=False),
            _pair(rates, live=True),
            ", ".join(facts.endpoints),
            str(facts.shutdown or ""),
            str(len(facts.rules)),
            str(facts.checked or ""),
        ]
        for facts, rates in known
    ]
    return table(heads, rows, right=(2, 3, 6))


def _one(facts: ModelFacts, rates: Rates | None, today: dt.date) -> list[str]:
    lines = [
        f"{facts.ref}: {facts.kind}" + ("" if facts.known else "; nothing is known of it, requests pass unchanged")
    ]
    lines += [f"  warning: {warning}" for warning in facts.warnings(today)]
    lines += [
        f"  batch      {_batch(facts)}",
        f"  endpoints  {', '.join(facts.endpoints) or 'not known'}",
        f"  ends       {_ending(facts)}",
        f"  price      {_price(rates)}",
    ]
    if facts.source:
        lines.append(f"  facts      {facts.certainty}, checked {facts.checked}: {facts.source}")
    lines += [f"  rule       {_rule(row)}" for row in facts.rules]
    return lines


def _batch(facts: ModelFacts) -> str:
    return {True: "yes", False: "no", None: "not known"}[facts.batch]


def _ending(facts: ModelFacts) -> str:
    if facts.shutdown is None:
        return "no date announced"
    return f"{facts.shutdown}" + (f", replaced by {facts.replacement}" if facts.replacement else "")


def _pair(rates: Rates | None, *, live: bool) -> str:
    if rates is None:
        return "unknown"
    incoming, outgoing = (
        (rates.live_input_usd_per_mtok, rates.live_output_usd_per_mtok)
        if live
        else (rates.input_usd_per_mtok, rates.output_usd_per_mtok)
    )
    return f"${incoming.normalize():f}/${outgoing.normalize():f}"


def _price(rates: Rates | None) -> str:
    if rates is None:
        return "unknown: answers will have cost_usd null; [prices] in bydawn.toml can state it"
    note = f"; {rates.note}" if rates.note else ""
    both = f"{_pair(rates, live=False)} in batches, {_pair(rates, live=True)} live"
    return f"{both}, input/output per million tokens ({rates.source}{note})"


def _rule(row: RuleRow) -> str:
    return f"{row.parameter} {row.effect} [{', '.join(row.endpoints)}; {row.certainty}: {row.source}]"


def _record(facts: ModelFacts, rates: Rates | None) -> dict[str, Any]:
    """Return one model for ``--json``; ``price`` is null when it is unknown."""
    names = ("pattern", "known", "kind", "endpoints", "batch", "shutdown", "replacement", "dimensions", "rules")
    more = ("source", "certainty", "checked")
    return {"model": str(facts.ref)} | {name: getattr(facts, name) for name in names + more} | {"price": _rates(rates)}


def _rates(rates: Rates | None) -> dict[str, Any] | None:
    if rates is None:
        return None
    return {
        "input_usd_per_mtok": rates.input_usd_per_mtok,
        "cached_usd_per_mtok": rates.cached_usd_per_mtok,
        "output_usd_per_mtok": rates.output_usd_per_mtok,
        "live_input_usd_per_mtok": rates.live_input_usd_per_mtok,
        "live_output_usd_per_mtok": rates.live_output_usd_per_mtok,
        "source": rates.source,
        "note": rates.note,
    }
