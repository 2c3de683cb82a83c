"""``/_sandbox``: what tests ask and steer. No key is needed; the sandbox listens on loopback only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from bydawn.sandbox.faults import FaultPlan

if TYPE_CHECKING:
    from starlette.requests import Request

    from bydawn.sandbox.world import World

OUTPUT_WEIGHT = 4
"""An output token costs as many units as four input tokens: the usual ratio, in no currency."""
_PAGE_MAX = 10_000


class Control:
    """The control endpoints of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.routes = [
            Route("/_sandbox/ledger", self.ledger, methods=["GET"]),
            Route("/_sandbox/calls", self.calls, methods=["GET"]),
            Route("/_sandbox/state", self.state, methods=["GET"]),
            Route("/_sandbox/clock", self.clock, methods=["POST"]),
            Route("/_sandbox/faults", self.faults, methods=["PUT", "POST"]),
        ]

    async def ledger(self, request: Request) -> Response:
        """What would have been billed: sums, and a page of rows beyond ``?after=<batch_id>:<position>``."""
        try:
            after = _edge(request.query_params.get("after", ""))
            limit = min(int(request.query_params.get("limit", "100")), _PAGE_MAX)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return _json(await run_in_threadpool(self.ledger_page, after, limit))

    def ledger_page(self, after: tuple[str, int], limit: int) -> dict[str, Any]:
        """The ledger's answer; rows of batches that have not ended are not in it yet."""
        store = self._world.store
        rows = store.ledger_page(after, limit)
        by_model = [_sum("model", *entry) for entry in store.ledger_by("model")]
        last = rows[-1] if len(rows) == limit and rows else None
        return {
            "rows_billed": sum(entry["rows"] for entry in by_model),
            "input_tokens": sum(entry["input_tokens"] for entry in by_model),
            "output_tokens": sum(entry["output_tokens"] for entry in by_model),
            "cost_units": sum(entry["cost_units"] for entry in by_model),
            "distinct_bodies_by_times_billed": {str(k): n for k, n in store.billed_times().items()},
            "by_model": by_model,
            "by_batch": [_sum("batch_id", *entry) for entry in store.ledger_by("batch_id")],
            "data": [{**row, "cost_units": row["input_tokens"] + OUTPUT_WEIGHT * row["output_tokens"]} for row in rows],
            "next": f"{last['batch_id']}:{last['position']}" if last else None,
        }

    async def calls(self, request: Request) -> Response:
        """Every request that arrived: counts by kind, and a page beyond ``?after=<seq>``."""
        try:
            after = int(request.query_params.get("after", "0"))
            limit = min(int(request.query_params.get("limit", "1000")), _PAGE_MAX)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        store = self._world.store
        return _json({"counts": store.call_counts(), "data": store.calls(after, limit)})

    async def state(self, request: Request) -> Response:  # noqa: ARG002
        """Time, numbers of things, the plan in force, notes."""
        world = self._world
        return _json(
            {
                "now": world.clock.now(),
                "speed": world.clock.speed,
                "instant": world.config.instant,
                "seed": world.config.seed,
                "records": world.store.counts(),
                "faults": world.faults.plan,
                "notes": world.notes,
            }
        )

    async def clock(self, request: Request) -> Response:
        """``{"advance_s": n}``: jump forward, do all that became due, then answer with the new time."""
        try:
            wish = msgspec.json.decode(await request.body(), type=dict[str, float])
            self._world.clock.advance(wish.get("advance_s", 0.0))
        except (msgspec.DecodeError, ValueError) as error:
            return _json({"error": str(error)}, 400)
        await run_in_threadpool(self._world.settle)
        return _json({"now": self._world.clock.now()})

    async def faults(self, request: Request) -> Response:
        """Put the plan in the body (JSON, see `FaultPlan`) in force; counting begins anew."""
        try:
            plan = msgspec.json.decode(await request.body(), type=FaultPlan)
        except msgspec.DecodeError as error:
            return _json({"error": str(error)}, 400)
        self._world.faults.replace(plan)
        return _json({"faults": plan})


def _edge(text: str) -> tuple[str, int]:
    """``<batch_id>:<position>`` in parts; the empty text stands before everything. Raises ValueError."""
    batch_id, _, position = text.rpartition(":")
    return batch_id, int(position) if text else -1


def _sum(name: str, value: str, rows: int, input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        name: value, "rows": rows, "input_tokens": input_tokens, "output_tokens": output_tokens,
        "cost_units": input_tokens + OUTPUT_WEIGHT * output_tokens,
    }  # fmt: skip


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
