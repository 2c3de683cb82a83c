"""What adaptation can do to one body: each step looks at one parameter, and records what it did.

Rules (`bydawn.adapt.rules`) build steps for one model and endpoint, with the adjustments they hand out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from bydawn.adapt.fields import ABSENT, Parameter
from bydawn.adapt.messages import without_system

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bydawn.adapt.efforts import Effort, Efforts
    from bydawn.core.adjustment import Adjustment
    from bydawn.core.request import Fields

_TOOLS = Parameter("tools")


class Step(Protocol):
    """One thing that may be done to a body."""

    @property
    def watched(self) -> str:
        """The body's key without which the step has nothing to do."""
        ...

    def apply(self, body: Fields) -> Adjustment | None:
        """Change the body, which has the watched key, in place; return what was done, or None if nothing was."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DropStep:
    """Takes a parameter out, unless one of the conditions holds."""

    parameter: Parameter
    done: Adjustment
    unless: tuple[Any, ...]
    unless_effort: tuple[Effort, ...]
    efforts: Efforts
    unless_true: Parameter | None

    @property
    def watched(self) -> str:
        return self.parameter.head

    def apply(self, body: Fields) -> Adjustment | None:
        if self._allowed(body):
            return None
        self.parameter.remove(body)
        return self.done

    def _allowed(self, body: Fields) -> bool:
        if self.unless or self.parameter.tail:
            value = self.parameter.read(body)
            if value is ABSENT or value in self.unless:
                return True
        if self.unless_effort and self.efforts.effective(body) in self.unless_effort:
            return True
        return self.unless_true is not None and self.unless_true.read(body) is True


@dataclass(frozen=True, slots=True, kw_only=True)
class DropItemStep:
    """Takes an item out of a list."""

    parameter: Parameter
    item: str
    done: Adjustment
    unless_effort: tuple[Effort, ...]
    efforts: Efforts

    @property
    def watched(self) -> str:
        return self.parameter.head

    def apply(self, body: Fields) -> Adjustment | None:
        items = self.parameter.read(body)
        if not isinstance(items, list) or self.item not in items:
            return None
        if self.unless_effort and self.efforts.effective(body) in self.unless_effort:
            return None
        kept = [item for item in items if item != self.item]
        if kept:
            self.parameter.write(body, kept)
        else:
            self.parameter.remove(body)
        return self.done


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameStep:
    """Moves a value to the name the endpoint knows."""

    watched: str
    to: str
    done: Adjustment
    clash: Adjustment

    def apply(self, body: Fields) -> Adjustment | None:
        value = body.pop(self.watched)
        if self.to in body:
            return self.clash
        body[self.to] = value
        return self.done


@dataclass(frozen=True, slots=True)
class ClampStep:
    """Brings a number down to the highest that is accepted."""

    parameter: Parameter
    at_most: float
    done: Adjustment

    @property
    def watched(self) -> str:
        return self.parameter.head

    def apply(self, body: Fields) -> Adjustment | None:
        value = self.parameter.read(body)
        if not isinstance(value, int | float) or value <= self.at_most:
            return None
        self.parameter.write(body, self.at_most)
        return self.done


@dataclass(frozen=True, slots=True)
class EffortStep:
    """Replaces an effort by the accepted one nearest to it."""

    parameter: Parameter
    replaced: Mapping[str, tuple[str, Adjustment]]

    @property
    def watched(self) -> str:
        return self.parameter.head

    def apply(self, body: Fields) -> Adjustment | None:
        asked = self.parameter.read(body)
        if not isinstance(asked, str) or asked not in self.replaced:
            return None
        given, done = self.replaced[asked]
        self.parameter.write(body, given)
        return done


@dataclass(frozen=True, slots=True, kw_only=True)
class NoEffortStep:
    """Sets the effort to none for a request with tools."""

    efforts: Efforts
    added: Adjustment
    replaced: Adjustment

    watched: ClassVar[str] = "tools"

    def apply(self, body: Fields) -> Adjustment | None:
        if not tools_with_effort(body, self.efforts):
            return None
        stated = self.efforts.parameter.read(body)
        self.efforts.parameter.write(body, "none")
        return self.added if stated is ABSENT else self.replaced


@dataclass(frozen=True, slots=True)
class MoveSystemStep:
    """Moves system text into the first user message."""

    done: Adjustment

    watched: ClassVar[str] = "messages"

    def apply(self, body: Fields) -> Adjustment | None:
        moved = without_system(body["messages"])
        if moved is None:
            return None
        body["messages"] = moved
        return self.done


def tools_with_effort(body: Fields, efforts: Efforts) -> bool:
    """Whether the request has tools and will run with a reasoning effort other than none."""
    return "tools" in body and efforts.effective(body) != "none" and bool(_TOOLS.read(body))
