"""Serving a sandbox over HTTP: for a while in a background thread, or for good."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bydawn.sandbox.app import create_app
from bydawn.sandbox.calls import ABORT, CLOSE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from starlette.applications import Starlette

    from bydawn.sandbox.config import SandboxConfig
    from bydawn.sandbox.world import World

_START_TIMEOUT_S = 30.0


class _Connection(H11Protocol):
    """Lets a request end its own connection: the scope's state holds how."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, ABORT: partial(_reset, transport), CLOSE: transport.close}
        super().connection_made(transport)


def _reset(transport: asyncio.Transport) -> None:
    """Drop the connection with a TCP reset: to linger for no time at all is how a socket is told to."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class RunningSandbox:
    """A sandbox that is being served. ``base_url`` ends in ``/v1``; ``root_url`` does not."""

    def __init__(self, config: SandboxConfig, host: str, port: int) -> None:
        self._socket = _bound(host, port)
        try:
            app = create_app(config)
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self.root_url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self.base_url = f"{self.root_url}/v1"
        self.world: World = app.state.world
        self._server = _Server(_uvicorn_config(app))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def start(self) -> None:
        """Serve in a thread; returns when requests are taken. Raises RuntimeError when that does not happen."""
        self._thread.start()
        if not self._server.ready.wait(_START_TIMEOUT_S):
            raise RuntimeError("the sandbox did not start")

    def stop(self) -> None:
        """Stop serving and close the state folder. Safe to call twice."""
        self._server.should_exit = True
        self._thread.join()
        self.world.close()


@contextmanager
def running(
    config: SandboxConfig, host: str = "127.0.0.1", port: int = 0, *, allow_remote: bool = False
) -> Iterator[RunningSandbox]:
    """Serve a sandbox while the block runs; port 0 takes a free one."""
    refuse_remote(host, allow_remote=allow_remote)
    sandbox = RunningSandbox(config, host, port)
    sandbox.start()
    try:
        yield sandbox
    finally:
        sandbox.stop()


def serve(config: SandboxConfig, host: str = "127.0.0.1", port: int = 8_642, *, allow_remote: bool = False) -> None:
    """Serve a sandbox until interrupted."""
    refuse_remote(host, allow_remote=allow_remote)
    with _bound(host, port) as listening:
        app = create_app(config)
        try:
            uvicorn.Server(_uvicorn_config(app)).run([listening])
        finally:
            app.state.world.close()


def refuse_remote(host: str, *, allow_remote: bool) -> None:
    """Raise ValueError for a host others can reach: the sandbox takes any key and shows its insides."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not (is_loopback or allow_remote):
        raise ValueError(f"the sandbox serves loopback addresses only, not {host!r}, unless explicitly allowed")


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


def _uvicorn_config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app, http=_Connection, ws="none", log_level="warning", access_log=False, timeout_graceful_shutdown=1,
        lifespan="off",
    )  # fmt: skip
