"""The kinds of rules that facts are made of, and the steps they come down to for one model and endpoint.

A rule is a ``[[rule]]`` table of a facts file; ``kind`` says which of the classes here reads it. Given a `Target` it
yields steps: each looks at one parameter of a body, changes it or not, and hands out the adjustment it was built with.
The adjustments are made once, so that whoever counts rows by adjustment counts by identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from bydawn.adapt.efforts import SCALE, Effort, Efforts
from bydawn.adapt.fields import Parameter
from bydawn.adapt.patterns import first_match
from bydawn.adapt.steps import (
    ClampStep,
    DropItemStep,
    DropStep,
    EffortStep,
    MoveSystemStep,
    NoEffortStep,
    RenameStep,
    Step,
)
from bydawn.core.adjustment import Action, Adjustment
from bydawn.core.request import ENDPOINTS, Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bydawn.core.model import ModelRef

Certainty = Literal["confirmed", "reported", "inferred"]
"""``confirmed`` by a type, a document or recorded traffic; ``reported`` by a user; ``inferred`` by us."""


@dataclass(frozen=True, slots=True)
class Target:
    """What rules are made into steps for. ``sources`` spells out the short keys that rules cite."""

    model: ModelRef
    endpoint: Endpoint
    efforts: Efforts
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule as it is shown to people: on ``endpoints``, this happens to ``parameter``."""

    parameter: str
    effect: str
    endpoints: tuple[Endpoint, ...]
    rule: str
    source: str
    certainty: str


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all rules state.

    ``models`` and ``but_not`` are patterns of names; ``unlisted_models``: the rule is about batches as such and holds
    for models no facts mention; ``why`` completes "temperature dropped for 48 rows: …", with ``{model}`` filled in.
    """

    name: str
    models: tuple[str, ...] = ("*",)
    but_not: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ENDPOINTS
    unlisted_models: bool = False
    why: str = "{model} refuses it"
    sources: tuple[str, ...] = ("your settings",)
    certainty: Certainty = "reported"

    def concerns(self, name: str, *, known: bool) -> bool:
        """Whether the rule holds for this model."""
        if not known and not self.unlisted_models:
            return False
        return first_match(self.models, name) is not None and first_match(self.but_not, name) is None

    def steps(self, target: Target) -> Iterable[Step]:
        """The steps for one model and endpoint, in order."""
        raise NotImplementedError

    def rows(self, target: Target) -> Iterator[tuple[str, str]]:
        """Parameter and effect, as shown to people; nothing where the rule has no effect on the target."""
        raise NotImplementedError

    def adjustment(self, target: Target, action: Action, parameter: str, detail: str) -> Adjustment:
        """The record of one change by this rule."""
        return Adjustment(
            action=action,
            parameter=parameter,
            detail=detail.replace("{model}", str(target.model)),
            rule=self.name,
            source=cited(self.sources, target.sources),
            certainty=self.certainty,
        )


def cited(keys: Iterable[str], sources: Mapping[str, str]) -> str:
    """Sources in full; a key that the facts do not spell out stands for itself."""
    return "; ".join(sources.get(key, key) for key in keys)


class Off(Rule, tag="off", frozen=True, kw_only=True):
    """Does nothing: how a user takes back a rule of that name."""

    def steps(self, target: Target) -> Iterable[Step]:  # noqa: ARG002 - the kinds share one signature
        return ()

    def rows(self, target: Target) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        return iter(())


class Drop(Rule, tag="drop", frozen=True, kw_only=True):
    """Takes parameters out: always, or unless the value is one of ``unless``, or the request runs with one of the
    efforts ``unless_effort``, or the parameter ``unless_true`` is true."""

    parameters: tuple[str, ...]
    unless: tuple[str | int | float | bool, ...] = ()
    unless_effort: tuple[Effort, ...] = ()
    unless_true: str | None = None

    def steps(self, target: Target) -> Iterable[Step]:
        for path in self.parameters:
            yield DropStep(
                parameter=Parameter(path),
                done=self.adjustment(target, "dropped", path, self.why),
                unless=self.unless,
                unless_effort=self.unless_effort,
                efforts=target.efforts,
                unless_true=Parameter(self.unless_true) if self.unless_true else None,
            )

    def rows(self, target: Target) -> Iterator[tuple[str, str]]:
        allowed = [str(value).lower() for value in self.unless]
        allowed += _allowing(self.unless_effort, target.efforts)
        allowed += [f"{self.unless_true} is true"] if self.unless_true else []
        effect = "dropped" + _unless(allowed)
        return ((path, effect) for path in self.parameters)


def _allowing(unless_effort: Iterable[Effort], efforts: Efforts) -> list[str]:
    """Those of the efforts that the model can run with, in words."""
    return [f"the effort is {effort}" for effort in unless_effort if effort in efforts.values]


def _unless(conditions: list[str]) -> str:
    return f" unless {' or '.join(conditions)}" if conditions else ""


class DropItems(Rule, tag="drop_items", frozen=True, kw_only=True):
    """Takes single items out of a list, and the list with them once it is empty, unless the request runs with one of
    the efforts ``unless_effort``."""

    parameter: str
    items: tuple[str, ...]
    unless_effort: tuple[Effort, ...] = ()

    def steps(self, target: Target) -> Iterable[Step]:
        for item in self.items:
            yield DropItemStep(
                parameter=Parameter(self.parameter),
                item=item,
                done=self.adjustment(target, "dropped", f"{self.parameter} {item}", self.why),
                unless_effort=self.unless_effort,
                efforts=target.efforts,
            )

    def rows(self, target: Target) -> Iterator[tuple[str, str]]:
        effect = "dropped" + _unless(_allowing(self.unless_effort, target.efforts))
        return ((f"{self.parameter} {item}", effect) for item in self.items)


class Rename(Rule, tag="rename", frozen=True, kw_only=True):
    """Gives a parameter the name this endpoint knows it by. Where both are given, the known one stays."""

    parameters: tuple[str, ...]
    to: str

    def steps(self, target: Target) -> Iterable[Step]:
        for name in self.parameters:
            yield RenameStep(
                watched=name,
                to=self.to,
                done=self.adjustment(target, "renamed", name, f"to {self.to}: {self.why}"),
                clash=self.adjustment(target, "dropped", name, f"{self.to} is given too: {self.why}"),
            )

    def rows(self, target: Target) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        return ((name, f"renamed to {self.to}") for name in self.parameters)


class Clamp(Rule, tag="clamp", frozen=True, kw_only=True):
    """Brings numbers down to ``at_most``."""

    parameters: tuple[str, ...]
    at_most: int | float

    def steps(self, target: Target) -> Iterable[Step]:
        for path in self.parameters:
            done = self.adjustment(target, "clamped", path, f"to {self.at_most}: {self.why}")
            yield ClampStep(Parameter(path), self.at_most, done)

    def rows(self, target: Target) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        return ((path, f"at most {self.at_most}") for path in self.parameters)


class NearestEffort(Rule, tag="nearest_effort", frozen=True, kw_only=True):
    """Replaces an effort the model does not accept by the nearest it does (``[[effort]]`` tables say which)."""

    def steps(self, target: Target) -> Iterable[Step]:
        path = target.efforts.parameter.path
        replaced: dict[str, tuple[str, Adjustment]] = {}
        for asked in SCALE:
            given = target.efforts.nearest(asked)
            if given != asked:
                detail = f"{asked} becomes {given}: {self.why}"
                replaced[asked] = (given, self.adjustment(target, "replaced", path, detail))
        if replaced:
            yield EffortStep(target.efforts.parameter, replaced)

    def rows(self, target: Target) -> Iterator[tuple[str, str]]:
        efforts = target.efforts
        if efforts.values:
            default = f" (default {efforts.default})" if efforts.default else ""
            yield efforts.parameter.path, f"{', '.join(efforts.values)}{default}; others become the nearest"


class ToolsWithoutEffort(Rule, tag="tools_without_effort", frozen=True, kw_only=True):
    """On chat, tools work only without reasoning effort. Rows with both go to the responses endpoint (`routing`); where
    the user insists on chat, the effort becomes none, if the model accepts that."""

    def steps(self, target: Target) -> Iterable[Step]:
        if "none" in target.efforts.values:
            parameter = target.efforts.parameter
            detail = f"none, because of the tools: {self.why}"
            yield NoEffortStep(
                efforts=target.efforts,
                added=self.adjustment(target, "added", parameter.path, detail),
                replaced=self.adjustment(target, "replaced", parameter.path, detail),
            )

    def rows(self, target: Target) -> Iterator[tuple[str, str]]:
        effort = "an effort other than none" if "none" in target.efforts.values else "any effort"
        yield "tools", f"with {effort} (default {target.efforts.default}), sent to responses instead"


class MoveSystem(Rule, tag="move_system", frozen=True, kw_only=True):
    """Puts the text of system and developer messages at the head of the first user message."""

    def steps(self, target: Target) -> Iterable[Step]:
        detail = f"into the first user message: {self.why}"
        yield MoveSystemStep(self.adjustment(target, "moved", "system message", detail))

    def rows(self, target: Target) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        yield "system message", "moved into the first user message"


AnyRule = Off | Drop | DropItems | Rename | Clamp | NearestEffort | ToolsWithoutEffort | MoveSystem
"""The union that ``kind`` chooses from."""
