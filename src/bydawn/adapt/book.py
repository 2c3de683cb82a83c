"""Looks up what is known of a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from bydawn.adapt.adapter import Adapter
from bydawn.adapt.efforts import Efforts, effort_parameter
from bydawn.adapt.patterns import base_model, first_match, is_exact
from bydawn.adapt.routing import ChatExit
from bydawn.adapt.rules import RuleRow, Target, ToolsWithoutEffort, cited
from bydawn.adapt.sheet import ModelEntry, Sheet, overlaid, read_overrides, shipped_sheets
from bydawn.core.adjustment import Adjustment
from bydawn.core.model import ModelRef

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from bydawn.adapt.rules import Rule
    from bydawn.core.request import Endpoint

_CERTAINTIES = ("confirmed", "reported", "inferred")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known of one model; ``known`` is False when no facts mention it.

    ``pattern`` is the first pattern that named it; ``kind`` what it is for (see `sheet.Kind`, a guess from the name for
    unknown models); ``endpoints`` those it answers on, empty when nothing is known; ``batch`` whether batches take it,
    None when that is not known; ``shutdown`` the announced last day; ``dimensions`` the length of its embeddings;
    ``source`` and ``certainty`` (the weakest) of these facts; ``checked`` when they were last compared.
    """

    ref: ModelRef
    pattern: str = ""
    known: bool = False
    kind: str
    endpoints: tuple[Endpoint, ...] = ()
    batch: bool | None = None
    shutdown: dt.date | None = None
    replacement: str | None = None
    dimensions: int | None = None
    rules: tuple[RuleRow, ...] = ()
    source: str = ""
    certainty: str = ""
    checked: dt.date | None = None
    chat_exit: ChatExit | None = field(default=None, repr=False)

    def warnings(self, today: dt.date) -> list[str]:
        """What the user should hear before paying for a long job. The facts may be wrong, so these refuse nothing."""
        found = [self._ending(today)] if self.shutdown else []
        if self.batch is False:
            found.append(f"{self.ref} is not eligible for batches ({self.certainty}): expect every row to be refused")
        return found

    def _ending(self, today: dt.date) -> str:
        """The sentence about the announced end, before or after it."""
        assert self.shutdown is not None
        days = (self.shutdown - today).days
        instead = f"; the provider names {self.replacement} as its replacement" if self.replacement else ""
        if days > 0:
            return f"{self.ref} ends in {_days(days)}, on {self.shutdown}{instead}"
        since = f"{_days(-days)} ago" if days else "today"
        return f"{self.ref} WAS ANNOUNCED TO END on {self.shutdown} ({since}): expect every row to be refused{instead}"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


class FactBook:
    """The facts of all providers. Answers are kept, so the same question gives the same objects."""

    def __init__(self, sheets: Mapping[str, Sheet]) -> None:
        self._sheets = dict(sheets)
        self._models: dict[ModelRef, ModelFacts] = {}
        self._adapters: dict[tuple[ModelRef, Endpoint], Adapter] = {}

    def model(self, ref: ModelRef) -> ModelFacts:
        """What is known of the model. Never raises; ``known`` tells whether anything is."""
        facts = self._models.get(ref)
        if facts is None:
            facts = self._models[ref] = _facts(ref, self._sheets.get(ref.provider, Sheet()))
        return facts

    def models(self, pattern: str = "*") -> list[ModelFacts]:
        """The models that facts list by name and whose ``provider/name``, or name alone, fits the pattern."""
        refs = dict.fromkeys(
            ModelRef(provider, name)
            for provider, sheet in self._sheets.items()
            for entry in sheet.model
            for name in entry.match
            if is_exact(name)
        )
        return [self.model(ref) for ref in refs if fnmatchcase(str(ref), pattern) or fnmatchcase(ref.name, pattern)]

    def adapter(self, ref: ModelRef, endpoint: Endpoint) -> Adapter:
        """What fits bodies for this endpoint to the model."""
        adapter = self._adapters.get((ref, endpoint))
        if adapter is None:
            sheet = self._sheets.get(ref.provider, Sheet())
            target = _target(ref, endpoint, sheet)
            rules = _rules(ref, sheet, known=self.model(ref).known)
            steps = [step for rule in rules if endpoint in rule.endpoints for step in rule.steps(target)]
            adapter = self._adapters[ref, endpoint] = Adapter(steps)
        return adapter


def load_facts(overrides: Mapping[str, Any] | None = None) -> FactBook:
    """The shipped facts with a user's own laid over them: ``{"openai": {"rule": […], "model": […], "effort": […]}}``.

    An own rule replaces the shipped one of the same name (``kind = "off"`` takes it back), own model and effort tables
    are asked first. Raises ConfigError when they do not have the shape of a facts file.
    """
    sheets = shipped_sheets()
    for provider, own in read_overrides(overrides or {}).items():
        sheets[provider] = overlaid(sheets.get(provider, Sheet(provider=provider)), own)
    return FactBook(sheets)


def _facts(ref: ModelRef, sheet: Sheet) -> ModelFacts:
    entries = [entry for entry in sheet.model if first_match(entry.match, ref.name)]
    if not entries:
        return ModelFacts(ref=ref, kind=_guessed_kind(ref.name), checked=sheet.checked)
    endpoints = _stated(entries, "endpoints") or ()
    ending = next((entry for entry in entries if entry.shutdown), None)
    return ModelFacts(
        ref=ref,
        pattern=first_match(entries[0].match, ref.name) or "",
        known=True,
        kind=_stated(entries, "kind") or _guessed_kind(ref.name),
        endpoints=endpoints,
        batch=_batch(ref.name, entries),
        shutdown=ending.shutdown if ending else None,
        replacement=ending.replacement if ending else None,
        dimensions=_stated(entries, "dimensions"),
        rules=_rows(ref, sheet, endpoints),
        source=cited(dict.fromkeys(key for entry in entries for key in entry.sources), sheet.sources),
        certainty=max((entry.certainty for entry in entries), key=_CERTAINTIES.index),
        checked=sheet.checked,
        chat_exit=_chat_exit(ref, sheet, entries),
    )


def _stated(entries: list[ModelEntry], name: str) -> Any:
    """A field from the first entry that states it, or None."""
    return next((value for entry in entries if (value := getattr(entry, name)) is not None), None)


def _batch(name: str, entries: list[ModelEntry]) -> bool | None:
    """Batch eligibility; what is known of a base model does not hold for what was fine-tuned from it."""
    if base_model(name) != name:
        entries = [entry for entry in entries if name in entry.match]
    return _stated(entries, "batch")  # type: ignore[no-any-return]


def _guessed_kind(name: str) -> str:
    """What a model we know nothing of is probably for: only its name can tell."""
    if "embed" in name:
        return "embeddings"
    return "moderations" if "moderation" in name else "chat"


def _target(ref: ModelRef, endpoint: Endpoint, sheet: Sheet) -> Target:
    return Target(model=ref, endpoint=endpoint, efforts=_efforts(ref, endpoint, sheet), sources=sheet.sources)


def _efforts(ref: ModelRef, endpoint: Endpoint, sheet: Sheet) -> Efforts:
    parameter = effort_parameter(endpoint)
    for entry in sheet.effort:
        if first_match(entry.models, ref.name):
            own = entry.responses if endpoint == "responses" else None
            return Efforts(parameter, own or entry.values, entry.default)
    return Efforts(parameter)


def _rules(ref: ModelRef, sheet: Sheet, *, known: bool) -> list[Rule]:
    return [rule for rule in sheet.rule if rule.concerns(ref.name, known=known)]


def _rows(ref: ModelRef, sheet: Sheet, endpoints: tuple[Endpoint, ...]) -> tuple[RuleRow, ...]:
    """The rules as people read them; one row where several endpoints have the same."""
    found: dict[tuple[Rule, str, str], list[Endpoint]] = {}
    for rule in _rules(ref, sheet, known=True):
        for endpoint in endpoints:
            if endpoint in rule.endpoints:
                for parameter, effect in rule.rows(_target(ref, endpoint, sheet)):
                    found.setdefault((rule, parameter, effect), []).append(endpoint)
    return tuple(
        RuleRow(parameter, effect, tuple(on), rule.name, cited(rule.sources, sheet.sources), rule.certainty)
        for (rule, parameter, effect), on in found.items()
    )


def _chat_exit(ref: ModelRef, sheet: Sheet, entries: list[ModelEntry]) -> ChatExit | None:
    endpoints = _stated(entries, "endpoints") or ()
    if "responses" not in endpoints:
        return None
    if "chat" not in endpoints:
        stating = next(entry for entry in entries if entry.endpoints is not None)
        return ChatExit(
            Adjustment(
                action="rerouted",
                parameter="endpoint",
                detail=f"to responses: {ref} answers there only",
                rule="responses-only",
                source=cited(stating.sources, sheet.sources),
                certainty=stating.certainty,
            )
        )
    rules = [rule for rule in _rules(ref, sheet, known=True) if isinstance(rule, ToolsWithoutEffort)]
    if not rules:
        return None
    target = _target(ref, "chat", sheet)
    detail = f"to responses, because of the tools: {rules[0].why}"
    return ChatExit(rules[0].adjustment(target, "rerouted", "endpoint", detail), target.efforts)
