"""Every call goes wrong in every way: the job still ends right, or stops with the reason and goes on when that is gone.

What "right" means is always the same (`support.checks.check_end`): nothing lost, nothing executed once too often, no
batch forgotten. A create above all is never sent again while the first one may exist.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx2
import pytest

from bydawn.core.settings import EngineSettings
from bydawn.errors import (
    AuthenticationFailed,
    BydawnError,
    NotSent,
    PermissionDenied,
    ProviderError,
    QuotaExhausted,
    TransportError,
)
from bydawn.sandbox import BatchFault, CallFault, FaultPlan
from support.checks import ONCE_500, check_end, make_rows, provider_batches
from support.lab import Lab
from support.network import Late

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNT = 10
SCRIPTS = {3: ONCE_500}
ROWS = make_rows(COUNT, SCRIPTS)
ENGINE = EngineSettings(poll_min_s=300.0, poll_max_s=1_800.0, max_batch_rows=5, settle_wait_s=60.0)

CALLS = ("files.create", "files.content", "batches.create", "batches.retrieve", "batches.list", "files.list")

PASSING = {
    "drop_before": {"action": "drop_before"},
    "drop_after": {"action": "drop_after"},
    "hang": {"action": "hang"},
    "hang_after": {"action": "hang_after"},
    "429": {"action": "status", "status": 429},
    "429_retry_after": {"action": "status", "status": 429, "retry_after": "7"},
    "429_retry_after_long": {"action": "status", "status": 429, "retry_after": "900"},
    "429_retry_after_ms": {"action": "status", "status": 429, "retry_after_ms": "1500"},
    "500": {"action": "status", "status": 500},
    "502_html": {"action": "status", "status": 502, "html": True},
    "503": {"action": "status", "status": 503, "retry_after": "3"},
    "500_after": {"action": "status_after", "status": 500},
    "502_html_after": {"action": "status_after", "status": 502, "html": True},
    "503_after": {"action": "status_after", "status": 503},
    "504_html_after": {"action": "status_after", "status": 504, "html": True},
    "408_after": {"action": "status_after", "status": 408},
    "409_after": {"action": "status_after", "status": 409},
    "html_200": {"action": "html"},
    "truncated": {"action": "truncate", "bytes": 20},
    "empty": {"action": "truncate", "bytes": 0},
    "cut": {"action": "cut", "bytes": 20},
    "slow": {"action": "slow", "seconds": 20.0, "bytes": 100},
}
"""Faults that pass by themselves: nobody has to do anything about them."""

STOPPING = {
    "401": ({"action": "status", "status": 401}, AuthenticationFailed),
    "403": ({"action": "status", "status": 403}, PermissionDenied),
    "insufficient_quota": ({"action": "status", "status": 429, "code": "insufficient_quota"}, QuotaExhausted),
}
"""Faults that somebody has to do something about: they stop the job."""


def lab_of(folder: Path, *faults: CallFault, batch: tuple[BatchFault, ...] = ()) -> Lab:
    """A laboratory in which these calls go wrong."""
    return Lab(folder, engine=ENGINE, faults=FaultPlan(call=faults, batch=batch))


def led_there(call: str) -> tuple[CallFault, ...]:
    """What has to go wrong first so that bydawn makes this call at all."""
    if call == "batches.list":
        return (CallFault(on="batches.create", action="drop_after", calls=(1,)),)
    if call == "files.list":
        return (CallFault(on="files.create", action="drop_after", calls=(1,)),)
    return ()


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("call", CALLS)
def test_a_fault_that_passes_is_got_over(folder: Path, call: str, fault: str) -> None:
    lab = lab_of(folder, *led_there(call), CallFault(on=call, calls=(1, 2), **PASSING[fault]))

    run = lab.run(ROWS)

    check_end(lab, run, COUNT, SCRIPTS)


@pytest.mark.parametrize(
    "fault", ["drop_before", "drop_after", "hang_after", "429", "500", "502_html_after", "html_200"]
)
@pytest.mark.parametrize("call", CALLS)
def test_a_long_fault_ends_the_run_or_is_sat_out_and_the_next_run_goes_on(folder: Path, call: str, fault: str) -> None:
    lab = lab_of(folder, *led_there(call), CallFault(on=call, times=40, **PASSING[fault]))

    first = lab.run(ROWS)
    assert first.error is None or isinstance(first.error, (ProviderError, TransportError)), first.error
    lab.faults = FaultPlan()

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("fault", STOPPING)
@pytest.mark.parametrize("call", CALLS)
def test_a_fault_that_needs_somebody_pauses_the_job(folder: Path, call: str, fault: str, number: int) -> None:
    bent, error = STOPPING[fault]
    lab = lab_of(folder, *led_there(call), CallFault(on=call, calls=(number,), **bent))

    first = lab.run(ROWS)
    if first.error is None:
        assert number > 1, "the fault never struck"
        check_end(lab, first, COUNT, SCRIPTS)
        return
    assert isinstance(first.error, error)

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def test_no_money_from_the_start_creates_nothing_and_says_why(folder: Path) -> None:
    lab = lab_of(folder)
    lab.sandbox = {"broke_keys": frozenset({lab.key})}

    first = lab.run(ROWS)

    assert isinstance(first.error, QuotaExhausted)
    assert not provider_batches(lab)
    lab.sandbox = {}
    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def test_a_key_revoked_in_mid_way_pauses_and_another_key_is_no_remedy_for_its_batches(folder: Path) -> None:
    lab = lab_of(folder)
    lab.trip = _after(lab, 8, lambda: lab.world_config(revoked_keys=frozenset({lab.key})))

    first = lab.run(ROWS)

    assert isinstance(first.error, AuthenticationFailed)
    assert lab.key not in str(first.error)
    lab.trip = None
    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def _after(lab: Lab, calls: int, act: Callable[[], None]) -> object:
    left = calls

    async def trip(request: httpx2.Request) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            act()

    return trip


# --- the network itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_listens_for_a_while(folder: Path, method: str) -> None:
    lab = lab_of(folder)
    left = 40

    async def refused(request: httpx2.Request) -> None:
        nonlocal left
        if request.method == method and left:
            left -= 1
            raise httpx2.ConnectError("connection refused", request=request)

    lab.trip = refused
    first = lab.run(ROWS)
    assert first.error is None or isinstance(first.error, NotSent), first.error
    lab.trip = None

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


@pytest.mark.parametrize("delay_s", [1.0, 10.0, 30.0, 55.0])
def test_a_create_that_arrives_after_we_gave_up_is_found(folder: Path, delay_s: float) -> None:
    lab = lab_of(folder)
    lab.trip = _late_creates(delay_s)

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


@pytest.mark.parametrize(
    ("silent_s", "late_s", "hidden_s"),
    [
        (60, 5, 20),
        (60.0, 10.0, 30.0),
        (60.0, 30.0, 0.0),
        (60.0, 40.0, 10.0),
        (60.0, 0.1, 50.0),
        (30.0, 1.0, 50.0),
    ],
)
def test_a_slow_create_is_waited_for_from_the_moment_its_answer_was_lost(
    folder: Path, silent_s: float, late_s: float, hidden_s: float
) -> None:
    lab = lab_of(folder, batch=(BatchFault(quirk="hidden", value=hidden_s),))
    lab.engine = EngineSettings(max_batch_rows=5)
    lab.trip = _late_creates(late_s, after_s=silent_s)

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


@pytest.mark.parametrize("hidden_s", [5.0, 30.0, 55.0])
@pytest.mark.parametrize("fault", ["drop_after", "hang_after", "500_after"])
def test_a_list_that_lags_does_not_make_a_create_absent(folder: Path, fault: str, hidden_s: float) -> None:
    hidden = BatchFault(quirk="hidden", value=hidden_s)
    lab = lab_of(folder, CallFault(on="batches.create", calls=(1,), **PASSING[fault]), batch=(hidden,))

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


@pytest.mark.parametrize("calls", [1, 2])
def test_a_list_that_shows_a_batch_only_when_asked_again(folder: Path, calls: int) -> None:
    hidden = BatchFault(quirk="hidden_calls", value=float(calls))
    lab = lab_of(folder, CallFault(on="batches.create", action="drop_after", calls=(1,)), batch=(hidden,))

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


@pytest.mark.parametrize("skew_s", [-7_200.0, -600.0, 600.0, 7_200.0])
def test_a_wrong_clock_does_not_lose_a_batch_in_doubt(folder: Path, skew_s: float) -> None:
    lab = lab_of(folder, CallFault(on="batches.create", action="drop_after", calls=(1, 2)))
    lab.skew_s = skew_s

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def _late_creates(delay_s: float, *, after_s: float = 0.0) -> object:
    struck = False

    async def trip(request: httpx2.Request) -> None:
        nonlocal struck
        if request.method == "POST" and request.url.path == "/v1/batches" and not struck:
            struck = True
            await asyncio.sleep(after_s)
            raise Late(delay_s)

    return trip


# --- cancelling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", PASSING)
def test_a_cancel_that_goes_wrong_is_asked_again(folder: Path, fault: str) -> None:
    lab = lab_of(folder, CallFault(on="batches.cancel", calls=(1, 2), **PASSING[fault]))

    async def begin_and_cancel(client: object, run: object) -> None:
        job, _ = client.open_job(ROWS, lab.options)  # type: ignore[attr-defined]
        await job.start()
        await client.pause(40.0)  # type: ignore[attr-defined]
        run.status = await job.cancel(run.events.append)  # type: ignore[attr-defined]

    run = lab.session(begin_and_cancel)  # type: ignore[arg-type]

    assert run.error is None, run.error
    assert run.status is not None
    assert run.status.state == "cancelled"
    assert run.status.pending == 0
    assert {batch["status"] for batch in provider_batches(lab)} <= {"cancelled", "completed"}


def test_everything_raised_is_one_of_ours() -> None:
    assert all(issubclass(error, BydawnError) for _, error in STOPPING.values())
