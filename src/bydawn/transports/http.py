"""The only door to the network: sends one `WireRequest` over HTTP and brings its answer.

Every HTTP status is an answer here; only when none came does `HttpTransport.send` raise: NotSent when the request
surely reached nobody, AnswerLost when it may have. Nothing is repeated (`transports.driver` does that), no redirect is
followed, and the account's key goes to the account's own origin only.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import msgspec

from bydawn.core.wire import WireResponse, is_page
from bydawn.errors import AnswerLost, NotSent, UnexpectedAnswer
from bydawn.transports.account import HIDDEN
from bydawn.transports.download import PartialFile
from bydawn.transports.multipart import Multipart
from bydawn.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import httpx2

    from bydawn.clock import Clock
    from bydawn.core.wire import WireRequest
    from bydawn.providers.base import Provider
    from bydawn.transports.account import Account

CONNECT_TIMEOUT_S = 10.0
"""How long a connection may take to be made, TLS included."""

UPLOAD_BYTES_PER_S = 1_000_000
"""The slowest service that an upload waits for: its answer may take a second more for each of these many bytes."""

MAX_ANSWER_BYTES = 64_000_000
"""Where a runaway answer that is held in memory is stopped: a page of 100 batches has about 0.2 MB."""

MAX_CONNECTIONS = 8
"""How many calls are under way at once."""

SHORTEST_KEY = 8
"""No provider's key is shorter; local servers take any word for one."""


class HttpTransport:
    """Sends the wire requests of one account. ``network`` replaces the sockets in tests and for the sandbox."""

    def __init__(
        self, account: Account, provider: Provider, clock: Clock, *, network: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        import httpx2

        self._account = account
        self._clock = clock
        self._partial: dict[Path, PartialFile] = {}
        self._client = httpx2.AsyncClient(
            headers={
                "User-Agent": f"bydawn/{__version__}",
                **account.headers,
                **provider.auth_headers(account.key.reveal()),
            },
            # Every call has a connection of its own: on one that is kept, the other side may hang up just as a create
            # is sent, which would then be in doubt for nothing. Calls are few, some ten for 50,000 rows.
            limits=httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=not account.is_local,
            verify=account.is_encrypted,  # without TLS there is nothing to load a trust store for (0.1 s)
            transport=network,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, request: WireRequest) -> WireResponse:
        """Send one request, once. Raises NotSent, AnswerLost, UnexpectedAnswer (far too large), StoreError (disk)."""
        if request.save_to is not None:
            return await self._download(request, request.save_to)
        async with self._exchange(request, {}) as answer:
            return await self._read(answer)

    async def _download(self, request: WireRequest, target: Path) -> WireResponse:
        """Save a successful answer to ``target``; what a broken one brought is kept for the next call."""
        if target not in self._partial:
            self._partial[target] = PartialFile(target)
        partial = self._partial[target]
        headers = {"Accept-Encoding": "identity", **partial.range_headers}
        async with self._exchange(request, headers) as answer:
            if answer.status_code == 416:
                partial.reject()
                raise AnswerLost(f"{request.method} {request.path}: the rest of the file is not to be had")
            if not answer.is_success:
                return await self._read(answer)
            chunks = answer.aiter_raw()
            start = await anext(chunks, b"")
            if is_page(answer.headers, start):
                return WireResponse(status=answer.status_code, headers=self._headers(answer), body=start)
            await partial.save(answer.status_code, answer.headers, _chained(start, chunks))
        del self._partial[target]
        return WireResponse(status=200, headers=self._headers(answer))

    @asynccontextmanager
    async def _exchange(self, request: WireRequest, headers: Mapping[str, str]) -> AsyncIterator[httpx2.Response]:
        """Send, and hold the answer open. Maps the HTTP library's exceptions to ours: the only place that does."""
        import httpx2

        never_sent = (
            httpx2.ConnectError,
            httpx2.ConnectTimeout,
            httpx2.PoolTimeout,
            httpx2.ProxyError,
            httpx2.UnsupportedProtocol,
            httpx2.LocalProtocolError,
        )
        call = f"{request.method} {request.path}"
        try:
            answer = await self._client.send(self._build(request, headers), stream=True)
            try:
                yield answer
            finally:
                await answer.aclose()
        except never_sent as error:
            raise NotSent(f"{call} could not be sent: {_said(error)}") from error
        except httpx2.RequestError as error:
            raise AnswerLost(f"{call} got no whole answer: {_said(error)}") from error

    def _build(self, request: WireRequest, headers: Mapping[str, str]) -> httpx2.Request:
        """Make the HTTP library's request; the file of a form is read while it is sent."""
        import httpx2

        all_headers = {**request.headers, **headers}
        content: bytes | AsyncIterator[bytes] | None = None
        timeout_s = self._account.read_timeout_s
        if request.file is not None:
            form = Multipart(request.form, request.file)
            content = form.stream()
            all_headers |= {"Content-Type": form.content_type, "Content-Length": str(form.length)}
            timeout_s += form.length / UPLOAD_BYTES_PER_S
        elif request.json is not None:
            content = msgspec.json.encode(request.json)
            all_headers["Content-Type"] = "application/json"
        return self._client.build_request(
            request.method,
            self._account.url(request.path),
            params=list(request.query) or None,
            headers=all_headers,
            content=content,
            timeout=httpx2.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
        )

    async def _read(self, answer: httpx2.Response) -> WireResponse:
        """Read an answer into memory. Raises UnexpectedAnswer when it is larger than `MAX_ANSWER_BYTES`."""
        body = bytearray()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                message = f"an answer is larger than {MAX_ANSWER_BYTES:,} bytes"
                raise UnexpectedAnswer(message, provider=self._account.provider, status=answer.status_code)
        masked = self._masked(answer, bytes(body))
        return WireResponse(status=answer.status_code, headers=self._headers(answer), body=masked)

    def _masked(self, answer: httpx2.Response, body: bytes) -> bytes:
        """Hide our key in what is read into memory: services repeat what they were sent, and any answer may end up in
        an error's text."""
        key = self._account.key.reveal()
        if len(key) < SHORTEST_KEY and answer.is_success:
            return body  # so short a word may stand anywhere in an answer
        return body.replace(key.encode(), HIDDEN.encode())

    def _headers(self, answer: httpx2.Response) -> dict[str, str]:
        """Return the headers by lower-case name; a Retry-After date is turned into seconds from now."""
        headers = {name.lower(): value for name, value in answer.headers.items()}
        if (asked := headers.get("retry-after")) and not asked.replace(".", "", 1).isdecimal():
            headers["retry-after"] = str(self._seconds_until(asked))
        return headers

    def _seconds_until(self, http_date: str) -> float:
        """Return the seconds until an HTTP date; 0 when it is over or unreadable."""
        try:
            moment = parsedate_to_datetime(http_date).timestamp()
        except ValueError:
            return 0.0
        return max(0.0, moment - self._clock.now())


def _said(error: Exception) -> str:
    """Return what the HTTP library says of a failure, which may be nothing."""
    return str(error) or type(error).__name__


async def _chained(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for chunk in rest:
        yield chunk
