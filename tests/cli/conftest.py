"""Runs command lines in this process, and a client that does what a test tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from bydawn.cli.app import run_command
from bydawn.core.events import ignore
from bydawn.core.job import CleanReport, FailureGroup, JobStatus, Money
from bydawn.errors import ConfigError, JobNotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RESULT_LINES = b'{"id":"a","row":0}\n{"id":"b","row":1}\n'


@dataclass(frozen=True)
class Outcome:
    """What a command line left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capfdbinary: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Outcome]:
    """Return a function that runs ``bydawn`` with the given arguments, in a home and a folder of its own."""
    monkeypatch.setenv("BYDAWN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("BYDAWN_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        capfdbinary.readouterr()
        code = run_command(arguments)
        captured = capfdbinary.readouterr()
        return Outcome(code, captured.out.decode(), captured.err.decode())

    return run


@pytest.fixture
def make_status() -> Callable[..., JobStatus]:
    """Return a function that makes a JobStatus: done, two rows, both good, unless told otherwise."""
    return _status


def _status(**changes: Any) -> JobStatus:
    values: dict[str, Any] = {
        "job_id": "job1",
        "name": "tickets",
        "state": "done",
        "reason": None,
        "models": ("openai/gpt-4o-mini",),
        "rows": 2,
        "requests": 2,
        "succeeded": 2,
        "failed": 0,
        "expired": 0,
        "cancelled": 0,
        "pending": 0,
        "finished_at_provider": 0,
        "input_tokens": 1200,
        "output_tokens": 300,
        "cached_tokens": 100,
        "reasoning_tokens": 0,
        "money": Money(cost_usd=Decimal("0.0123"), live_usd=Decimal("0.0246")),
        "batches": (),
        "adjustments": (),
        "notices": (),
        "created_at_s": 1_790_000_000.0,
        "updated_at_s": 1_790_000_192.0,
        "eta_s": None,
    }
    return JobStatus(**(values | changes))


@dataclass
class FakeJob:
    """A job whose answers are set beforehand; ``calls`` notes what was asked of it."""

    status_now: JobStatus = field(default_factory=_status)
    events: list[Any] = field(default_factory=list)
    error: BaseException | None = None
    groups: list[FailureGroup] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    @property
    def job_id(self) -> str:
        return self.status_now.job_id

    def status(self) -> JobStatus:
        return self.status_now

    async def wait(self, on_event: Any = ignore) -> JobStatus:
        self.calls.append("wait")
        for event in self.events:
            on_event(event)
        if self.error is not None:
            raise self.error
        return self.status_now

    async def start(self, on_event: Any = ignore) -> JobStatus:
        self.calls.append("start")
        return self.status_now

    def write(self, target: Any, *, file_format: str | None = None, partial: bool = False, raw: bool = False) -> int:
        self.calls.append(f"write {file_format} partial={partial} raw={raw}")
        if hasattr(target, "write"):
            target.write(RESULT_LINES)
        else:
            target.write_bytes(RESULT_LINES)
        return 2

    def failures(self) -> list[FailureGroup]:
        return self.groups

    async def retry(self) -> int:
        self.calls.append("retry")
        return self.status_now.failed

    async def cancel(self, on_event: Any = ignore) -> JobStatus:
        self.calls.append("cancel")
        return self.status_now

    async def clean(self, *, remote: bool = True, local: bool = True) -> CleanReport:
        self.calls.append(f"clean remote={remote} local={local}")
        return CleanReport(remote_files=3, local_bytes=12_000)


class FakeClient:
    """A client of one job. ``opened`` holds the arguments of `open_job`."""

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings

    the_job: FakeJob
    planning: list[Any]
    plan: Any
    opened: dict[str, Any]
    realm: str = "live"

    async def __aenter__(self) -> FakeClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return

    def open_job(self, source: Path, options: Any, *, on_event: Any = ignore, **choices: Any) -> tuple[FakeJob, bool]:
        type(self).opened = {"source": source.read_bytes(), "options": options, **choices}
        for event in self.planning:
            if isinstance(event, BaseException):
                raise event
            on_event(event)
        return self.the_job, True

    def check(self, source: Path, options: Any, *, on_event: Any = ignore) -> Any:
        type(self).opened = {"source": source.read_bytes(), "options": options}
        if self.plan is None:
            raise ConfigError("no plan was set")
        return self.plan

    def job(self, job_id: str) -> FakeJob:
        if job_id not in (self.the_job.job_id, "last"):
            raise JobNotFound(f"no job is called {job_id!r} here")
        return self.the_job

    def jobs(self) -> list[JobStatus]:
        return [self.the_job.status_now]

    @property
    def store(self) -> Any:
        client = self

        class Store:
            def job(self, job_id: str) -> Any:
                return client

            def jobs(self) -> list[Any]:
                return [client.the_job]

        return Store()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    """Put the fake in the client's place; tests set its ``the_job``, ``planning`` and ``plan``."""

    class Fake(FakeClient):
        the_job = FakeJob()
        planning: list[Any] = []  # noqa: RUF012 - a new class for every test
        plan = None
        opened: dict[str, Any] = {}  # noqa: RUF012

    monkeypatch.setattr("bydawn.client.Client", Fake)
    return Fake


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two good rows in a file."""
    path = tmp_path / "tickets.jsonl"
    path.write_text('{"id": "a", "prompt": "one"}\n{"id": "b", "prompt": "two"}\n')
    return path
