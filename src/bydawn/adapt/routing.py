"""Chooses the endpoint for one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bydawn.adapt.steps import tools_with_effort

if TYPE_CHECKING:
    from bydawn.adapt.book import ModelFacts
    from bydawn.adapt.efforts import Efforts
    from bydawn.core.adjustment import Adjustment
    from bydawn.core.request import Endpoint, Fields, Form

INPUT_ENDPOINTS: dict[str, Endpoint] = {"embeddings": "embeddings", "moderations": "moderations"}
"""Where models of these kinds take their text; any other takes an ``input`` on responses."""

TEXT_ENDPOINTS: dict[str, Endpoint] = {**INPUT_ENDPOINTS, "completions": "completions"}
"""Where a prompt goes for models that do not chat."""


@dataclass(frozen=True, slots=True)
class ChatExit:
    """Why requests of a model are sent to responses instead of chat: all of them, or with ``efforts`` given, those
    with tools that would run with a reasoning effort."""

    adjustment: Adjustment
    efforts: Efforts | None = None

    def concerns(self, fields: Fields) -> bool:
        return self.efforts is None or tools_with_effort(fields, self.efforts)


def choose_endpoint(
    facts: ModelFacts, form: Form, fields: Fields, wanted: Endpoint | None
) -> tuple[Endpoint, Adjustment | None]:
    """The endpoint for a request, and the adjustment when it is not the one its form means.

    What the user ``wanted`` is taken as it is. Otherwise an ``input`` goes where the model's kind takes it, and
    messages go to chat, unless the model has another kind of endpoint, or it or its tools work on responses only.
    """
    if wanted is not None:
        return wanted, None
    if form == "input":
        return INPUT_ENDPOINTS.get(facts.kind, "responses"), None
    if facts.kind in TEXT_ENDPOINTS:
        return TEXT_ENDPOINTS[facts.kind], None
    leaving = facts.chat_exit
    if leaving is not None and leaving.concerns(fields):
        return "responses", leaving.adjustment
    return "chat", None
