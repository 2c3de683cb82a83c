"""From requests to batch files: read once, adapted once, encoded once, into the very bytes that are uploaded.

Nothing is sent from here, and nothing counts until the whole input proved valid: problems are collected with their
lines and raised together at the end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.adapt import choose_endpoint
from bydawn.core.batch import Lane
from bydawn.core.events import Planning
from bydawn.core.model import ModelRef, parse_model
from bydawn.engine.packing import lane_limits
from bydawn.engine.writing import LaneWriter
from bydawn.errors import ConfigError
from bydawn.providers.registry import PROVIDERS, get_provider
from bydawn.store.ledger import PENDING, SEGMENT_ROWS, VOID, Segment
from bydawn.store.records import Plan, lane_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bydawn.adapt import Adapter, FactBook, ModelFacts
    from bydawn.core.adjustment import Adjustment
    from bydawn.core.batch import Limits
    from bydawn.core.events import Listener
    from bydawn.core.job import JobOptions
    from bydawn.core.problems import Problems
    from bydawn.core.request import Endpoint, Request
    from bydawn.core.settings import EngineSettings
    from bydawn.engine.writing import Shelf
    from bydawn.ids import IdSource
    from bydawn.io import Source
    from bydawn.providers.base import Provider

REPORT_EVERY_ROWS = 5_000
_KNOWN = frozenset(PROVIDERS)


class Route:
    """Where one kind of request goes: its lane, codec and rules, and how much it has carried."""

    __slots__ = (
        "adapter", "bytes", "endpoint", "lane", "limits", "max_output", "name", "provider", "requests", "unbounded",
        "writer",
    )  # fmt: skip

    def __init__(self, lane: Lane, provider: Provider, adapter: Adapter, limits: Limits, writer: LaneWriter) -> None:
        self.lane = lane
        self.endpoint: Endpoint = lane.endpoint
        self.name = lane.model.name
        self.provider = provider
        self.adapter = adapter
        self.limits = limits
        self.writer = writer
        self.requests = 0
        self.bytes = 0
        self.max_output = 0
        self.unbounded = False


@dataclass(slots=True)
class LaneLoad:
    """What a lane would carry, for estimates. ``max_output_tokens`` is None when a request leaves its output open."""

    lane: Lane
    requests: int
    batches: int
    bytes: int
    max_output_tokens: int | None


class Planner:
    """Plans one job. ``width`` ordinals belong to each row, one for each of the job's models."""

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
        put_segment: Callable[[Segment], None],
        put_id: Callable[[int, str], None],
        on_event: Listener,
    ) -> None:
        self._options = options
        self._facts = facts
        self._settings = settings
        self._limits = limits
        self._quotas = quotas
        self._ids = ids
        self._shelf = shelf
        self._put_segment = put_segment
        self._put_id = put_id
        self._on_event = on_event
        self._models = [parse_model(text, _KNOWN) for text in options.models]
        self._provider = self._models[0].provider if self._models else None
        self._numbers = count(1)
        self._lanes: dict[Lane, Route] = {}
        self._routes: dict[tuple[object, ...], tuple[Route, Adjustment | None]] = {}
        self._adjusted: Counter[Adjustment] = Counter()
        self._segment = Segment(0)
        self.width = max(1, len(self._models))

    def plan(self, source: Source, problems: Problems) -> Plan:
        """Read the whole source and write its batches; raises InvalidInput when anything is wrong with it."""
        rows = requests = 0
        for request in source.requests(problems):
            rows += 1
            if request.id is not None:
                self._put_id(request.row, request.id)
            requests += self._add(request, problems)
            if rows % REPORT_EVERY_ROWS == 0:
                self._on_event(Planning(rows))
        problems.raise_if_any()
        self._on_event(Planning(rows))
        self._finish_ledger(rows * self.width)
        return Plan(
            rows=rows,
            width=self.width,
            requests=requests,
            lanes=tuple(self._lanes),
            batches=self._batches(),
            adjustments=tuple(self._adjusted.items()),
            notices=tuple(self._notices()),
        )

    def loads(self) -> list[LaneLoad]:
        """What each lane carries, after `plan`."""
        return [
            LaneLoad(
                lane,
                route.requests,
                len(route.writer.finished),
                route.bytes,
                None if route.unbounded else route.max_output,
            )
            for lane, route in self._lanes.items()
        ]

    def _add(self, request: Request, problems: Problems) -> int:
        models = self._models_of(request, problems)
        for index, model in enumerate(models):
            route, rerouted = self._route(model, request)
            if rerouted is not None:
                self._adjusted[rerouted] += 1
            self._write(route, request, request.row * self.width + index, problems)
        return len(models)

    def _models_of(self, request: Request, problems: Problems) -> list[ModelRef]:
        if request.model is None:
            if not self._models:
                problems.add(request.line, "no model is named", "add -m provider/name, or a model to the row")
            return self._models
        try:
            default = "openai" if request.form == "native" and self._provider is None else self._provider
            return [parse_model(request.model, _KNOWN, default)]
        except ConfigError as error:
            problems.add(request.line, str(error), error.hint or "")
            return []

    def _route(self, model: ModelRef, request: Request) -> tuple[Route, Adjustment | None]:
        fields = request.fields
        key: tuple[object, ...] = (model, request.form, request.endpoint, "input" in fields)
        if "tools" in fields:  # which endpoint takes tools may hang on the effort asked for
            key += tuple(_text(fields.get(name)) for name in _EFFORT_FIELDS)
        known = self._routes.get(key)
        if known is None:
            facts = self._facts.model(model)
            wanted = request.endpoint or self._options.endpoint
            endpoint, rerouted = choose_endpoint(facts, request.form, fields, wanted)
            known = self._routes[key] = (self._lane(Lane(model, endpoint)), rerouted)
        return known

    def _lane(self, lane: Lane) -> Route:
        route = self._lanes.get(lane)
        if route is None:
            provider = get_provider(lane.model.provider)
            limits = lane_limits(
                narrowed(provider.limits(lane.endpoint), self._limits, lane),
                max_rows=self._settings.max_batch_rows,
                tokens=self._quotas.get(lane_key(lane)),
            )
            writer = LaneWriter(
                len(self._lanes),
                limits,
                self._shelf,
                self._ids,
                self._numbers.__next__,
                attempts_left=self._options.max_attempts - 1,
            )
            adapter = self._facts.adapter(lane.model, lane.endpoint)
            route = self._lanes[lane] = Route(lane, provider, adapter, limits, writer)
        return route

    def _write(self, route: Route, request: Request, ordinal: int, problems: Problems) -> None:
        provider, endpoint = route.provider, route.endpoint
        try:
            body, shaped = provider.shape(request.fields, request.form, endpoint)
        except ValueError as error:
            problems.add(request.line, str(error))
            return
        body, adapted = route.adapter.adapt(body)
        if problems.total:
            return  # the input is refused already: go on reading for further problems, write no more
        size = route.writer.add(
            ordinal,
            partial(provider.encode, endpoint=endpoint, model=route.name, body=body),
            inputs=provider.inputs(endpoint, body),
            answer_format=_answer_format(body),
        )
        if size > route.limits.row_bytes:
            problems.add(
                request.line,
                f"the request has {size:,} bytes, {route.lane.model.provider} takes at most {route.limits.row_bytes:,}",
                "shorten it, or refer to files by URL",
            )
        for adjustment in shaped:
            self._adjusted[adjustment] += 1
        for adjustment in adapted:
            self._adjusted[adjustment] += 1
        route.requests += 1
        route.bytes += size
        self._bound_output(route, body)
        self._enter(ordinal, route.writer.number)

    def _bound_output(self, route: Route, body: Mapping[str, Any]) -> None:
        for name in _OUTPUT_BOUNDS:
            bound = body.get(name)
            if bound is not None:
                value = msgspec.json.decode(bound) if isinstance(bound, msgspec.Raw) else bound
                if isinstance(value, int):
                    route.max_output += value
                    return
        route.unbounded = True

    def _enter(self, ordinal: int, owner: int) -> None:
        segment = self._segment
        position = ordinal - segment.number * SEGMENT_ROWS
        if position >= SEGMENT_ROWS:
            self._finish_ledger(ordinal)
            segment = self._segment
            position = ordinal - segment.number * SEGMENT_ROWS
        if position > len(segment.states):
            _pad(segment, position)
        segment.states.append(PENDING)
        segment.owners.append(owner)

    def _finish_ledger(self, end: int) -> None:
        """Store the ledger up to ordinal ``end``, whole segments and what remains of the last one."""
        while True:
            segment = self._segment
            _pad(segment, min(SEGMENT_ROWS, end - segment.first))
            if segment.states:
                self._put_segment(segment)
            if end - segment.first < SEGMENT_ROWS:
                return
            self._segment = Segment(segment.number + 1)

    def _batches(self) -> tuple[Any, ...]:
        for route in self._lanes.values():
            route.writer.close()
        finished = [batch for route in self._lanes.values() for batch in route.writer.finished]
        return tuple(sorted(finished, key=lambda batch: batch.number))

    def _notices(self) -> list[str]:
        models = {lane.model: None for lane in self._lanes}
        return [text for model in models for text in _unknown(self._facts.model(model), model)]


def _unknown(facts: ModelFacts, model: ModelRef) -> list[str]:
    if facts.known:
        return []
    return [f"nothing is known of {model}: its requests are sent as they are, the provider decides"]


def _pad(segment: Segment, length: int) -> None:
    missing = length - len(segment.states)
    if missing > 0:
        segment.states.extend(bytes([VOID]) * missing)
        segment.owners.extend([0] * missing)


_EFFORT_FIELDS = ("reasoning_effort", "reasoning")


def _text(value: Any) -> bytes | None:
    """The JSON of a field's value, None for a field that is not there."""
    if value is None:
        return None
    return bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)


_OUTPUT_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


def _answer_format(body: Mapping[str, Any]) -> bytes | None:
    """Return the JSON of what the request says about its answer's form: chat's or responses' field."""
    wanted = body.get("response_format")
    return _text(body.get("text") if wanted is None else wanted)


def narrowed(limits: Limits, overrides: Mapping[str, Any], lane: Lane) -> Limits:
    """Apply the user's ``[limits]`` tables: a provider's, then a model's (``"openai/gpt-4o"``)."""
    for name in (lane.model.provider, str(lane.model)):
        table = overrides.get(name)
        if table is not None:
            unknown = set(table) - {field.name for field in fields(limits)}
            if unknown:
                raise ConfigError(f"[limits.{name!r}] has unknown keys: {', '.join(sorted(unknown))}")
            limits = replace(limits, **table)
    return limits
