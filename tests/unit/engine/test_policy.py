"""Waiting stays within bounds, grows, and depends on nothing but what is handed in; judging is a table."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.core.result import Answer, ErrorKind, RowError
from bydawn.core.settings import EngineSettings
from bydawn.engine.policy import JITTER, QUOTA_WAIT_MAX_S, judge, poll_delay, quota_delay, retry_delay
from bydawn.store.ledger import CANCELLED, EXPIRED, FAILED, SUCCEEDED, WAITING

if TYPE_CHECKING:
    from collections.abc import Callable

seconds = st.floats(0, 10_000)
DIALS = st.tuples(seconds, seconds, seconds).map(
    lambda drawn: EngineSettings(poll_min_s=min(drawn[:2]), poll_max_s=max(drawn[:2]), retry_first_s=drawn[2])
)
quick = settings(max_examples=150, deadline=None, derandomize=True)
rounding = 1 + 1e-9


@quick
@given(dials=DIALS, looks=st.integers(0, 10**6), seed=st.integers())
def test_a_poll_delay_keeps_within_the_users_bounds(dials: EngineSettings, looks: int, seed: int) -> None:
    """BYDAWN_POLL_MIN and BYDAWN_POLL_MAX are promises: no jitter goes below or above them."""
    assert dials.poll_min_s / rounding <= poll_delay(looks, dials, Random(seed)) <= dials.poll_max_s * rounding


@quick
@given(dials=DIALS, failures=st.integers(0, 10**6), asked=st.none() | st.floats(0, 10**6), seed=st.integers())
def test_a_retry_waits_at_least_as_long_as_was_asked_and_else_is_bounded(
    dials: EngineSettings, failures: int, asked: float | None, seed: int
) -> None:
    delay = retry_delay(failures, dials, Random(seed), asked)
    longest = max(dials.poll_max_s, dials.retry_first_s) * (1 + JITTER)
    assert (asked or 0) <= delay <= max(longest * rounding, asked or 0)


@quick
@given(dials=DIALS, refusals=st.integers(0, 10**6), seed=st.integers())
def test_a_wait_for_quota_is_bounded(dials: EngineSettings, refusals: int, seed: int) -> None:
    delay = quota_delay(refusals, dials, Random(seed))
    assert 0 <= delay <= max(QUOTA_WAIT_MAX_S, dials.poll_max_s) * (1 + JITTER) * rounding


@pytest.mark.parametrize("delay", [poll_delay, retry_delay, quota_delay])
def test_delays_grow_and_use_the_random_source_given(
    delay: Callable[[int, EngineSettings, Random], float],
) -> None:
    dials = EngineSettings(poll_min_s=1.0, poll_max_s=300.0, retry_first_s=1.0)
    assert delay(3, dials, Random(7)) == delay(3, dials, Random(7))
    assert len({delay(3, dials, Random(seed)) for seed in range(20)}) == 20

    def mean(times: int) -> float:
        return sum(delay(times, dials, Random(seed)) for seed in range(200)) / 200

    assert mean(0) < mean(1) < mean(2) < mean(3)


def test_two_processes_do_not_knock_at_the_same_moment() -> None:
    """Jitter spreads delays by a tenth at least, also where the bound is reached."""
    dials = EngineSettings(poll_min_s=5.0, poll_max_s=300.0)
    delays = [poll_delay(50, dials, Random(seed)) for seed in range(200)]
    assert max(delays) - min(delays) > 30.0


def error(kind: ErrorKind, *, retryable: bool) -> RowError:
    return RowError(kind, None, "", retryable=retryable)


RETRYABLE = error("server_error", retryable=True)
FINAL = error("invalid_request", retryable=False)


@pytest.mark.parametrize(
    ("outcome", "why", "while_attempts_left", "at_last"),
    [
        ("succeeded", None, SUCCEEDED, SUCCEEDED),
        ("errored", RETRYABLE, WAITING, FAILED),
        ("errored", FINAL, FAILED, FAILED),
        ("errored", error("refusal", retryable=False), FAILED, FAILED),
        ("errored", error("schema_mismatch", retryable=False), FAILED, FAILED),
        ("errored", None, WAITING, FAILED),
        ("missing", error("missing", retryable=True), WAITING, FAILED),
        ("expired", error("expired", retryable=True), WAITING, EXPIRED),
        ("expired", None, WAITING, EXPIRED),
        ("expired", FINAL, EXPIRED, EXPIRED),
        ("cancelled", error("cancelled", retryable=True), WAITING, CANCELLED),
        ("errored", error("quota", retryable=True), WAITING, WAITING),
        ("errored", error("batch_refused", retryable=True), WAITING, WAITING),
        ("errored", error("batch_refused", retryable=False), FAILED, FAILED),
    ],
)
def test_what_an_outcome_leads_to(outcome: str, why: RowError | None, while_attempts_left: int, at_last: int) -> None:
    answer = Answer("id", outcome, error=why)  # type: ignore[arg-type]
    assert judge(answer, attempts_left=1, may_retry=True) == while_attempts_left
    assert judge(answer, attempts_left=0, may_retry=True) == at_last


@pytest.mark.parametrize("kind", get_args(ErrorKind))
@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize("outcome", ["errored", "expired", "cancelled", "missing"])
def test_nothing_waits_that_may_not_be_sent_again(outcome: str, kind: ErrorKind, retryable: bool) -> None:
    """In a cancelled job nothing waits at all; anywhere, what is not retryable does not."""
    answer = Answer("id", outcome, error=error(kind, retryable=retryable))  # type: ignore[arg-type]
    final = {"expired": EXPIRED, "cancelled": CANCELLED}.get(outcome, FAILED)
    assert judge(answer, attempts_left=9, may_retry=False) == final
    if not retryable:
        assert judge(answer, attempts_left=9, may_retry=True) == final
