"""From requests to batch files: read once, adapted once, encoded once, into the very bytes that are uploaded.

Nothing is sent from here, and nothing counts until the whole input proved valid: problems are collected with their
lines and raised together at the end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bydawn.core.events import Planning
from bydawn.engine.entering import LedgerWriter
from bydawn.engine.recipe import Recipe
from bydawn.errors import ConfigError
from bydawn.store.records import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from bydawn.core.adjustment import Adjustment
    from bydawn.core.batch import Lane
    from bydawn.core.events import Listener
    from bydawn.core.model import ModelRef
    from bydawn.core.problems import Problems
    from bydawn.core.request import Mould, Request
    from bydawn.engine.route import Route, Router
    from bydawn.io import Source
    from bydawn.store.ledger import Segment
    from bydawn.store.records import NewBatch

REPORT_EVERY_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """What a lane would carry, for estimates. ``max_output_tokens`` is None when a request leaves its output open."""

    lane: Lane
    requests: int
    batches: int
    bytes: int
    max_output_tokens: int | None


class Planner:
    """Plans one job. ``router.width`` ordinals belong to each row, one for each of the job's models."""

    def __init__(
        self,
        router: Router,
        *,
        put_segment: Callable[[Segment], None],
        put_id: Callable[[int, str], None],
        on_event: Listener,
    ) -> None:
        self._router = router
        self._put_id = put_id
        self._on_event = on_event
        self._ledger = LedgerWriter(put_segment)
        self._recipes: dict[Mould, list[Recipe]] = {}
        self._own_models = 0
        self._retired: Counter[tuple[Route, tuple[Adjustment, ...], int | None]] = Counter()

    def plan(self, source: Source, problems: Problems) -> Plan:
        """Read the whole source and write its batches; raises InvalidInput when anything is wrong with it."""
        rows = 0
        for request in source.requests(problems):
            rows += 1
            if request.id is not None:
                self._put_id(request.row, request.id)
            if request.model is not None:
                self._own_models += 1
            self._add(request, problems)
            if rows % REPORT_EVERY_ROWS == 0:
                self._on_event(Planning(rows))
        problems.raise_if_any()
        self._on_event(Planning(rows))
        self._ledger.finish(rows * self._router.width)
        for recipes in self._recipes.values():
            for recipe in recipes:
                self._retire(recipe)
        batches = self._batches()
        return Plan(
            rows=rows,
            width=self._router.width,
            requests=sum(batch.rows for batch in batches),
            lanes=tuple(self._router.lanes),
            batches=batches,
            adjustments=self._adjustments(),
            notices=self._notices(),
        )

    def _add(self, request: Request, problems: Problems) -> None:
        mould = request.mould
        known = self._recipes.get(mould) if mould is not None else None
        first = request.row * self._router.width
        if mould is not None and known is not None:
            content = bytes(request.fields[mould.content])
            if b"\n" not in content and b"\r" not in content:
                for index, recipe in enumerate(known):
                    self._add_quickly(recipe, request, first + index, content, problems)
                return
        try:
            models = self._router.models_of(request)
        except ConfigError as error:
            problems.add(request.line, str(error), error.hint or "")
            return
        recipes = [self._add_fully(model, request, first + index, problems) for index, model in enumerate(models)]
        self._keep(request, recipes)

    def _add_quickly(self, recipe: Recipe, request: Request, ordinal: int, content: bytes, problems: Problems) -> None:
        """Write a request of a mould that is known."""
        if problems.total:
            return  # the input is refused already: go on reading for further problems, write no more
        route = recipe.route
        inputs = route.provider.inputs(route.endpoint, request.fields) if route.counts_inputs else 0
        size = route.writer.add(ordinal, recipe.line, content, inputs=inputs, answer_format=recipe.answer_format)
        recipe.rows += 1
        self._ledger.enter(ordinal, route.writer.number)
        if size > route.limits.row_bytes:
            _too_large(route, request, size, problems)

    def _add_fully(
        self, model: ModelRef, request: Request, ordinal: int, problems: Problems
    ) -> tuple[Recipe, bool] | None:
        """Write a request the long way; return its recipe and whether it will do for others of its mould."""
        route, rerouted = self._router.route(model, request)
        try:
            shaped, changes = route.provider.shape(request.fields, request.form, route.endpoint)
        except ValueError as error:
            problems.add(request.line, str(error))
            return None
        body, more = route.adapter.adapt(shaped)
        if problems.total:
            return None
        recipe = Recipe(route, shaped, body, (*(() if rerouted is None else (rerouted,)), *changes, *more))
        inputs = route.provider.inputs(route.endpoint, body)
        size = route.writer.add(ordinal, route.encode, body, inputs=inputs, answer_format=recipe.answer_format)
        recipe.rows = 1
        self._ledger.enter(ordinal, route.writer.number)
        if size > route.limits.row_bytes:
            _too_large(route, request, size, problems)
        mould = request.mould
        good = (
            mould is not None
            and not route.adapter.watches(mould.content)
            and shaped is request.fields
            and recipe.keep(body, mould.content, request.fields)
        )
        return recipe, good

    def _keep(self, request: Request, made: list[tuple[Recipe, bool] | None]) -> None:
        """Keep a row's recipes for its mould when all of them will do; else only count what they did."""
        recipes = [item[0] for item in made if item is not None]
        mould = request.mould
        if mould is not None and mould not in self._recipes and all(item is not None and item[1] for item in made):
            self._recipes[mould] = recipes
        else:
            for recipe in recipes:
                self._retire(recipe)

    def _retire(self, recipe: Recipe) -> None:
        self._retired[recipe.route, recipe.adjustments, recipe.output_bound] += recipe.rows

    def _adjustments(self) -> tuple[tuple[Adjustment, int], ...]:
        counts: Counter[Adjustment] = Counter()
        for (_, adjustments, _), rows in self._retired.items():
            for adjustment in adjustments:
                counts[adjustment] += rows
        return tuple(counts.items())

    def _notices(self) -> tuple[str, ...]:
        if not self._own_models or not self._router.has_models:
            return ()
        return (f"{self._own_models:,} rows name a model of their own, which counts more than -m",)

    def _batches(self) -> tuple[NewBatch, ...]:
        routes = self._router.lanes.values()
        for route in routes:
            route.writer.close()
        return tuple(sorted((new for route in routes for new in route.writer.finished), key=lambda new: new.number))

    def abandon(self) -> None:
        """Close the batch files that were being written."""
        for route in self._router.lanes.values():
            route.writer.abandon()

    def loads(self) -> list[LaneLoad]:
        """What each lane carries, after `plan`."""
        return [self._load(lane, route) for lane, route in self._router.lanes.items()]

    def _load(self, lane: Lane, route: Route) -> LaneLoad:
        finished = route.writer.finished
        bounds = [(bound, rows) for (other, _, bound), rows in self._retired.items() if other is route]
        return LaneLoad(
            lane=lane,
            requests=sum(batch.rows for batch in finished),
            batches=len(finished),
            bytes=sum(batch.bytes for batch in finished),
            max_output_tokens=_total(bounds),
        )


def _total(bounds: list[tuple[int | None, int]]) -> int | None:
    total = 0
    for bound, rows in bounds:
        if bound is None:
            return None
        total += bound * rows
    return total


def _too_large(route: Route, request: Request, size: int, problems: Problems) -> None:
    problems.add(
        request.line,
        f"the request has {size:,} bytes, {route.lane.model.provider} takes at most {route.limits.row_bytes:,}",
        "shorten it, or refer to files by URL",
    )
