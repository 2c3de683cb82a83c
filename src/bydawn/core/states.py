"""The state machines of jobs and batches: tables, and nothing else changes a state.

Theory of operation. A batch moves by *events*; ``BATCH`` says which event leads from where to where, and an event that
has no entry is a bug (`IllegalMove`), never ignored. The schema's CHECK constraints and the diagram in
docs/how-it-works.md are made from these tables.

    planned ──send──> submitting ──accepted──> in_progress ──end──> ended ──collect──> collected
       ^  ^                │  │                  │  │   ^              ^
       │  └──not_sent──────┘  └──lost──> in_doubt   │   └─(adopted)    │
       └───────(absent)───────────────────┘         ├──cancel──> cancelling ──end
                                                    └──refuse──> refused     (its rows return to planning)

``submitting`` is committed just before the one create is sent, so a crash there means *in doubt*: the store treats a
``submitting`` batch that it finds at start as lost. ``refused`` and ``collected`` are final.
"""

from __future__ import annotations

from typing import Literal

BatchState = Literal[
    "planned", "submitting", "in_doubt", "in_progress", "cancelling", "ended", "collected", "refused", "withdrawn"
]
JobState = Literal["planning", "running", "paused", "done", "cancelled"]

BATCH: dict[tuple[str, str], BatchState] = {
    ("planned", "send"): "submitting",
    ("planned", "withdraw"): "withdrawn",
    ("planned", "refuse"): "refused",
    ("submitting", "accepted"): "in_progress",
    ("submitting", "not_sent"): "planned",
    ("submitting", "lost"): "in_doubt",
    ("submitting", "refuse"): "refused",
    ("in_doubt", "adopted"): "in_progress",
    ("in_doubt", "absent"): "planned",
    ("in_progress", "cancel"): "cancelling",
    ("in_progress", "refuse"): "refused",
    ("in_progress", "end"): "ended",
    ("cancelling", "refuse"): "refused",
    ("cancelling", "end"): "ended",
    ("ended", "collect"): "collected",
}
"""(state, event) -> state. ``withdraw``: the job was cancelled before the batch was sent."""

JOB: dict[tuple[str, str], JobState] = {
    ("planning", "planned"): "running",
    ("running", "pause"): "paused",
    ("running", "finish"): "done",
    ("running", "cancel"): "cancelled",
    ("paused", "resume"): "running",
    ("paused", "cancel"): "cancelled",
    ("paused", "finish"): "done",
    ("done", "retry"): "running",
    ("cancelled", "retry"): "running",
}
"""(state, event) -> state. ``cancelled`` still collects what its batches have finished."""

BATCH_STATES: tuple[str, ...] = (
    "planned", "submitting", "in_doubt", "in_progress", "cancelling", "ended", "collected", "refused", "withdrawn",
)  # fmt: skip
JOB_STATES: tuple[str, ...] = ("planning", "running", "paused", "done", "cancelled")

FINAL_BATCH_STATES = frozenset({"collected", "refused", "withdrawn"})
"""Nothing more happens to these."""

AT_PROVIDER = frozenset({"submitting", "in_doubt", "in_progress", "cancelling"})
"""The provider has, or may have, the batch and may still run it."""


class IllegalMove(AssertionError):
    """An event that the tables do not allow: a bug in bydawn."""


def move_batch(state: str, event: str) -> BatchState:
    """Return the batch state after ``event``; raise IllegalMove when the table has none."""
    try:
        return BATCH[state, event]
    except KeyError:
        raise IllegalMove(f"a batch that is {state} cannot {event}") from None


def move_job(state: str, event: str) -> JobState:
    """Return the job state after ``event``; raise IllegalMove when the table has none."""
    try:
        return JOB[state, event]
    except KeyError:
        raise IllegalMove(f"a job that is {state} cannot {event}") from None
