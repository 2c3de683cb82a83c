"""What to do next: a table of every state of a batch by every state of its job, and properties of any snapshot."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.core.settings import EngineSettings
from bydawn.core.states import AT_PROVIDER, BATCH_STATES, FINAL_BATCH_STATES, JOB_STATES
from bydawn.engine.schedule import Decision, Snapshot, decide, waiting_for_quota

if TYPE_CHECKING:
    from collections.abc import Callable

    from bydawn.store.records import BatchRecord

    Make = Callable[..., Any]

NOW_S = 1000.0
DIALS = EngineSettings(uploads=2)
IDLE: frozenset[int] = frozenset()

DONE = ("running", "paused", "done")
"""Job states in which what is at the provider is watched and collected like ever."""

TABLE: dict[tuple[str, str], str] = {
    ("planned", "running"): "send",
    ("planned", "cancelled"): "withdraw",
    **{("submitting", job): "settle" for job in JOB_STATES},
    **{("in_doubt", job): "settle" for job in JOB_STATES},
    **{("in_progress", job): "poll" for job in JOB_STATES},
    ("in_progress", "cancelled"): "cancel",
    **{("cancelling", job): "poll" for job in JOB_STATES},
    **{("ended", job): "collect" for job in JOB_STATES},
}
"""(batch, job) -> what is due. No entry: nothing."""


@pytest.fixture
def look(batch: Make, job: Make) -> Callable[..., Decision]:
    """Decide on batches given as (state, changes), numbered from 1."""

    def look(*batches: tuple[str, dict[str, Any]] | str, job_state: str = "running", **more: Any) -> Decision:
        busy, goal, dials = more.pop("busy", IDLE), more.pop("goal", "done"), more.pop("dials", DIALS)
        records = []
        for number, given_batch in enumerate(batches, 1):
            state, changes = (given_batch, {}) if isinstance(given_batch, str) else given_batch
            records.append(batch(number, state=state, **changes))
        snapshot = Snapshot(job=job(job_state), batches=records, lanes=["a", "b"], **more)
        return decide(snapshot, busy, NOW_S, dials, goal)

    return look


def kinds(decision: Decision) -> list[tuple[str, int]]:
    return [(action.kind, action.batch.number) for action in decision.actions]


@pytest.mark.parametrize(("state", "job_state"), list(product(BATCH_STATES, JOB_STATES)))
def test_what_is_due(look: Callable[..., Decision], state: str, job_state: str) -> None:
    due = TABLE.get((state, job_state))
    assert kinds(look(state, job_state=job_state)) == ([(due, 1)] if due else [])


@pytest.mark.parametrize(("state", "job_state"), list(product(BATCH_STATES, JOB_STATES)))
def test_nothing_is_begun_for_a_batch_that_is_busy(look: Callable[..., Decision], state: str, job_state: str) -> None:
    decision = look(state, job_state=job_state, busy=frozenset({1}))
    assert decision == Decision((), None, reached=False)


@pytest.mark.parametrize(("state", "job_state"), sorted(TABLE))
def test_nothing_is_done_before_its_time(look: Callable[..., Decision], state: str, job_state: str) -> None:
    """But for what only concerns us; and the time is when to look again."""
    if TABLE[state, job_state] == "withdraw":
        return
    decision = look((state, {"look_at_s": NOW_S + 5}), ("ended", {"look_at_s": NOW_S + 9}), job_state=job_state)
    if TABLE[state, job_state] == "cancel":
        assert kinds(decision) in ([], [("cancel", 1)])
    else:
        assert decision == Decision((), NOW_S + 5, reached=False)


def test_a_moment_later_it_is_done(look: Callable[..., Decision]) -> None:
    decision = look(("in_progress", {"look_at_s": NOW_S}), ("ended", {"look_at_s": NOW_S + 0.1}))
    assert kinds(decision) == [("poll", 1)]
    assert decision.wake_at_s == NOW_S + 0.1


@pytest.mark.parametrize("state", sorted(FINAL_BATCH_STATES))
@pytest.mark.parametrize(("job_state", "due"), [("running", [("replan", 1)]), ("paused", [])])
def test_waiting_rows_are_planned_again_while_the_job_runs(
    look: Callable[..., Decision], state: str, job_state: str, due: list[tuple[str, int]]
) -> None:
    decision = look((state, {"waiting": 3}), job_state=job_state)
    assert kinds(decision) == due
    assert decision.reached == (not due)


@pytest.mark.parametrize("state", sorted(FINAL_BATCH_STATES))
@pytest.mark.parametrize("look_at_s", [0.0, NOW_S + 500])
def test_rows_that_wait_when_the_job_is_cancelled_are_not_forgotten(
    look: Callable[..., Decision], state: str, look_at_s: float
) -> None:
    """Promise 1: they must get a final status, or the job has pending rows for ever."""
    decision = look((state, {"waiting": 3, "look_at_s": look_at_s}), job_state="cancelled")
    assert not decision.reached
    assert [number for _, number in kinds(decision)] == [1] or decision.wake_at_s == look_at_s


def test_waiting_rows_are_waited_for_until_their_time(look: Callable[..., Decision]) -> None:
    decision = look(("refused", {"waiting": 3, "look_at_s": NOW_S + 60}))
    assert decision == Decision((), NOW_S + 60, reached=False)


# Means


def test_only_so_many_batches_are_sent_at_once(look: Callable[..., Decision]) -> None:
    assert kinds(look(*["planned"] * 5)) == [("send", 1), ("send", 2)]
    assert kinds(look(*["planned"] * 5, busy=frozenset({1}))) == [("send", 2)]
    assert kinds(look(*["planned"] * 5, busy=frozenset({1, 2}))) == []
    assert kinds(look("submitting", *["planned"] * 4, busy=frozenset({1, 2}))) == []
    assert kinds(look(*["planned"] * 5, dials=EngineSettings(uploads=4))) == [
        ("send", number) for number in (1, 2, 3, 4)
    ]


def test_other_actions_are_not_held_up_by_uploads(look: Callable[..., Decision]) -> None:
    decision = look("planned", "planned", "planned", "in_progress", "ended", "in_doubt", busy=frozenset({1, 2}))
    assert kinds(decision) == [("poll", 4), ("collect", 5), ("settle", 6)]
    assert kinds(look("planned", "planned", "in_progress", busy=frozenset({3}))) == [("send", 1), ("send", 2)]


@pytest.mark.parametrize(
    ("quota", "at_provider", "sent"),
    [
        (None, 10**9, [2, 3]),
        (100, 100, []),
        (100, 95, []),
        (100, 90, [2]),
        (100, 80, [2, 3]),
    ],
)
def test_sends_keep_within_the_lanes_quota(
    look: Callable[..., Decision], quota: int | None, at_provider: int, sent: list[int]
) -> None:
    """Each batch has ten tokens; what other jobs have at the provider counts beside our own."""
    ten = {"input_tokens": 10}
    running = ("in_progress", {"input_tokens": 10, "look_at_s": NOW_S + 60})
    quotas = {} if quota is None else {"a": quota}
    decision = look(running, ("planned", ten), ("planned", ten), enqueued={"a": at_provider}, quotas=quotas)
    assert kinds(decision) == [("send", number) for number in sent]
    assert not decision.reached


@pytest.mark.parametrize(("quota", "others"), [(15, 0), (5, 0), (15, 10**9)])
def test_a_job_with_nothing_at_the_provider_sends_one_batch(
    look: Callable[..., Decision], quota: int, others: int
) -> None:
    """Tokens are an estimate, and whoever has others there may have stopped: the provider has the last word."""
    ten = {"input_tokens": 10}
    decision = look(("planned", ten), ("planned", ten), enqueued={"a": others}, quotas={"a": quota})
    assert kinds(decision) == [("send", 1)]


def test_a_send_under_way_counts_before_the_store_knows_of_it(look: Callable[..., Decision]) -> None:
    ten = {"input_tokens": 10}
    assert kinds(look(("planned", ten), ("planned", ten), quotas={"a": 15}, busy=frozenset({1}))) == []
    known = {"enqueued": {"a": 10}, "quotas": {"a": 25}}
    assert kinds(look(("submitting", ten), ("planned", ten), busy=frozenset({1}), **known)) == [("send", 2)]


def test_a_full_lane_does_not_hold_up_another(look: Callable[..., Decision]) -> None:
    running = ("in_progress", {"lane": 0, "input_tokens": 7, "look_at_s": NOW_S + 60})
    decision = look(
        running,
        ("planned", {"lane": 0, "input_tokens": 7}),
        ("planned", {"lane": 1, "input_tokens": 7}),
        enqueued={"a": 7, "b": 7},
        quotas={"a": 7, "b": 70},
    )
    assert kinds(decision) == [("send", 3)]


def test_lanes_that_wait_for_quota_are_named(batch: Make, job: Make) -> None:
    batches = [
        batch(number, state=state, lane=lane, input_tokens=10)
        for number, (state, lane) in enumerate(
            [("planned", 0), ("planned", 0), ("in_progress", 0), ("planned", 1), ("collected", 0)], 1
        )
    ]
    snapshot = Snapshot(job=job(), batches=batches, lanes=["a", "b"], enqueued={"a": 10}, quotas={"a": 15, "b": 5})
    assert waiting_for_quota(snapshot) == [("a", 20)]


# Goals


@pytest.mark.parametrize("state", BATCH_STATES)
def test_when_a_job_is_done_and_when_it_is_sent(look: Callable[..., Decision], state: str) -> None:
    """Sent: nothing is left here that the provider does not have for sure."""
    later = (state, {"look_at_s": NOW_S + 60})
    assert look(later).reached == (state in FINAL_BATCH_STATES)
    assert look(later, goal="sent").reached == (state not in ("planned", "submitting", "in_doubt"))


def test_a_goal_is_not_reached_while_something_is_due_or_under_way(look: Callable[..., Decision]) -> None:
    assert not look("in_progress", goal="sent").reached
    assert not look("collected", busy=frozenset({1})).reached
    assert not look("collected", ("collected", {"waiting": 1, "look_at_s": NOW_S + 9}), goal="sent").reached
    assert look("collected", "withdrawn", "refused").reached


def test_a_paused_job_rests_when_nothing_is_at_the_provider(look: Callable[..., Decision]) -> None:
    """What was not sent is not waited for: a later command resumes it."""
    assert look("planned", "collected", job_state="paused").reached
    assert not look("planned", ("in_progress", {"look_at_s": NOW_S + 9}), job_state="paused").reached


def test_a_job_without_batches_is_done(look: Callable[..., Decision]) -> None:
    assert look() == Decision((), None, reached=True)


# Any snapshot

BATCHES = st.lists(
    st.tuples(
        st.sampled_from(BATCH_STATES), st.integers(0, 1), st.integers(0, 30), st.sampled_from([0.0, NOW_S, NOW_S + 7])
    ),
    max_size=8,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    given_batches=BATCHES,
    job_state=st.sampled_from(JOB_STATES),
    busy=st.sets(st.integers(1, 8)),
    quotas=st.dictionaries(st.sampled_from("ab"), st.integers(1, 60)),
    elsewhere=st.dictionaries(st.sampled_from("ab"), st.integers(0, 60)),
    uploads=st.integers(1, 3),
    waiting=st.booleans(),
    goal=st.sampled_from(["done", "sent"]),
)
def test_any_decision_is_sound(
    batch: Make, job: Make, given_batches: Any, job_state: str, busy: set[int], **drawn: Any
) -> None:
    batches = [
        batch(
            number, state=state, lane=lane, input_tokens=tokens, look_at_s=look_at_s,
            waiting=int(drawn["waiting"] and state in FINAL_BATCH_STATES),
        )
        for number, (state, lane, tokens, look_at_s) in enumerate(given_batches, 1)
    ]  # fmt: skip
    under_way = frozenset(busy & {known.number for known in batches})
    enqueued = {
        lane: sum(b.input_tokens for b in batches if "ab"[b.lane] == lane and b.state in AT_PROVIDER)
        + drawn["elsewhere"].get(lane, 0)
        for lane in "ab"
    }
    snapshot = Snapshot(
        job=job(job_state), batches=batches, lanes=["a", "b"], enqueued=enqueued, quotas=drawn["quotas"]
    )
    dials = EngineSettings(uploads=drawn["uploads"])
    decision = decide(snapshot, under_way, NOW_S, dials, drawn["goal"])

    assert decision == decide(snapshot, under_way, NOW_S, dials, drawn["goal"])
    numbers = [action.batch.number for action in decision.actions]
    assert len(set(numbers)) == len(numbers)
    assert under_way.isdisjoint(numbers)
    assert all(action.batch in batches for action in decision.actions)
    sends = [action.batch for action in decision.actions if action.kind == "send"]
    assert all(known.state == "planned" for known in sends)
    sending = [known for known in batches if known.number in under_way and known.state in ("planned", "submitting")]
    assert not sends or len(sends) + len(sending) <= dials.uploads
    for lane in "ab":
        assert_within_quota(lane, sends, sending, enqueued[lane], drawn["quotas"].get(lane))
    assert decision.wake_at_s is None or decision.wake_at_s > NOW_S
    assert not (decision.reached and (decision.actions or under_way))
    if decision.reached and drawn["goal"] == "done":
        assert not any(known.state in AT_PROVIDER | {"ended"} for known in batches)


def assert_within_quota(
    lane: str, sends: list[BatchRecord], sending: list[BatchRecord], enqueued: int, quota: int | None
) -> None:
    """All that is at the provider and on its way fits, unless it is one batch alone."""
    mine = [batch.input_tokens for batch in sends if "ab"[batch.lane] == lane]
    before = enqueued + sum(b.input_tokens for b in sending if "ab"[b.lane] == lane and b.state == "planned")
    if quota is not None and mine and not (before == 0 and sum(mine[1:]) == 0):
        assert before + sum(mine) <= quota
