"""OpenAI put together: its routes, and what moves its batches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from bydawn.sandbox.calls import Call, drain, html_page
from bydawn.sandbox.openai.accounts import account_of, admit
from bydawn.sandbox.openai.batches import Batches
from bydawn.sandbox.openai.errors import ApiError, error_of_status
from bydawn.sandbox.openai.execution import Executor
from bydawn.sandbox.openai.files import Files
from bydawn.sandbox.openai.lifecycle import Lifecycle, organization
from bydawn.sandbox.openai.live import Live, Models
from bydawn.sandbox.openai.models import PATHS, Catalogue
from bydawn.sandbox.openai.upstream import UpstreamRuns, open_upstream
from bydawn.sandbox.openai.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from bydawn.sandbox.faults import CallFault
    from bydawn.sandbox.world import World

    Handler = Callable[[Request, str], Awaitable[dict[str, Any] | Response]]


class OpenAI:
    """The provider as the sandbox mounts it: `routes` and `lifecycle`."""

    def __init__(self, world: World) -> None:
        self._world = world
        catalogue = Catalogue(world.config.extra_models, world.config.refuse_models_ended_by)
        upstream = open_upstream(world.config, world.notes)
        executor = Executor(world, catalogue, upstream)
        runs = UpstreamRuns(world, upstream, executor) if upstream is not None else None
        files = Files(world)
        self.lifecycle = Lifecycle(
            world, files=files, executor=executor, catalogue=catalogue, runs=runs, webhooks=Webhooks(world)
        )
        self.routes = self._routes(files, Batches(world, self.lifecycle), Models(catalogue), Live(world, executor))

    def _routes(self, files: Files, batches: Batches, models: Models, live: Live) -> list[Route]:
        return [
            self._route("POST", "/v1/files", "files.create", files.create, writes=True),
            self._route("GET", "/v1/files", "files.list", files.page),
            self._route("GET", "/v1/files/{file_id}", "files.retrieve", files.retrieve),
            self._route("DELETE", "/v1/files/{file_id}", "files.delete", files.delete, writes=True),
            self._route("GET", "/v1/files/{file_id}/content", "files.content", files.content),
            self._route("POST", "/v1/batches", "batches.create", batches.create, writes=True, costs=True),
            self._route("GET", "/v1/batches", "batches.list", batches.page),
            self._route("GET", "/v1/batches/{batch_id}", "batches.retrieve", batches.retrieve),
            self._route("POST", "/v1/batches/{batch_id}/cancel", "batches.cancel", batches.cancel, writes=True),
            self._route("GET", "/v1/models", "models.list", models.page),
            self._route("GET", "/v1/models/{model}", "models.retrieve", models.retrieve),
            *(
                self._route("POST", path, f"{endpoint}.create", live.answer, writes=True, costs=True)
                for path, endpoint in PATHS.items()
            ),
            Route("/v1/{rest:path}", _unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]

    def _route(
        self, method: str, path: str, kind: str, handler: Handler, *, writes: bool = False, costs: bool = False
    ) -> Route:
        async def handle(request: Request) -> Response:
            started = time.perf_counter()
            try:
                account = admit(request, self._world.config, writes=writes, costs=costs)
                answer = await handler(request, account)
                response = answer if isinstance(answer, Response) else json_response(200, answer)
            except ApiError as error:
                await drain(request)
                response = json_response(error.status, error.body)
            self._add_headers(request, response, time.perf_counter() - started)
            return response

        return Route(path, Call(self._world, kind, handle, fault_response, account_of), methods=[method])

    def _add_headers(self, request: Request, response: Response, seconds: float) -> None:
        response.headers["x-request-id"] = f"req_{self._world.new_id('request', 32, '0123456789abcdef')}"
        response.headers["openai-organization"] = organization(account_of(request))
        response.headers["openai-processing-ms"] = str(int(seconds * 1000))
        response.headers["openai-version"] = "2020-10-01"


async def _unknown(request: Request) -> Response:
    """Any other URL."""
    return json_response(404, ApiError(404, f"Invalid URL ({request.method} {request.url.path})").body)


def json_response(status: int, body: dict[str, Any]) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def fault_response(fault: CallFault) -> Response:
    """The answer a fault asks for."""
    if fault.html:
        return html_page(fault.status)
    return json_response(fault.status, error_of_status(fault.status, fault.code).body)
