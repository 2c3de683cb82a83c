"""A whole life in virtual time, drawn from one seed: jobs, workers, faults, crashes, interrupts and long sleeps.

Swarm testing: each life draws which kinds of trouble exist in it at all, and how often they strike, so that rare
combinations come up. The first part is full of trouble; then all of it stops, and everything must come to its end.
Safety is asked of the provider's own records: no row was executed once more than its script allows, none was in two
live batches, no batch is unknown to us or was created twice. The same seed lives the same life.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import httpx2

from bydawn.core.job import JobOptions
from bydawn.core.settings import EngineSettings
from bydawn.errors import ProviderError, TransportError
from bydawn.sandbox import BatchFault, CallFault, FaultPlan
from support.checks import (
    ALWAYS_503,
    BAD,
    LOST_ONCE,
    ONCE_500,
    PLAIN,
    REFUSED,
    TIMED_OUT_ONCE,
    TWICE_429,
    Script,
    check_answers,
    check_batches,
    check_store,
    executions,
    make_rows,
    provider_batches,
    records_of,
)
from support.lab import MODEL, Lab
from support.network import Late

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from support.lab import LabClient, Run

SCRIPTS = (ONCE_500, TWICE_429, BAD, REFUSED, TIMED_OUT_ONCE, LOST_ONCE, ALWAYS_503)
CALLS = ("files.create", "files.content", "files.list", "files.retrieve", "batches.*", "batches.create", "*")
SETTLE_S = 120.0
LATE_S, HIDDEN_S = 60.0, 50.0
"""A create may take effect so late, and show in the list so much later: together less than SETTLE_S."""
MOST_REFUSALS = 60
OURS_TO_BEAR = (ProviderError, TransportError, asyncio.CancelledError)
"""How a session may end while there is trouble."""

EXHAUSTED = frozenset({"expired", "cancelled", "missing", "timeout", "server_error", "rate_limit"})
NEVER_ACCEPTED = frozenset({"batch_refused", "invalid_request"})
"""Errors with which a row may end before its script is through: attempts used up, or the batch refused for it."""


@dataclass(slots=True)
class JobPlan:
    """One job of a life."""

    first: int
    count: int
    scripts: Mapping[int, Script]
    workers: int
    rows: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = make_rows(self.count, self.scripts, self.first)


@dataclass(slots=True)
class Figures:
    """What was lived through, for the report."""

    sessions: int = 0
    crashes: int = 0
    interrupts: int = 0
    batches: int = 0
    rows: int = 0
    virtual_s: float = 0.0


class Life:
    """One seed's life in a folder of its own."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._draw = Random(f"life {seed}")
        draw = self._draw
        self.figures = Figures()
        self.jobs = [self._job(number) for number in range(draw.choice((1, 1, 2, 3)))]
        self.lab = Lab(
            folder,
            seed=seed,
            engine=EngineSettings(
                poll_min_s=draw.choice((2.0, 60.0, 600.0)),
                poll_max_s=1_800.0,
                max_batch_rows=draw.randint(3, 12),
                settle_wait_s=SETTLE_S,
                uploads=draw.randint(1, 4),
            ),
            sandbox={"seed": seed, "enqueued_tokens_max": draw.choice((1_000_000, 1_000_000, 400, 150))},
            skew_s=draw.choice((0.0, 0.0, 0.0, -3_000.0, 3_000.0)),
        )

    def _job(self, number: int) -> JobPlan:
        draw = self._draw
        first, count, troubled = 1_000 * number, draw.randint(1, 30), draw.random() * 0.5
        numbers = [row for row in range(first, first + count) if draw.random() < troubled]
        return JobPlan(first, count, {row: draw.choice(SCRIPTS) for row in numbers}, draw.choice((1, 1, 2)))

    def live(self) -> Figures:
        """Live through the trouble, then come to the end. Raises AssertionError (and Hang, which is one)."""
        for _ in range(self._draw.randint(0, 6)):
            self._troubled_session()
        self.lab.faults, self.lab.trip, self.lab.on_step = FaultPlan(), None, None
        run = self._session()
        if isinstance(run.error, ProviderError):  # a key or quota that was refused just before trouble ended
            run = self._session()
        assert run.error is None, f"{type(run.error).__name__}: {run.error}"
        self._check(run)
        return self.figures

    # Trouble

    def _troubled_session(self) -> None:
        draw, lab = self._draw, self.lab
        lab.faults = FaultPlan(call=self._call_faults(), batch=self._quirks())
        lab.trip = self._rough_network()
        ending = draw.choice((None, lab.die, lab.die, lab.interrupt))
        lab.on_step = None if ending is None else _At(draw.randint(1, 400), ending)
        before = self.figures.sessions
        run = self._session()
        assert run.error is None or isinstance(run.error, OURS_TO_BEAR), repr(run.error)
        if ending is not None and isinstance(run.error, asyncio.CancelledError):
            self.figures.crashes += ending == lab.die
            self.figures.interrupts += ending == lab.interrupt
        assert self.figures.sessions == before + 1
        lab.now_s += draw.choice((0.0, 1.0, 30.0, 3_600.0, 30 * 3_600.0))

    def _call_faults(self) -> tuple[CallFault, ...]:
        return tuple(self._call_fault() for _ in range(self._draw.choice((0, 1, 2, 4))))

    def _call_fault(self) -> CallFault:
        draw = self._draw
        common: dict[str, Any] = {"on": draw.choice(CALLS), "probability": draw.choice((0.05, 0.2, 0.5))}
        match draw.randrange(6):
            case 0:
                return CallFault(action=draw.choice(("drop_before", "drop_after", "hang", "hang_after")), **common)
            case 1:
                status = draw.choice((500, 502, 503, 504, 408, 409))
                action = draw.choice(("status", "status_after"))
                return CallFault(action=action, status=status, html=draw.random() < 0.5, **common)
            case 2:
                return CallFault(action="status", status=429, retry_after=draw.choice((None, "3", "400")), **common)
            case 3:
                return CallFault(action=draw.choice(("cut", "truncate")), bytes=draw.randint(0, 300), **common)
            case 4:
                return CallFault(action="html", **common)
            case _:
                code = draw.choice((None, "insufficient_quota"))
                status = 429 if code else draw.choice((401, 403))
                return CallFault(action="status", status=status, code=code, times=draw.randint(1, 3), **common)

    def _quirks(self) -> tuple[BatchFault, ...]:
        draw = self._draw
        harmless = ("ids_empty", "ids_absent", "legacy", "status_word", "counts_lie", "counts_zero", "extra_row",
                    "blank_lines", "no_final_newline", "crlf")  # fmt: skip
        chosen = [BatchFault(quirk=quirk, probability=0.5) for quirk in harmless if draw.random() < 0.2]
        possible = [
            BatchFault(quirk="hidden", value=draw.uniform(0.0, HIDDEN_S), probability=0.7),
            BatchFault(quirk="expire", value=draw.random(), probability=0.3),
            BatchFault(quirk="stuck", probability=0.1),
            BatchFault(quirk="fail_without_errors", probability=0.2),
            BatchFault(quirk="fail", code="token_limit_exceeded", message="Enqueued token limit.", probability=0.2),
            BatchFault(quirk="fail", code="invalid_request", lines=(1, 3), message="Odd line.", probability=0.2),
        ]
        return (*chosen, *(quirk for quirk in possible if draw.random() < 0.3))

    def _rough_network(self) -> Callable[[httpx2.Request], Any]:
        draw, lab = Random(self._draw.random()), self.lab
        refused, late, cancels = (draw.choice((0.0, 0.0, 0.05, 0.3)) for _ in range(3))

        async def trip(request: httpx2.Request) -> None:
            if draw.random() < refused:
                raise httpx2.ConnectError("connection refused", request=request)
            if draw.random() < cancels and request.url.path.startswith("/v1/batches/"):
                assert lab.world is not None
                lab.world._actors[0].cancel(request.url.path.split("/")[3])  # type: ignore[attr-defined]
            if draw.random() < late and request.method == "POST":
                await asyncio.sleep(draw.choice((0.0, 5.0, 59.0)))
                raise Late(draw.uniform(0.0, LATE_S))

        return trip

    # Sessions

    def _session(self) -> Run:
        self.figures.sessions += 1
        return self.lab.session(self._work)

    async def _work(self, client: LabClient, run: Run) -> None:
        clients = [client]
        work = []
        try:
            for number, job in enumerate(self.jobs):
                for worker in range(job.workers):
                    clients.append(client.sibling(f"{number}.{worker}"))
                    work.append(asyncio.create_task(self._one(clients[-1], job, number)))
            await _all(work)
        finally:
            for each in clients[1:]:
                await each.aclose()

    async def _one(self, client: LabClient, plan: JobPlan, number: int) -> None:
        job, _ = client.open_job(plan.rows, JobOptions(models=(MODEL,)))
        await job.wait()
        job.write(self.lab.folder / f"out-{number}.jsonl")

    # The end

    def _check(self, run: Run) -> None:
        lab = self.lab
        check_batches(lab)
        check_store(lab)
        found = executions(lab)
        for number, job in enumerate(self.jobs):
            output = (lab.folder / f"out-{number}.jsonl").read_bytes()
            records = records_of(output)
            assert [record["id"] for record in records] == [row["id"] for row in job.rows]
            for row, record in enumerate(records, job.first):
                _check_row(row, record, job.scripts.get(row, PLAIN), found[row])
            check_answers(lab, output, job.first)
        batches = provider_batches(lab)
        refusals = sum(batch["status"] == "failed" for batch in batches)
        assert refusals <= MOST_REFUSALS, f"{refusals} refusals"
        self.figures.batches = len(batches)
        self.figures.rows = sum(job.count for job in self.jobs)
        self.figures.virtual_s = lab.now_s


def _check_row(row: int, record: Mapping[str, Any], script: Script, found: list[int]) -> None:
    wanted = list(script.executed)
    assert found == wanted[: len(found)], f"row {row} was executed as {found}, its script says {wanted}"
    if found == wanted and record["status"] == script.status:
        return
    kind = (record["error"] or {}).get("kind")
    used_up = kind in EXHAUSTED and record["attempts"] == JobOptions().max_attempts
    assert record["status"] != "succeeded", f"row {row} succeeded with {found}, its script says {wanted}"
    assert used_up or kind in NEVER_ACCEPTED, f"row {row} was given up: {record}"


async def _all(work: list[asyncio.Task[None]]) -> None:
    """Wait for all; then raise what one of them raised, a failure of the test's own making before any other."""
    try:
        ended = await asyncio.gather(*work, return_exceptions=True)
    except asyncio.CancelledError:
        await asyncio.gather(*work, return_exceptions=True)
        raise
    errors = [error for error in ended if error is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, OURS_TO_BEAR)):
        raise error


class _At:
    """Does something at the n-th step."""

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self._left = number
        self._act = act

    def __call__(self, *_: object) -> None:
        self._left -= 1
        if not self._left:
            self._act()
