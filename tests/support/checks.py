"""The oracle: rows that say what shall happen to them, and what must be true once their job has ended.

Everything is read from the provider's side (its database and the files it was sent) and from bydawn's store, and
compared; nothing is taken from what the run itself reports.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from support.lab import Run

    Records = list[dict[str, Any]]

    class Lab(Protocol):
        """Where a job and its provider keep what outlasts them."""

        home: Path
        provider: Path


_ROW = re.compile(rb"Row (\d+)\.")
FINAL_AT = ("failed_at", "completed_at", "expired_at", "cancelled_at")


@dataclass(frozen=True, slots=True)
class Script:
    """What one row tells the sandbox, and what must come of it: the statuses it is executed with, and its own."""

    directive: str
    executed: tuple[int, ...]
    status: str


PLAIN = Script("", (200,), "succeeded")
ONCE_500 = Script("[[sandbox: status=500 times=1]]", (500, 200), "succeeded")
TWICE_429 = Script("[[sandbox: status=429 times=2]]", (429, 429, 200), "succeeded")
ALWAYS_503 = Script("[[sandbox: status=503]]", (503, 503, 503), "failed")
BAD = Script("[[sandbox: status=400]]", (400,), "failed")
REFUSED = Script("[[sandbox: refuse]]", (200,), "failed")
TIMED_OUT_ONCE = Script("[[sandbox: timeout times=1]]", (0, 200), "succeeded")
LOST_ONCE = Script("[[sandbox: missing times=1]]", (200, 200), "succeeded")


def make_rows(count: int, scripts: Mapping[int, Script] | None = None, first: int = 0) -> list[dict[str, Any]]:
    """Return requests whose text carries their number, counted from ``first``, and their script."""
    scripts = scripts or {}
    return [_row(number, scripts.get(number, PLAIN)) for number in range(first, first + count)]


def _row(number: int, script: Script) -> dict[str, Any]:
    text = f"Row {number}. {script.directive}".strip()
    return {"id": f"id-{number}", "messages": [{"role": "user", "content": text}], "max_tokens": 40}


def check_end(lab: Lab, run: Run, count: int, scripts: Mapping[int, Script] | None = None) -> None:
    """Assert every promise about a job that has ended."""
    assert run.error is None, run.error
    assert run.status is not None
    assert run.status.state == "done"
    check_output(run.output, count, scripts or {})
    check_answers(lab, run.output)
    check_executions(lab, count, scripts or {})
    check_batches(lab)
    check_store(lab)


def check_output(output: bytes, count: int, scripts: Mapping[int, Script]) -> None:
    """One result per row, in order, under the user's id, ended as its script says."""
    records = records_of(output)
    assert [record["row"] for record in records] == list(range(count))
    assert [record["id"] for record in records] == [f"id-{number}" for number in range(count)]
    wanted = [scripts.get(number, PLAIN).status for number in range(count)]
    assert [record["status"] for record in records] == wanted


def check_answers(lab: Lab, output: bytes, first: int = 0) -> None:
    """Every row has an answer that the provider gave to that very row; ``first`` is the number of the job's row 0."""
    given: dict[int, set[str]] = defaultdict(set)
    for batch in provider_batches(lab):
        path = lab.provider / "files" / (batch["output_file_id"] or "none")
        rows = carried_rows(lab, batch)
        for line in path.read_bytes().split(b"\n") if path.exists() else ():
            with suppress(msgspec.DecodeError):  # blank and cut lines
                answer = msgspec.json.decode(line)
                if answer["custom_id"] in rows and answer["response"]["body"].get("choices"):
                    message = answer["response"]["body"]["choices"][0]["message"]
                    given[rows[answer["custom_id"]]].add(message["content"])
    for record in records_of(output):
        if record["status"] == "succeeded":
            assert record["text"] in given[first + record["row"]], f"row {record['row']} has another row's answer"


def records_of(output: bytes) -> Records:
    """Return the results as mappings."""
    return [msgspec.json.decode(line) for line in output.split(b"\n") if line]


def comparable(output: bytes) -> Records:
    """Return the results without what legitimately differs between two runs: the provider's own batch ids."""
    return [{**record, "provider_batch_id": None} for record in records_of(output)]


def check_executions(lab: Lab, count: int, scripts: Mapping[int, Script]) -> None:
    """Every row was executed exactly as often as its script needs: nothing was lost, nothing paid twice."""
    found = executions(lab)
    for number in range(count):
        wanted = scripts.get(number, PLAIN).executed
        assert sorted(found[number]) == sorted(wanted), f"row {number} was executed as {found[number]}, not {wanted}"


def executions(lab: Lab) -> dict[int, list[int]]:
    """Return the statuses that each row was executed with, batch by batch as they were created."""
    found: dict[int, list[int]] = defaultdict(list)
    with _database(lab) as db:
        for batch in provider_batches(lab):
            rows = carried_rows(lab, batch)
            for custom_id, status in db.execute("SELECT custom_id, status FROM rows WHERE batch_id = ?", [batch["id"]]):
                found[rows[custom_id]].append(status)
    return found


def provider_batches(lab: Lab) -> list[dict[str, Any]]:
    """Return the sandbox's batch objects as it stores them, oldest first."""
    with _database(lab) as db:
        rows = db.execute("SELECT data FROM records WHERE kind = 'openai.batch' ORDER BY seq").fetchall()
    return [msgspec.json.decode(row[0]) for row in rows]


def carried_rows(lab: Lab, batch: Mapping[str, Any]) -> dict[str, int]:
    """Return which row each custom_id of a batch stands for, by the text that was sent."""
    lines = (lab.provider / "files" / batch["input_file_id"]).read_bytes().split(b"\n")[:-1]
    return {msgspec.json.decode(line)["custom_id"]: int(_ROW.search(line)[1]) for line in lines}  # type: ignore[index]


def check_batches(lab: Lab) -> None:
    """No batch is unknown to the store or was created twice, and no row was in two live batches at a time."""
    batches = provider_batches(lab)
    stored = _stored(lab)
    known = [batch["provider_batch_id"] for batch in stored if batch["provider_batch_id"]]
    created = [batch["id"] for batch in batches]
    assert sorted(created) == sorted(known), f"created {len(created)}, known {len(known)}"
    tags = [batch["metadata"]["bydawn"] for batch in batches]
    assert len(set(tags)) == len(tags), "a batch was created twice"
    check_no_overlap(lab, batches)


def check_no_overlap(lab: Lab, batches: Sequence[Mapping[str, Any]]) -> None:
    """No row may be sent again while an earlier sending of it may still run."""
    lives: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for batch in batches:
        ended = next((batch[name] for name in FINAL_AT if batch[name] is not None), float("inf"))
        for row in carried_rows(lab, batch).values():
            lives[row].append((batch["created_at"], ended))
    for row, spans in lives.items():
        spans.sort()
        for (_, ended), (created, _) in pairwise(spans):
            assert created + 1 > ended, f"row {row} was in two live batches"


def check_store(lab: Lab) -> None:
    """Every batch's counts add up, and nothing is left to do."""
    for batch in _stored(lab):
        assert batch["state"] in {"collected", "refused", "withdrawn"}, batch
        assert batch["waiting"] == 0
        if batch["tally"] is not None:
            tally = msgspec.json.decode(batch["tally"])
            ends = ("succeeded", "errored", "expired", "cancelled", "missing")
            assert tally["rows"] == sum(tally[name] for name in ends), tally


def _stored(lab: Lab) -> list[dict[str, Any]]:
    with sqlite3.connect(lab.home / "bydawn.db") as db:
        db.row_factory = sqlite3.Row
        rows = [dict(row) for row in db.execute("SELECT * FROM batch ORDER BY job_id, number")]
    db.close()
    return rows


def _database(lab: Lab) -> AbstractContextManager[sqlite3.Connection]:
    return closing(sqlite3.connect(lab.provider / "sandbox.db"))
