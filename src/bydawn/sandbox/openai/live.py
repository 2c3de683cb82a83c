"""The endpoints that answer at once, and the models: the same rules and answers as in a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from bydawn.sandbox.openai.batches import json_object
from bydawn.sandbox.openai.errors import ApiError
from bydawn.sandbox.openai.execution import Place, executed_row
from bydawn.sandbox.openai.models import PATHS

if TYPE_CHECKING:
    from starlette.requests import Request

    from bydawn.sandbox.openai.execution import Executor, Outcome
    from bydawn.sandbox.openai.models import Catalogue, Model
    from bydawn.sandbox.world import World

LIVE = "live"
"""Stands for the batch of calls outside any batch."""
_MODEL_CREATED = 1_700_000_000


class Live:
    """Live endpoints."""

    def __init__(self, world: World, executor: Executor) -> None:
        self._world = world
        self._executor = executor

    async def answer(self, request: Request, account: str) -> dict[str, Any]:  # noqa: ARG002
        """``POST /v1/chat/completions`` and the like."""
        body = await json_object(request)
        if body.get("stream"):
            raise ApiError(400, "This sandbox does not stream.", param="stream", code="unsupported_value")
        outcome = await run_in_threadpool(self._run, request.url.path, body)
        if not outcome.is_ok or outcome.body is None:
            error = (outcome.body or {}).get("error") or outcome.error or {}
            raise _as_error(outcome.status or 500, error)
        return outcome.body

    def _run(self, path: str, body: dict[str, Any]) -> Outcome:
        place = Place(LIVE, 0, "")
        outcome = self._executor.run(PATHS[path], body, place, self._world.clock.now())
        self._world.store.add_live_row(executed_row(outcome, place, 0))
        return outcome


def _as_error(status: int, error: dict[str, Any]) -> ApiError:
    return ApiError(
        status, str(error.get("message")), type=error.get("type", "server_error"),
        param=error.get("param"), code=error.get("code"),
    )  # fmt: skip


class Models:
    """The model endpoints."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def page(self, request: Request, account: str) -> dict[str, Any]:  # noqa: ARG002
        """``GET /v1/models``."""
        return {"object": "list", "data": [_shown(model) for model in self._catalogue.models.values()]}

    async def retrieve(self, request: Request, account: str) -> dict[str, Any]:  # noqa: ARG002
        """``GET /v1/models/{id}``."""
        name = request.path_params["model"]
        model = self._catalogue.find(name)
        if model is None:
            message = f"The model '{name}' does not exist"
            raise ApiError(404, message, param="model", code="model_not_found")
        return {**_shown(model), "id": name}


def _shown(model: Model) -> dict[str, Any]:
    return {
        "id": model.name, "object": "model", "created": _MODEL_CREATED, "owned_by": "system",
        "shutdown_date": model.shutdown,
    }  # fmt: skip
