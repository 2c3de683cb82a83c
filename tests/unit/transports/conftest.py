"""A loopback server that does as it is told, byte by byte, and a clock that never waits."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from bydawn.providers.openai import OpenAI
from bydawn.transports.account import Account, Secret
from bydawn.transports.http import HttpTransport

NOW = 1_795_000_000.0
KEY = "sk-test-0123456789abcdef"


class Seen(NamedTuple):
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class FakeClock:
    """Stands still, and notes how long it was asked to wait."""

    def __init__(self):
        self.slept = []

    def now(self):
        return NOW

    def monotonic(self):
        return 0.0

    async def sleep(self, seconds):
        self.slept.append(seconds)


def answer(status=200, body=b"", *, length=None, **headers):
    """A whole answer; ``length`` lies about it."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*chunks, end=True, **headers):
    """An answer in chunks, with or without the last one."""
    lines = ["HTTP/1.1 200 X", "Transfer-Encoding: chunked", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body + (b"0\r\n\r\n" if end else b"")


class Server:
    """Answers each connection with the next bytes of its script, then hangs up.

    None in the script waits until the client gives up. ``early`` answers before the body has been read, and
    then listens until the client hangs up.
    """

    def __init__(self, *script, early=False):
        self.script = list(script)
        self.early = early
        self.seen = []
        self.url = ""

    async def serve(self, reader, writer):
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = b"" if self.early else await reader.readexactly(int(headers.get("content-length", 0)))
        self.seen.append(Seen(method, target, headers, body))
        reply = self.script.pop(0)
        if reply is None:
            await reader.read()
            return
        writer.write(reply)
        await writer.drain()
        if self.early:
            await reader.read()

    @asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        async with server:
            yield self


class Loopback:
    """What the tests of this folder share."""

    Server = Server
    FakeClock = FakeClock
    answer = staticmethod(answer)
    chunked = staticmethod(chunked)
    NOW = NOW
    KEY = KEY

    @staticmethod
    def transport(url, **settings):
        account = Account(provider="openai", base_url=url, key=Secret(KEY), **settings)
        return HttpTransport(account, OpenAI(), FakeClock())

    @classmethod
    def send(cls, script, *requests, early=False, **settings):
        """Send requests one after the other: the outcomes (answers or errors), and the server that saw them."""

        async def run():
            async with (
                cls.Server(*script, early=early).running() as server,
                cls.transport(server.url, **settings) as transport,
            ):
                outcomes = []
                for request in requests:
                    try:
                        outcomes.append(await transport.send(request))
                    except Exception as error:  # noqa: BLE001 - the test looks at whatever came
                        outcomes.append(error)
                return outcomes, server

        return asyncio.run(run())


@pytest.fixture
def net():
    return Loopback
