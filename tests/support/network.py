"""A network without sockets: calls an ASGI application in the same loop, streams its answer, and may fail on the way.

Unlike the HTTP library's own ASGI transport it hands the body over piece by piece, keeps the caller's read timeout, and
lets the network itself misbehave: refuse to connect, or deliver a request long after the caller has given up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Trip = Callable[[httpx2.Request], Awaitable[None]]


class Late(Exception):
    """The caller's connection breaks now; the request arrives ``delay_s`` seconds later."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(f"delivered {delay_s} s late")
        self.delay_s = delay_s


class Network(httpx2.AsyncBaseTransport):
    """Carries requests to ``app``. ``trip`` is awaited before each; what it raises is what the caller gets.

    ``on_chunk`` is called before each piece of an answer's body is handed over.
    """

    def __init__(self, app: Any, trip: Trip, on_chunk: Callable[[], None]) -> None:
        self._app = app
        self._trip = trip
        self._on_chunk = on_chunk
        self._tasks: set[asyncio.Task[None]] = set()
        self._late: list[tuple[httpx2.Request, bytes]] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = b"".join([chunk async for chunk in request.stream])  # type: ignore[union-attr]
        try:
            await self._trip(request)
        except Late as late:
            self._late.append((request, body))
            self._spawn(self._deliver_late(request, body, late.delay_s))
            raise httpx2.ReadTimeout("no answer in time", request=request) from None
        answer = _Answer(request.extensions.get("timeout", {}).get("read"), self._on_chunk)
        answer.task = self._spawn(self._serve(request, body, answer))
        status, headers = await answer.begin()
        return httpx2.Response(status, headers=headers, stream=answer)

    async def aclose(self) -> None:
        """Do nothing: clients come and go, the network stays until `end`."""

    async def end(self) -> None:
        """Drop what is still under way; only what is late arrives now, when its sender is gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._late:
            request, body = self._late.pop()
            await self._serve(request, body, _Answer(None, self._on_chunk))

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _deliver_late(self, request: httpx2.Request, body: bytes, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._late.remove((request, body))
        await self._serve(request, body, _Answer(None, self._on_chunk))

    async def _serve(self, request: httpx2.Request, body: bytes, answer: _Answer) -> None:
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})
        try:
            await self._app(_scope(request), inbox.get, answer.take)
        except httpx2.RequestError:
            answer.fail(httpx2.ReadError("the connection broke", request=request))
        except Exception as error:  # noqa: BLE001 - a crash of the server is a failed test: it must reach the caller
            answer.fail(error)


class _Answer(httpx2.AsyncByteStream):
    """An answer that is under way from the application to the caller."""

    def __init__(self, read_timeout_s: float | None, on_chunk: Callable[[], None]) -> None:
        self._timeout_s = read_timeout_s
        self._on_chunk = on_chunk
        self._queue: asyncio.Queue[dict[str, Any] | Exception] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    async def take(self, message: dict[str, Any]) -> None:
        """Receive a message from the application."""
        self._queue.put_nowait(message)

    def fail(self, error: Exception) -> None:
        """End the answer with an error."""
        self._queue.put_nowait(error)

    async def begin(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return status and headers."""
        message = await self._next()
        return message["status"], message["headers"]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._next()
            if message.get("body"):
                self._on_chunk()
                yield message["body"]
            if not message.get("more_body", False):
                return

    async def aclose(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def _next(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await self._queue.get()
        except TimeoutError:
            if self.task is not None:
                self.task.cancel()
            raise httpx2.ReadTimeout("no answer in time") from None
        if isinstance(message, Exception):
            raise message
        return message


def _scope(request: httpx2.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
