"""One call to an emulated provider: it is logged, a fault may strike before, during or after it, and it is answered.

Closing a connection without an answer needs the socket. Under `bydawn.sandbox.server` the connection's own functions
stand in the ASGI scope's state; without a socket (in process) the client's transport error is raised instead.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx2
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Message, Receive, Scope, Send

    from bydawn.sandbox.faults import CallFault
    from bydawn.sandbox.world import World

ABORT, CLOSE = "sandbox.abort", "sandbox.close"
"""Where the scope's state holds the functions that reset the connection at once, or close it after what was sent."""

_PAGE = "<!DOCTYPE html><html><head><title>{status}</title></head><body><h1>{status}</h1><hr>gateway</body></html>"
_EFFECT_FIRST = frozenset({"drop_after", "hang_after", "status_after"})


def html_page(status: int) -> Response:
    """A gateway's web page."""
    return Response(_PAGE.format(status=status), status, media_type="text/html")


class Call:
    """An ASGI endpoint for one kind of call."""

    def __init__(
        self,
        world: World,
        kind: str,
        handle: Callable[[Request], Awaitable[Response]],
        fault_response: Callable[[CallFault], Response],
        account_of: Callable[[Request], str],
    ) -> None:
        self._world = world
        self._kind = kind
        self._handle = handle
        self._fault_response = fault_response
        self._account_of = account_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the call."""
        request = Request(scope, receive)
        store = self._world.store
        fault = self._world.faults.for_call(self._kind)
        account = self._account_of(request)
        seq = store.add_call(self._world.clock.now(), self._kind, request.method, request.url.path, account)
        status: int | None = None
        try:
            status = await self._serve(request, fault, send)
        except ClientDisconnect:
            pass
        finally:
            store.end_call(seq, status, None if fault is None else fault.action)

    async def _serve(self, request: Request, fault: CallFault | None, send: Send) -> int | None:
        """Answer, in the way the fault asks for; return the status sent, None for no answer."""
        response = await self._response(request, fault)
        if fault is not None and fault.action in {"hang", "hang_after"}:
            await _silence(request, fault.seconds)
        if response is None:
            await _vanish(request, ABORT)
            return None
        if fault is not None:
            send = _bent(send, fault, request)
        await response(request.scope, request.receive, send)
        return response.status_code

    async def _response(self, request: Request, fault: CallFault | None) -> Response | None:
        """What will be sent; None is nothing."""
        action = None if fault is None else fault.action
        if fault is None or action in {"slow", "cut", "reset", "truncate"}:
            return await self._handle(request)
        if action in _EFFECT_FIRST:
            await self._handle(request)
        else:
            await drain(request)
        if action == "html":
            return html_page(200)
        return self._error(fault) if action in {"status", "status_after"} else None

    def _error(self, fault: CallFault) -> Response:
        response = self._fault_response(fault)
        wanted = {
            "retry-after": fault.retry_after,
            "retry-after-ms": fault.retry_after_ms,
            "x-should-retry": None if fault.should_retry is None else str(fault.should_retry).lower(),
        }
        response.headers.update({name: value for name, value in wanted.items() if value is not None})
        return response


async def drain(request: Request) -> None:
    """Take in what is left of a request: a client that is still sending may miss an early answer."""
    with suppress(RuntimeError):  # all of it was read already
        async for _ in request.stream():
            pass


async def _silence(request: Request, seconds: float) -> None:
    """Wait, but not for a client that has gone."""
    try:
        await asyncio.wait_for(_gone(request), seconds)
    except TimeoutError:
        return


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _vanish(request: Request, how: str) -> None:
    """End the connection without (the rest of) an answer."""
    end = request.scope.get("state", {}).get(how)
    if end is None:
        raise httpx2.ReadError("the sandbox dropped the connection", request=None)
    end()
    await _gone(request)


def _bent(send: Send, fault: CallFault, request: Request) -> Send:
    """A `send` that spoils the body as the fault asks for."""
    match fault.action:
        case "slow":
            return _slow(send, fault)
        case "cut":
            return _cut(send, fault, request, CLOSE)
        case "reset":
            return _cut(send, fault, request, ABORT)
        case "truncate":
            return _truncated(send, fault)
        case _:
            return send


def _slow(send: Send, fault: CallFault) -> Send:
    size = fault.bytes or 65_536

    async def slow(message: Message) -> None:
        body = message.get("body", b"")
        for start in range(0, len(body), size):
            await asyncio.sleep(fault.seconds)
            await send({**message, "body": body[start : start + size], "more_body": True})
        if message["type"] != "http.response.body":
            await send(message)
        elif not message.get("more_body", False):
            await send({**message, "body": b""})

    return slow


def _cut(send: Send, fault: CallFault, request: Request, how: str) -> Send:
    left = fault.bytes

    async def cut(message: Message) -> None:
        nonlocal left
        if message["type"] != "http.response.body":
            await send(message)
            return
        body = message.get("body", b"")
        if len(body) < left:
            left -= len(body)
            await send(message)
            return
        await send({**message, "body": body[:left], "more_body": True})
        await _vanish(request, how)
        raise ClientDisconnect

    return cut


def _truncated(send: Send, fault: CallFault) -> Send:
    left = fault.bytes

    async def truncated(message: Message) -> None:
        nonlocal left
        if message["type"] != "http.response.body":
            headers = MutableHeaders(raw=message["headers"])
            size = int(headers.get("content-length", "0"))
            headers["content-length"] = str(min(size, fault.bytes))
            await send({**message, "headers": headers.raw})
            return
        body = message.get("body", b"")[:left]
        left -= len(body)
        await send({**message, "body": body})

    return truncated
