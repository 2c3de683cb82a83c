"""The shape of a facts file, and how a user's own facts are laid over the shipped ones.

A facts file is TOML: ``provider`` and ``checked`` (the date somebody last compared it with the provider's word),
``[sources]`` (short key = where that is), and three lists of tables:

- ``[[model]]``: what is known of models whose names fit ``match``. Several tables may fit; each field is taken from
  the first one that states it.
- ``[[effort]]``: reasoning efforts; the first table that fits counts.
- ``[[rule]]``: parameter rules (`bydawn.adapt.rules`), applied in the order they stand in.
"""

import datetime as dt
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal

import msgspec

from bydawn.adapt.efforts import Effort
from bydawn.adapt.rules import AnyRule, Certainty
from bydawn.core.request import Endpoint
from bydawn.errors import ConfigError

Kind = Literal["chat", "embeddings", "moderations", "completions", "images", "realtime", "speech", "transcription"]
"""What a model is for."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a fact comes from, and how sure it is."""

    sources: tuple[str, ...] = ("your settings",)
    certainty: Certainty = "reported"


class ModelEntry(Entry, frozen=True, kw_only=True):
    """What is known of the models ``match`` names; None where the table says nothing.

    ``endpoints``: those of ours the model answers on; ``batch``: whether batches take it; ``shutdown``: the announced
    last day; ``dimensions``: the length of an embedding.
    """

    match: tuple[str, ...]
    kind: Kind | None = None
    endpoints: tuple[Endpoint, ...] | None = None
    batch: bool | None = None
    shutdown: dt.date | None = None
    replacement: str | None = None
    dimensions: int | None = None


class EffortEntry(Entry, frozen=True, kw_only=True):
    """Reasoning efforts: ``values`` on every endpoint, or ``responses`` where that endpoint differs."""

    models: tuple[str, ...]
    values: tuple[Effort, ...]
    responses: tuple[Effort, ...] | None = None
    default: Effort | None = None


class Sheet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All facts about one provider's models."""

    provider: str = ""
    checked: dt.date | None = None
    sources: dict[str, str] = {}
    model: tuple[ModelEntry, ...] = ()
    effort: tuple[EffortEntry, ...] = ()
    rule: tuple[AnyRule, ...] = ()


def shipped_sheets() -> dict[str, Sheet]:
    """The facts that come with bydawn, by provider."""
    folder = files("bydawn.adapt") / "facts"
    texts = [file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".toml")]
    sheets = [msgspec.convert(tomllib.loads(text), Sheet) for text in texts]
    return {sheet.provider: sheet for sheet in sheets}


def read_overrides(overrides: Mapping[str, Any]) -> dict[str, Sheet]:
    """A user's own facts: ``{"openai": {"model": […], "effort": […], "rule": […]}}``, the shape of a facts file.

    Raises ConfigError naming the entry that does not fit.
    """
    sheets = {}
    for provider, table in overrides.items():
        try:
            sheets[provider] = msgspec.convert(table, Sheet)
        except msgspec.ValidationError as error:
            raise ConfigError(
                f"rules.{provider}: {error}",
                hint=f"Write [[rules.{provider}.rule]], …model or …effort tables, in the shape of the shipped facts.",
            ) from error
    return sheets


def overlaid(shipped: Sheet, own: Sheet) -> Sheet:
    """Shipped facts under a user's own: own tables come first, an own rule replaces the shipped one of its name."""
    replaced = {rule.name: rule for rule in own.rule}
    kept = tuple(replaced.pop(rule.name, rule) for rule in shipped.rule)
    return Sheet(
        provider=shipped.provider,
        checked=shipped.checked,
        sources={**shipped.sources, **own.sources},
        model=own.model + shipped.model,
        effort=own.effort + shipped.effort,
        rule=kept + tuple(replaced.values()),
    )
