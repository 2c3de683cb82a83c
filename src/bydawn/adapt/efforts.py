"""Reasoning efforts: which a model accepts, and which of them holds for a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from bydawn.adapt.fields import Parameter

if TYPE_CHECKING:
    from bydawn.core.request import Endpoint, Fields

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

SCALE: tuple[Effort, ...] = get_args(Effort)
"""Every effort word there is, from no thought to the most. Source: openai SDK 3.54, shared_params/reasoning_effort."""


def effort_parameter(endpoint: Endpoint) -> Parameter:
    """Where a request states its effort."""
    return Parameter("reasoning.effort" if endpoint == "responses" else "reasoning_effort")


@dataclass(frozen=True, slots=True)
class Efforts:
    """What one model accepts on one endpoint. No ``values``: nothing is known, and everything is left alone."""

    parameter: Parameter
    values: tuple[Effort, ...] = ()
    default: Effort | None = None

    def nearest(self, asked: str) -> str:
        """The accepted effort closest to what was asked; of two as close, the one that thinks more.

        A word outside the scale comes back as it is: it may be newer than these facts.
        """
        if not self.values or asked in self.values or asked not in SCALE:
            return asked
        wanted = SCALE.index(asked)
        return min(self.values, key=lambda value: (abs(SCALE.index(value) - wanted), -SCALE.index(value)))

    def effective(self, body: Fields) -> str | None:
        """The effort the request will run with; None when it states none and no default is known."""
        asked = self.parameter.read(body)
        return self.nearest(asked) if isinstance(asked, str) else self.default
