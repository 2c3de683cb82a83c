"""The sandbox as an ASGI application: every provider's routes over one world."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from bydawn.sandbox.control import Control
from bydawn.sandbox.openai import OpenAI
from bydawn.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bydawn.sandbox.config import SandboxConfig


def create_app(config: SandboxConfig) -> Starlette:
    """A sandbox to be served, or called in process (``httpx2.ASGITransport``).

    ``app.state.world`` is its `World`; a server closes it at the end, who calls in process closes it himself.
    """
    world = World(config)
    openai = OpenAI(world)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        yield
        world.close()

    app = Starlette(routes=[*openai.routes, *Control(world).routes], lifespan=lifespan)
    app.state.world = world
    world.start([openai.lifecycle])
    return app
