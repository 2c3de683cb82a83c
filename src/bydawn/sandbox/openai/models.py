"""The models the sandbox knows, from ``models.toml``: names, snapshots, shutdown dates and the traits rules look at."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

Endpoint = Literal["chat", "responses", "embeddings", "completions", "moderations"]

PATHS: dict[str, Endpoint] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
    "/v1/completions": "completions",
    "/v1/moderations": "moderations",
}
"""Endpoints whose requests the sandbox can execute."""


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model and what it accepts; the fields are explained in ``models.toml``."""

    name: str
    snapshot: str
    family: str
    endpoints: tuple[str, ...]
    shutdown: str | None = None
    sampling: Literal["any", "never", "effort_none"] = "any"
    max_tokens: bool = False
    system: bool = True
    tools: bool = True
    structured: bool = True
    parallel_tool_calls: bool = True
    stop: bool = True
    prediction: bool = True
    verbosity: bool = False
    reasons: bool = False
    efforts: tuple[str, ...] = ()
    responses_efforts: tuple[str, ...] = ()
    effort: str | None = None
    chat_tools: Literal["any", "effort_none", "never"] = "any"
    context_tokens: int = 128_000
    dimensions: int = 1_536
    dimensions_fixed: bool = False

    def efforts_at(self, endpoint: str) -> tuple[str, ...]:
        """Reasoning efforts accepted at an endpoint."""
        return self.efforts + (self.responses_efforts if endpoint == "responses" else ())


class Catalogue:
    """Models by name. Dated snapshots and fine-tunes (``ft:<model>:…``) stand for their model."""

    def __init__(self, extra: Iterable[str] = (), refuse_ended_by: date | None = None) -> None:
        known = [model for model in known_models() if not _ended(model, refuse_ended_by)]
        additional = [
            Model(name=name, snapshot=name, family="extra", endpoints=("chat", "responses")) for name in extra
        ]
        self.models = {model.name: model for model in known + additional}
        self._snapshots = {model.snapshot: model for model in known}

    def find(self, name: object) -> Model | None:
        """The model a request names, or None."""
        if not isinstance(name, str):
            return None
        model = self.models.get(name) or self._snapshots.get(name)
        if model is None and name.startswith("ft:"):
            base = self.find(name.split(":")[1])
            return None if base is None else msgspec.structs.replace(base, name=name, snapshot=name)
        return model


@cache
def known_models() -> tuple[Model, ...]:
    """Every model of ``models.toml``, its family's traits filled in."""
    tables = _tables()
    return tuple(msgspec.convert(tables["family"][entry["family"]] | entry, Model) for entry in tables["model"])


@cache
def known_fields(endpoint: Endpoint) -> frozenset[str]:
    """The body fields an endpoint knows."""
    return frozenset(_tables()["fields"][endpoint])


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads((files(__package__) / "models.toml").read_text(encoding="utf-8"))


def _ended(model: Model, day: date | None) -> bool:
    return day is not None and model.shutdown is not None and model.shutdown <= day.isoformat()
