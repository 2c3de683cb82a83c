"""What to do next: a pure function of what is stored, what is being done, and the time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bydawn.core.states import AT_PROVIDER, FINAL_BATCH_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bydawn.core.settings import EngineSettings
    from bydawn.store.records import BatchRecord, JobRecord

ActionKind = Literal["send", "settle", "poll", "cancel", "collect", "replan", "withdraw", "give_up"]
Goal = Literal["done", "sent"]
"""When to stop: nothing left to do, or every batch is at its provider."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do with one batch."""

    kind: ActionKind
    batch: BatchRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that decides.

    ``lanes`` are the quota keys by lane index; ``enqueued`` the tokens at the provider by key, over all jobs of the
    home; ``quotas`` the known limits.
    """

    job: JobRecord
    batches: Sequence[BatchRecord]
    lanes: Sequence[str]
    enqueued: Mapping[str, int] = field(default_factory=dict)
    quotas: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """Actions to start now; when to look again if nothing else happens (Unix seconds); whether the goal is reached."""

    actions: tuple[Action, ...]
    wake_at_s: float | None
    reached: bool


def decide(
    snapshot: Snapshot, busy: frozenset[int], now_s: float, settings: EngineSettings, goal: Goal = "done"
) -> Decision:
    """Choose the next actions. ``busy`` are the numbers of batches that an action is under way for."""
    actions: list[Action] = []
    times: list[float] = []
    for batch in snapshot.batches:
        kind = _due(batch, snapshot.job.state)
        if kind is None or batch.number in busy:
            continue
        if batch.look_at_s > now_s and kind not in _AT_ONCE:
            times.append(batch.look_at_s)
            continue
        actions.append(Action(kind, batch))
    actions = _within_means(actions, snapshot, busy, now_s, settings)
    reached = not busy and not actions and _reached(snapshot, goal)
    return Decision(tuple(actions), min(times, default=None), reached)


_AT_ONCE = frozenset({"withdraw", "give_up"})
"""What need not wait for a batch's time: nothing is asked of a provider."""


def _due(batch: BatchRecord, job_state: str) -> ActionKind | None:
    match batch.state:
        case "planned":
            return "withdraw" if job_state == "cancelled" else "send" if job_state == "running" else None
        case "submitting" | "in_doubt":
            return "settle"
        case "in_progress":
            return "cancel" if job_state == "cancelled" else "poll"
        case "cancelling":
            return "poll"
        case "ended":
            return "collect"
    if not batch.waiting or job_state == "paused":
        return None
    return "give_up" if job_state == "cancelled" else "replan"


def _within_means(
    actions: list[Action], snapshot: Snapshot, busy: frozenset[int], now_s: float, settings: EngineSettings
) -> list[Action]:
    """Drop the sends that there is no room for: uploads at once, and tokens under the lane's quota."""
    sending = [batch for batch in snapshot.batches if batch.number in busy and batch.state in _BEING_SENT]
    room = settings.uploads - len(sending)
    means = _Means(snapshot, now_s)
    for batch in sending:
        if batch.state == "planned":  # not yet in the store's sum
            means.spend(batch)
    kept = []
    for action in actions:
        if action.kind == "send":
            if room <= 0 or not means.allow(action.batch):
                continue
            room -= 1
            means.spend(action.batch)
        kept.append(action)
    return kept


_BEING_SENT = frozenset({"planned", "submitting"})


class _Means:
    """The tokens that may still be enqueued under each lane's quota.

    Tokens of other jobs count as well, but never alone: whoever works on them may have stopped. A job with nothing of
    its own at the provider may send one batch; if the quota is used up it is refused, which costs nothing but a pause.
    """

    def __init__(self, snapshot: Snapshot, now_s: float) -> None:
        self._lanes = snapshot.lanes
        self._quotas = snapshot.quotas
        self._all = dict(snapshot.enqueued)
        self._own: dict[str, int] = {}
        for batch in snapshot.batches:
            if batch.state in AT_PROVIDER:
                _add(self._own, self._lanes[batch.lane], batch.input_tokens)
        self._cooling = {
            self._lanes[batch.lane]
            for batch in snapshot.batches
            if batch.state == "refused" and batch.look_at_s > now_s
        }

    def allow(self, batch: BatchRecord) -> bool:
        """Whether a batch may be sent now."""
        lane = self._lanes[batch.lane]
        if batch.refusals and lane in self._cooling:
            return False  # what was refused does not try, one after the other, what was refused just now
        if not self._own.get(lane):
            return True
        quota = self._quotas.get(lane)
        if quota is None:
            return not batch.refusals  # what was refused for reasons unknown is tried alone
        return self._all.get(lane, 0) + batch.input_tokens <= quota

    def spend(self, batch: BatchRecord) -> None:
        """Count a batch that is being sent."""
        lane = self._lanes[batch.lane]
        _add(self._all, lane, batch.input_tokens)
        _add(self._own, lane, batch.input_tokens)


def _add(sums: dict[str, int], lane: str, tokens: int) -> None:
    sums[lane] = sums.get(lane, 0) + tokens


def _reached(snapshot: Snapshot, goal: Goal) -> bool:
    running = snapshot.job.state == "running"
    for batch in snapshot.batches:
        if batch.waiting and snapshot.job.state != "paused":
            return False
        if batch.state in FINAL_BATCH_STATES:
            continue
        if batch.state == "planned" and not running:
            continue
        if goal == "done" or batch.state in ("planned", "submitting", "in_doubt"):
            return False
    return True


def waiting_for_quota(snapshot: Snapshot) -> list[tuple[str, int]]:
    """Name the lanes whose planned batches wait for enqueued tokens to be freed, with the tokens they wait for."""
    waiting: dict[str, int] = {}
    means = _Means(snapshot, math.inf)
    for batch in snapshot.batches:
        if batch.state == "planned" and not means.allow(batch):
            _add(waiting, snapshot.lanes[batch.lane], batch.input_tokens)
    return list(waiting.items())
