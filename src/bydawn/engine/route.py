"""Where requests go: which model, which endpoint, and so which lane."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.adapt import choose_endpoint
from bydawn.core.batch import Lane
from bydawn.core.model import parse_model
from bydawn.engine.packing import lane_limits
from bydawn.engine.writing import LaneWriter
from bydawn.errors import ConfigError
from bydawn.providers.registry import PROVIDERS, get_provider
from bydawn.store.records import lane_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bydawn.adapt import Adapter, FactBook
    from bydawn.core.adjustment import Adjustment
    from bydawn.core.batch import Limits
    from bydawn.core.job import JobOptions
    from bydawn.core.model import ModelRef
    from bydawn.core.request import Endpoint, Fields, Request
    from bydawn.core.settings import EngineSettings
    from bydawn.engine.writing import Shelf
    from bydawn.ids import IdSource
    from bydawn.providers.base import Provider

KNOWN_PROVIDERS = frozenset(PROVIDERS)
_EFFORT_FIELDS = ("reasoning_effort", "reasoning")
_NATIVE_PROVIDER = "openai"
"""Whose models bare names in OpenAI's own batch lines are, when the job names no provider."""


class Route:
    """One lane with its codec, its rules and the batch that is being filled."""

    __slots__ = ("adapter", "counts_inputs", "endpoint", "lane", "limits", "provider", "writer")

    def __init__(self, lane: Lane, provider: Provider, adapter: Adapter, limits: Limits, writer: LaneWriter) -> None:
        self.lane = lane
        self.endpoint: Endpoint = lane.endpoint
        self.provider = provider
        self.adapter = adapter
        self.limits = limits
        self.writer = writer
        self.counts_inputs = limits.inputs is not None

    def encode(self, custom_id: str, body: Fields) -> bytes:
        """Return the line of a body."""
        return self.provider.encode(custom_id, self.endpoint, self.lane.model.name, body)


class Router:
    """Finds the route of each request, and makes it when it is the first of its lane."""

    def __init__(
        self,
        *,
        options: JobOptions,
        facts: FactBook,
        settings: EngineSettings,
        limits: Mapping[str, Any],
        quotas: Mapping[str, int],
        ids: IdSource,
        shelf: Shelf,
    ) -> None:
        self._options = options
        self._facts = facts
        self._settings = settings
        self._limits = limits
        self._quotas = quotas
        self._ids = ids
        self._shelf = shelf
        self._numbers = count(1)
        self._routes: dict[tuple[object, ...], tuple[Route, Adjustment | None]] = {}
        self._models = [parse_model(text, KNOWN_PROVIDERS) for text in options.models]
        for model in self._models:
            if self._models.count(model) > 1:
                raise ConfigError(f"{model} is named twice", hint="Every row would be sent to it, and paid for, twice.")
        self._provider = self._models[0].provider if self._models else None
        self.lanes: dict[Lane, Route] = {}
        self.width = max(1, len(self._models))

    @property
    def has_models(self) -> bool:
        """Whether the job names models, besides those that rows may name."""
        return bool(self._models)

    def models_of(self, request: Request) -> list[ModelRef]:
        """Return the models a request goes to: its own, or the job's. Raises ConfigError when there is none."""
        if request.model is not None:
            default = self._provider or (_NATIVE_PROVIDER if request.form == "native" else None)
            return [parse_model(request.model, KNOWN_PROVIDERS, default)]
        if not self._models:
            raise ConfigError("no model is named", hint="add -m provider/name, or a model to the row")
        return self._models

    def route(self, model: ModelRef, request: Request) -> tuple[Route, Adjustment | None]:
        """Return the way a request goes to a model, and the adjustment when it is not the one its form suggests."""
        fields = request.fields
        key: tuple[object, ...] = (model, request.form, request.endpoint, "input" in fields)
        if "tools" in fields:  # which endpoint takes tools may hang on the effort asked for
            key += tuple(json_of(fields.get(name)) for name in _EFFORT_FIELDS)
        known = self._routes.get(key)
        if known is None:
            wanted = request.endpoint or self._options.endpoint
            endpoint, rerouted = choose_endpoint(self._facts.model(model), request.form, fields, wanted)
            known = self._routes[key] = (self._lane(Lane(model, endpoint)), rerouted)
        return known

    def _lane(self, lane: Lane) -> Route:
        route = self.lanes.get(lane)
        if route is None:
            provider = get_provider(lane.model.provider)
            limits = lane_limits(
                narrowed(provider.limits(lane.endpoint), self._limits, lane),
                max_rows=self._settings.max_batch_rows,
                tokens=self._quotas.get(lane_key(lane)),
            )
            writer = LaneWriter(
                len(self.lanes),
                limits,
                self._shelf,
                self._ids,
                self._numbers.__next__,
                attempts_left=self._options.max_attempts - 1,
            )
            adapter = self._facts.adapter(lane.model, lane.endpoint)
            route = self.lanes[lane] = Route(lane, provider, adapter, limits, writer)
        return route


def json_of(value: Any) -> bytes | None:
    """The JSON of a field's value, None for a field that is not there."""
    if value is None:
        return None
    return bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)


def narrowed(limits: Limits, overrides: Mapping[str, Any], lane: Lane) -> Limits:
    """Apply the user's ``[limits]`` tables: a provider's, then a model's (``"openai/gpt-4o"``)."""
    for name in (lane.model.provider, str(lane.model)):
        table = overrides.get(name)
        if table is not None:
            unknown = set(table) - {field.name for field in dataclass_fields(limits)}
            if unknown:
                raise ConfigError(f"[limits.{name!r}] has unknown keys: {', '.join(sorted(unknown))}")
            for key, value in table.items():
                if type(value) is not int or value < 1:
                    raise ConfigError(f"[limits.{name!r}] {key} must be a whole number above 0, not {value!r}")
            limits = replace(limits, **table)
    return limits
