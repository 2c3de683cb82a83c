"""A laboratory: one home folder, one in-process sandbox, one clock, and a job that is run, stopped and run again.

Everything that outlasts a process lies in two folders, ``home`` (bydawn's) and ``provider`` (the sandbox's). A copy of
both at any moment is exactly what a ``kill -9`` at that moment would have left, so a crash is tested by going on from a
copy: no exception has to be smuggled through code that might catch it.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import httpx2

from bydawn.adapt import book
from bydawn.client import Client
from bydawn.config import Settings, account_for
from bydawn.core.events import Notice
from bydawn.core.job import JobOptions
from bydawn.core.settings import EngineSettings
from bydawn.engine import worker
from bydawn.providers.registry import get_provider
from bydawn.sandbox import FaultPlan, SandboxConfig, create_app
from bydawn.sandbox.world import World
from bydawn.transports.driver import Driver
from bydawn.transports.http import HttpTransport
from bydawn.transports.retry import RetryPolicy
from support.network import Network
from support.steps import watching
from support.virtual import EPOCH, Hang, LoopClock, VirtualLoop, run_virtually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from starlette.applications import Starlette

    from bydawn.core.events import Event
    from bydawn.core.job import JobStatus
    from support.steps import Steps

    Rows = Sequence[Mapping[str, Any]]
    Trip = Callable[[httpx2.Request], Awaitable[None]]

KEY = "sk-lab-0123456789abcdefghij"
MODEL = "openai/gpt-4o-mini"
MAX_CALLS = 3_000
"""More calls than any job of the tests needs: beyond it something goes round in circles."""

ENGINE = EngineSettings(poll_min_s=200.0, poll_max_s=1800.0, max_batch_rows=10, settle_wait_s=60.0)


@dataclass(slots=True)
class Run:
    """What one process did: the job's status, the results' bytes, and what the user was told."""

    status: JobStatus | None = None
    output: bytes = b""
    events: list[Event] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def notices(self) -> list[str]:
        """The sentences told to the user."""
        return [event.text for event in self.events if isinstance(event, Notice)]


class LabClient(Client):
    """A client whose network is the laboratory's, and whose database does not wait for the disk."""

    def __init__(self, lab: Lab, settings: Settings, network: Network, loop: VirtualLoop) -> None:
        rng = Random(f"{lab.seed} {lab.salt} {lab.sessions}")  # no two processes draw the same
        super().__init__(settings, clock=LoopClock(loop, lab.skew_s), rng=rng)
        self.store._db.execute("PRAGMA synchronous = OFF")
        self._lab = lab
        self._network = network
        self._loop = loop

    def sibling(self, name: str) -> LabClient:
        """Return the client of another process that works in the same home at the same time."""
        lab = replace(self._lab, salt=f"{self._lab.salt} {name}")
        return LabClient(lab, self.settings, self._network, self._loop)

    def driver(self, provider: str) -> Driver:
        """See `Client.driver`."""
        if provider not in self._drivers:
            codec, dials = get_provider(provider), self.settings.engine
            account = account_for(codec, self.settings)
            transport = HttpTransport(account, codec, self._clock, network=self._network)
            policy = RetryPolicy(dials.call_attempts, dials.retry_first_s, dials.retry_max_s)
            self._drivers[provider] = transport, Driver(transport, codec, self._clock, self._rng, policy)
        return self._drivers[provider][1]


@dataclass(slots=True)
class Lab:
    """The two folders, the time, and how everything in them is set up.

    ``trip`` may fail or delay each request on its way; ``on_step`` is told each step of a run (see `support.steps`).
    """

    folder: Path
    faults: FaultPlan = field(default_factory=FaultPlan)
    engine: EngineSettings = ENGINE
    sandbox: dict[str, Any] = field(default_factory=dict)
    seed: int = 1
    key: str = KEY
    skew_s: float = 0.0
    now_s: float = EPOCH
    sessions: int = 0
    salt: str = ""
    trip: Trip | None = None
    on_step: Callable[[str, Steps], None] | None = None
    options: JobOptions = field(default_factory=lambda: JobOptions(models=(MODEL,)))
    torn: bool = False
    loop: VirtualLoop | None = None
    world: World | None = None
    task: asyncio.Task[Any] | None = None
    frozen: bool = False

    @property
    def home(self) -> Path:
        """The folder of bydawn's state."""
        return self.folder / "home"

    @property
    def provider(self) -> Path:
        """The folder of the sandbox's state."""
        return self.folder / "provider"

    def copy(self, folder: Path, **changes: Any) -> Lab:
        """Copy both folders as they are at this moment, as if everything stopped here."""
        shutil.copytree(self.folder, folder)
        now_s = self.loop.now() if self.loop is not None else self.now_s
        fresh = {"loop": None, "world": None, "task": None, "on_step": None, "trip": None}
        salt = f"{self.salt}/{folder.name}"
        return replace(self, folder=folder, now_s=now_s, salt=salt, **{**fresh, **changes})

    def world_config(self, **changes: Any) -> None:
        """Change the running sandbox's settings until its end."""
        assert self.world is not None
        self.world.config = replace(self.world.config, **changes)

    def run(self, rows: Rows) -> Run:
        """Start the job, or go on with it, and write its results: what ``bydawn run`` does. Errors are in the Run."""

        async def work(client: LabClient, run: Run) -> None:
            job, _ = client.open_job(rows, self.options, on_event=run.events.append)
            run.status = await job.wait(run.events.append)
            job.write(self.folder / "out.jsonl", partial=True)
            run.output = (self.folder / "out.jsonl").read_bytes()

        return self.session(work)

    def session(self, work: Callable[[LabClient, Run], Awaitable[None]]) -> Run:
        """Run ``work`` in a new process, so to speak, with the sandbox beside it."""
        run = Run()
        self.sessions += 1
        with _opened_world(self) as app, watching(self.home, self._report) as steps, _quick():
            _, self.now_s = run_virtually(self.now_s, lambda loop: self._in_loop(loop, app, steps, work, run))
        self.loop = self.world = self.task = None
        self._thaw()
        return run

    def die(self) -> None:
        """End bydawn's process at this very moment, as ``kill -9`` does; the provider goes on.

        Call it from `on_step`. What the dying code still does to its home is thrown away.
        """
        if not self.frozen:
            self.frozen = True
            if self.home.exists():
                shutil.copytree(self.home, self.folder / "frozen")
            self.interrupt()

    def interrupt(self) -> None:
        """Interrupt bydawn, as Ctrl-C does; nothing happens when it has ended."""
        if self.task is not None:
            self.task.cancel()

    def _thaw(self) -> None:
        if self.frozen:
            shutil.rmtree(self.home, ignore_errors=True)
            if (self.folder / "frozen").exists():
                (self.folder / "frozen").rename(self.home)
            self.frozen = False

    async def _in_loop(
        self,
        loop: VirtualLoop,
        app: Starlette,
        steps: Steps,
        work: Callable[[LabClient, Run], Awaitable[None]],
        run: Run,
    ) -> None:
        self.loop, self.world, self.task = loop, app.state.world, asyncio.current_task()

        async def punctual(scope: Any, receive: Any, send: Any) -> None:
            catch_up(app.state.world, loop.now())
            await app(scope, receive, send)

        network = Network(punctual, self._carry(steps), lambda: steps.reach("a piece of an answer"))
        client = None
        try:
            client = LabClient(self, self._settings(), network, loop)
            steps.watch_database(client.store._db)
            await work(client, run)
        except Hang:
            raise
        except BaseException as error:  # noqa: BLE001 - the test looks at what it was
            run.error = error
        self.task = None
        with suppress(asyncio.CancelledError):  # an interrupt of the very last step is delivered here
            await asyncio.sleep(0)
        if client is not None:
            await client.aclose()
        await network.end()

    def _report(self, name: str, steps: Steps) -> None:
        if self.on_step is not None:
            self.on_step(name, steps)

    def _carry(self, steps: Steps) -> Trip:
        calls = 0

        async def carry(request: httpx2.Request) -> None:
            nonlocal calls
            calls += 1
            if calls > MAX_CALLS:
                raise Hang(f"{MAX_CALLS} calls, the last of them {request.method} {request.url.path}")
            if self.frozen:
                raise httpx2.ConnectError("this process is dead", request=request)
            steps.reach(f"send {request.method} {request.url.path}")
            if self.trip is not None:
                await self.trip(request)

        return carry

    def _settings(self) -> Settings:
        return Settings(
            home=self.home,
            engine=self.engine,
            base_urls={"openai": "http://sandbox.test/v1"},
            environment={"OPENAI_API_KEY": self.key},
            realm="sandbox",
        )


_shipped_sheets = cache(book.shipped_sheets)


@contextmanager
def _quick() -> Iterator[None]:
    """Save the tests time: read the model facts once, look once an (unwatched) hour at what other processes did."""
    with (
        patch.object(book, "shipped_sheets", lambda: dict(_shipped_sheets())),
        patch.object(worker, "TICK_S", 3_600.0),
        patch("bydawn.client.job.FOLLOW_EVERY_S", 3_600.0),
    ):
        yield


def catch_up(world: World, now_s: float) -> None:
    """Bring the sandbox to this moment, and do all that became due."""
    world.clock.advance(max(0.0, now_s - world.clock.now()))
    world.settle()


@contextmanager
def _opened_world(lab: Lab) -> Iterator[Starlette]:
    """Open the sandbox on its folder. Its own thread stays off: `catch_up` moves it on."""
    settings: dict[str, Any] = {"home": lab.provider, "speed": 0, "start_at": lab.now_s, "faults": lab.faults}
    with patch.object(World, "start", _without_thread):
        app = create_app(SandboxConfig(**settings | lab.sandbox))
    app.state.world.store._db.execute("PRAGMA synchronous = OFF")
    try:
        yield app
    finally:
        app.state.world.close()


def _without_thread(world: World, actors: list[Any]) -> None:
    world._actors = actors
