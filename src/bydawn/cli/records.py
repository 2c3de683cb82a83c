"""What ``--json`` prints: plain mappings made of the client's own types, and their one encoder.

The keys are the field names of `bydawn.core.job`; pairs of (adjustment, rows) become one flat object. Money is a JSON
number, unknown money is null.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from bydawn.core.events import BatchMoved, Notice, Planning, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bydawn.core.adjustment import Adjustment
    from bydawn.core.events import Event
    from bydawn.core.job import CleanReport, FailureGroup, JobStatus, LanePlan, PlanReport

Record = dict[str, Any]

LONG_PARTS = frozenset({"batches", "adjustments", "notices"})
"""Parts of a job's record that a progress event leaves out: they grow with the job and are in the summary."""


@cache
def _encoder() -> Callable[[Any], bytes]:
    import msgspec

    return msgspec.json.Encoder(decimal_format="number").encode


def encode(record: Any) -> str:
    """Return one line of JSON, without its newline."""
    return _encoder()(record).decode("utf-8")


def _plain(value: Any, leave_out: frozenset[str] = frozenset()) -> Record:
    return {field.name: getattr(value, field.name) for field in fields(value) if field.name not in leave_out}


def adjustments(pairs: Iterable[tuple[Adjustment, int]]) -> list[Record]:
    """One flat object per adjustment, with the number of rows it was made for."""
    return [_plain(change) | {"rows": rows} for change, rows in pairs]


def job(status: JobStatus) -> Record:
    """All that is known of a job."""
    return _plain(status, LONG_PARTS) | {
        "all_succeeded": status.all_succeeded,
        "batches": status.batches,
        "adjustments": adjustments(status.adjustments),
        "notices": status.notices,
    }


def plan(report: PlanReport) -> Record:
    """What `check` found."""
    return _plain(report) | {
        "lanes": [_lane(lane) for lane in report.lanes],
        "adjustments": adjustments(report.adjustments),
    }


def _lane(plan: LanePlan) -> Record:
    where = {"model": str(plan.lane.model), "endpoint": plan.lane.endpoint, "account": plan.lane.account}
    return where | _plain(plan, frozenset({"lane"}))


def failure(group: FailureGroup) -> Record:
    """One cause of failures."""
    return _plain(group)


def event(happened: Event) -> Record:
    """One event of a running job; ``event`` names its kind."""
    match happened:
        case Notice():
            return {"event": "notice"} | _plain(happened)
        case Planning():
            return {"event": "planning"} | _plain(happened)
        case BatchMoved():
            return {"event": "batch"} | _plain(happened)
        case Progress():
            return {"event": "progress"} | _plain(happened.status, LONG_PARTS)


def cleaned(report: CleanReport) -> Record:
    """What `clean` removed."""
    return _plain(report)
