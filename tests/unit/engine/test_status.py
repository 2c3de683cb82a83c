"""How a job stands: its requests add up, its money is exact, and its end is estimated only from what was seen."""

from __future__ import annotations

from array import array
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bydawn.core.batch import Counts, Lane
from bydawn.core.job import JobOptions
from bydawn.core.model import ModelRef
from bydawn.engine.status import job_status
from bydawn.errors import JobNotFound
from bydawn.store.ledger import CANCELLED, EXPIRED, FAILED, PENDING, SUCCEEDED, VOID, WAITING, Segment
from bydawn.store.records import NewBatch, Plan, Tally
from bydawn.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW_S = 1000.0
SENT: tuple[str, dict[str, Any]] = ("send", {"sent_at_s": 400.0})
ACCEPTED: tuple[str, dict[str, Any]] = ("accepted", {"provider_batch_id": "batch_1"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "bydawn.db", lambda: 1.0)
    yield store
    store.close()


@pytest.fixture
def running(store: Store) -> Callable[..., None]:
    """Store a job with the given ledger states, all of batch 1, and bring that batch along the given steps."""

    def make(*states: int, steps: tuple[Any, ...] = (), models: tuple[str, ...] = (), batches: int = 1) -> None:
        options = msgspec.json.encode(JobOptions(models=models)).decode()
        store.create_job(job_id="job", fingerprint="f", name="rows", realm="live", options=options, source="s")
        store.put_segments("job", [Segment(0, bytearray(states), array("I", [1] * len(states)))])
        lanes = tuple(Lane(ModelRef("openai", name), "chat") for name in ("gpt-4o", "gpt-4.1", "gpt-4o"))
        new = [
            NewBatch(
                number=number, lane=(number - 1) % 3, tag=f"t{number}", nonce="n", rows=1, bytes=1, input_tokens=1,
                attempt=1, attempts_left=0,
            )
            for number in range(1, batches + 1)
        ]  # fmt: skip
        requests = len(states) - states.count(VOID)
        store.commit_plan("job", Plan(rows=len(states), width=1, requests=requests, lanes=lanes, batches=tuple(new)))
        batch = store.batches("job")[0]
        for event, changes in steps:
            batch = store.move_batch(batch, event, **changes) if event else store.update_batch(batch, **changes)

    return make


def test_a_job_that_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(JobNotFound):
        job_status(store, "nope", NOW_S)


def test_requests_add_up(store: Store, running: Callable[..., None]) -> None:
    states = [
        SUCCEEDED,
        SUCCEEDED,
        SUCCEEDED,
        FAILED,
        FAILED,
        EXPIRED,
        CANCELLED,
        PENDING,
        PENDING,
        WAITING,
        VOID,
        VOID,
    ]
    running(*states)
    status = job_status(store, "job", NOW_S)
    assert (status.succeeded, status.failed, status.expired, status.cancelled, status.pending) == (3, 2, 1, 1, 3)
    assert (
        status.succeeded + status.failed + status.expired + status.cancelled + status.pending == status.requests == 10
    )
    assert status.rows == 12
    assert not status.all_succeeded


def test_all_succeeded_means_all(store: Store, running: Callable[..., None]) -> None:
    running(SUCCEEDED, SUCCEEDED, VOID)
    assert job_status(store, "job", NOW_S).all_succeeded


def test_what_the_provider_has_finished_is_shown_while_it_runs(store: Store, running: Callable[..., None]) -> None:
    running(
        *[PENDING] * 9, steps=(SENT, ACCEPTED, (None, {"counts": Counts(9, 4, 1), "provider_status": "finalizing"}))
    )
    status = job_status(store, "job", NOW_S)
    assert (status.finished_at_provider, status.pending) == (5, 9)
    assert status.batches[0].counts == Counts(9, 4, 1)
    assert (status.batches[0].provider_status, status.batches[0].lane) == ("finalizing", "openai/gpt-4o (chat)")
    store.move_batch(store.batches("job")[0], "end", end_reason="completed")
    assert job_status(store, "job", NOW_S).finished_at_provider in (0, 5)


def test_money_and_tokens_are_summed_exactly_over_all_batches(store: Store, running: Callable[..., None]) -> None:
    running(PENDING, batches=3)
    for number, batch in enumerate(store.batches("job")):
        tally = Tally(
            rows=1, input_tokens=10, output_tokens=5, cached_tokens=2, reasoning_tokens=1, unpriced=number,
            cost_pico=10**number, live_pico=2 * 10**number,
        )  # fmt: skip
        store.collect(batch, "withdraw", [], waiting=0, tally=tally)
    status = job_status(store, "job", NOW_S)
    assert (status.input_tokens, status.output_tokens) == (30, 15)
    assert (status.cached_tokens, status.reasoning_tokens) == (6, 3)
    assert status.money.cost_usd == Decimal("0.000000000111")
    assert status.money.live_usd == 2 * status.money.cost_usd
    assert status.money.unpriced == 3


def test_before_anything_came_nothing_was_spent(store: Store, running: Callable[..., None]) -> None:
    running(PENDING)
    money = job_status(store, "job", NOW_S).money
    assert (money.cost_usd, money.live_usd, money.unpriced) == (0, 0, 0)


@pytest.mark.parametrize(
    ("given", "shown"),
    [((), ("openai/gpt-4o", "openai/gpt-4.1")), (("openai/gpt-4.1", "xai/grok"), ("openai/gpt-4.1", "xai/grok"))],
)
def test_models_are_those_asked_for_or_those_of_the_rows(
    store: Store, running: Callable[..., None], given: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    running(PENDING, models=given)
    assert job_status(store, "job", NOW_S).models == shown


@pytest.mark.parametrize(
    ("states", "steps", "eta_s"),
    [
        ([PENDING] * 4, (), None),  # nothing was sent
        ([PENDING] * 4, (SENT,), None),  # nothing was seen
        ([PENDING] * 4, (SENT, ACCEPTED, (None, {"counts": Counts(4, 0, 0)})), None),
        ([PENDING] * 4, (SENT, ACCEPTED, (None, {"counts": Counts(4, 1, 0)})), 1800.0),
        ([SUCCEEDED, PENDING, PENDING, PENDING], (SENT,), 1800.0),
        ([SUCCEEDED, FAILED, PENDING, PENDING], (SENT,), 600.0),
        ([SUCCEEDED] * 4, (SENT,), None),  # nothing is left
        ([PENDING] * 4, (SENT, ACCEPTED, (None, {"counts": Counts(9, 9, 0)})), None),  # the provider's counts are wrong
        ([SUCCEEDED, PENDING], (("send", {"sent_at_s": NOW_S + 50}),), 0.0),  # the clock was set back
    ],
)
def test_the_end_is_judged_by_the_pace_so_far(
    store: Store, running: Callable[..., None], states: list[int], steps: tuple[Any, ...], eta_s: float | None
) -> None:
    """600 seconds have passed since the first batch was sent."""
    running(*states, steps=steps)
    assert job_status(store, "job", NOW_S).eta_s == eta_s
