"""How batches move: states and their times, results, expiry, cancelling, the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bydawn.sandbox import BatchFault, FaultPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAY_S = 86_400
TIMES = ("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at")


def times_set(batch: dict[str, Any]) -> set[str]:
    return {name for name in TIMES if batch[name] is not None}


def many(row: Callable[..., bytes], count: int) -> bytes:
    return b"".join(row(f"id-{n}", f"question {n}") for n in range(count))


def walk(box: Any, batch_id: str, step_s: float) -> Iterator[dict[str, Any]]:
    """The batch after each step of time, until it ends."""
    while True:
        box.advance(step_s)
        batch = box.get(f"/v1/batches/{batch_id}")
        yield batch
        if batch["status"] in {"completed", "failed", "expired", "cancelled"}:
            return


def test_a_batch_goes_through_its_states_in_order(box, row):
    batch_id = box.batch(many(row, 40))
    assert box.get(f"/v1/batches/{batch_id}")["status"] == "validating"
    seen = list(walk(box, batch_id, 20))
    states = list(dict.fromkeys(batch["status"] for batch in seen))
    assert states == [state for state in ("validating", "in_progress", "finalizing", "completed") if state in states]
    assert states[-1] == "completed"
    assert "in_progress" in states
    for batch in seen:
        if batch["status"] != "completed":
            assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
    counts = [batch["request_counts"]["completed"] for batch in seen]
    assert counts == sorted(counts)
    assert len(set(counts)) > 3, "counts grow while in progress"
    assert times_set(seen[-1]) == {"in_progress_at", "finalizing_at", "completed_at"}
    assert seen[-1]["model"] == "gpt-4o-mini-2024-07-18"


def test_all_rows_good_means_no_error_file(box, row):
    batch = box.run(many(row, 3))
    assert (batch["status"], batch["error_file_id"]) == ("completed", None)
    file = box.get(f"/v1/files/{batch['output_file_id']}")
    assert (file["purpose"], file["filename"]) == ("batch_output", f"{batch['id']}_output.jsonl")
    assert file["expires_at"] == file["created_at"] + 30 * DAY_S


def test_all_rows_bad_means_no_output_file_and_no_usage(box, row):
    batch = box.run(row("a", temperature=9) + row("b", temperature=9))
    assert (batch["status"], batch["output_file_id"]) == ("completed", None)
    assert batch["request_counts"] == {"total": 2, "completed": 0, "failed": 2}
    assert batch["usage"]["total_tokens"] == 0
    rows = box.lines(batch["error_file_id"])
    assert {entry["response"]["status_code"] for entry in rows} == {400}
    assert {entry["error"] for entry in rows} == {None}


def test_mixed_rows_have_both_files_and_each_row_once(box, row):
    content = b"".join(row(f"id-{n}", temperature=9 if n % 3 == 0 else 1) for n in range(30))
    batch = box.run(content)
    output, errors = box.lines(batch["output_file_id"]), box.lines(batch["error_file_id"])
    assert sorted(entry["custom_id"] for entry in output + errors) == sorted(f"id-{n}" for n in range(30))
    assert batch["request_counts"] == {"total": 30, "completed": 20, "failed": 10}
    assert [entry["custom_id"] for entry in output] != sorted(entry["custom_id"] for entry in output), "shuffled"
    assert len({entry["id"] for entry in output + errors}) == 30
    total = sum(entry["response"]["body"]["usage"]["total_tokens"] for entry in output)
    assert batch["usage"]["total_tokens"] == total


def test_output_expiry_counts_from_the_output_file(box, row):
    file_id = box.upload(row()).json()["id"]
    wish = {"anchor": "created_at", "seconds": 3_600}
    batch_id = box.create(file_id, output_expires_after=wish).json()["id"]
    box.advance(3 * 3_600)
    output = box.get(f"/v1/batches/{batch_id}")["output_file_id"]
    assert box.request("GET", f"/v1/files/{output}/content").status_code == 200
    box.advance(3_600)
    assert box.request("GET", f"/v1/files/{output}/content").status_code == 404
    assert box.get(f"/v1/batches/{batch_id}")["output_file_id"] == output


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(make_box, row):
    def result(home: str, seed: int) -> bytes:
        box = make_box(home, seed=seed)
        batch = box.run(many(row, 20))
        return bytes(box.request("GET", f"/v1/files/{batch['output_file_id']}/content").content)

    assert result("one", 1) == result("two", 1)
    assert result("three", 2) != result("one-again", 1)


# Expiry


def expiring(make_box: Callable[..., Any], share: float, **settings: Any) -> Any:
    return make_box(faults=FaultPlan(batch=(BatchFault(quirk="expire", value=share),)), **settings)


def test_an_expired_batch_keeps_what_was_finished(make_box, row):
    box = expiring(make_box, 0.3)
    batch_id = box.batch(many(row, 10))
    box.advance(DAY_S - 1)
    assert box.get(f"/v1/batches/{batch_id}")["status"] == "in_progress"
    box.advance(120)
    batch = box.get(f"/v1/batches/{batch_id}")
    assert batch["status"] == "expired"
    assert times_set(batch) == {"in_progress_at", "finalizing_at", "expired_at"}
    assert batch["request_counts"] == {"total": 10, "completed": 3, "failed": 0}
    output, errors = box.lines(batch["output_file_id"]), box.lines(batch["error_file_id"])
    assert (len(output), len(errors)) == (3, 7)
    assert {(entry["response"], entry["error"]["code"]) for entry in errors} == {(None, "batch_expired")}
    assert len({entry["custom_id"] for entry in output + errors}) == 10
    assert box.get("/_sandbox/ledger")["rows_billed"] == 3


def test_a_batch_that_expires_with_nothing_done_has_no_output(make_box, row):
    box = expiring(make_box, 0.0)
    batch_id = box.batch(many(row, 4))
    box.advance(2 * DAY_S)
    batch = box.get(f"/v1/batches/{batch_id}")
    assert (batch["status"], batch["output_file_id"]) == ("expired", None)
    assert len(box.lines(batch["error_file_id"])) == 4


def test_an_instant_batch_expires_at_once(make_box, row):
    box = expiring(make_box, 0.5, instant=True)
    batch_id = box.batch(many(row, 4))
    box.advance(0)
    assert box.get(f"/v1/batches/{batch_id}")["request_counts"] == {"total": 4, "completed": 2, "failed": 0}


# Cancel


def test_a_cancelled_batch_keeps_what_was_finished(box, row):
    batch_id = box.batch(many(row, 200))
    seen = next(b for b in walk(box, batch_id, 5) if b["request_counts"]["completed"] > 20)
    assert seen["status"] == "in_progress"
    cancelling = box.request("POST", f"/v1/batches/{batch_id}/cancel")
    assert (cancelling.status_code, cancelling.json()["status"]) == (200, "cancelling")
    box.advance(700)
    batch = box.get(f"/v1/batches/{batch_id}")
    assert batch["status"] == "cancelled"
    assert times_set(batch) == {"in_progress_at", "cancelling_at", "cancelled_at"}
    output, errors = box.lines(batch["output_file_id"]), box.lines(batch["error_file_id"])
    assert len(output) == seen["request_counts"]["completed"]
    assert len({entry["custom_id"] for entry in output + errors}) == 200
    assert {entry["error"]["code"] for entry in errors} == {"batch_cancelled"}
    assert box.get("/_sandbox/ledger")["rows_billed"] == len(output)


def test_cancelling_before_it_started_leaves_no_files(box, row):
    batch_id = box.batch(row())
    assert box.request("POST", f"/v1/batches/{batch_id}/cancel").json()["in_progress_at"] is None
    box.advance(700)
    batch = box.get(f"/v1/batches/{batch_id}")
    assert times_set(batch) == {"cancelling_at", "cancelled_at"}
    assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
    assert box.get("/_sandbox/ledger")["rows_billed"] == 0


def test_cancelling_twice_changes_nothing(box, row):
    batch_id = box.batch(row())
    first = box.request("POST", f"/v1/batches/{batch_id}/cancel").json()
    assert box.request("POST", f"/v1/batches/{batch_id}/cancel").json() == first
    box.advance(700)
    again = box.request("POST", f"/v1/batches/{batch_id}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


@pytest.mark.parametrize("content", [b"{}\n", None])
def test_an_ended_batch_cannot_be_cancelled(box, row, content):
    batch = box.run(content or row())
    answer = box.request("POST", f"/v1/batches/{batch['id']}/cancel")
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert (error["message"], error["code"]) == (f"Cannot cancel a batch with status '{batch['status']}'.", None)


# Ledger


def test_the_ledger_names_every_billed_row(box, row):
    batch = box.run(row("a", "one") + row("b", "two") + row("c", temperature=9))
    ledger = box.get("/_sandbox/ledger")
    assert {entry["custom_id"] for entry in ledger["data"]} == {"a", "b"}
    assert ledger["rows_billed"] == 2
    assert ledger["input_tokens"] == batch["usage"]["input_tokens"]
    assert ledger["output_tokens"] == batch["usage"]["output_tokens"]
    assert ledger["distinct_bodies_by_times_billed"] == {"1": 2}
    assert [entry["batch_id"] for entry in ledger["by_batch"]] == [batch["id"]]


def test_the_ledger_tells_a_body_billed_twice(box, row):
    box.run(row("a", "same") + row("b", "other"))
    box.run(row("z", "same"))
    assert box.get("/_sandbox/ledger")["distinct_bodies_by_times_billed"] == {"1": 1, "2": 1}


def test_the_ledger_pages(box, row):
    box.run(many(row, 5))
    seen, after = [], ""
    while after is not None:
        page = box.get(f"/_sandbox/ledger?limit=2&after={after}")
        seen += [entry["custom_id"] for entry in page["data"]]
        after = page["next"]
    assert sorted(seen) == [f"id-{n}" for n in range(5)]


def test_calls_are_logged(box):
    box.request("GET", "/v1/batches")
    box.request("GET", "/v1/batches/batch_no")
    calls = box.get("/_sandbox/calls")
    assert calls["counts"] == {"batches.list": 1, "batches.retrieve": 1}
    assert [(call["method"], call["path"], call["status"]) for call in calls["data"]] == [
        ("GET", "/v1/batches", 200), ("GET", "/v1/batches/batch_no", 404),
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["/_sandbox/ledger?limit=x", "/_sandbox/ledger?after=b:x", "/_sandbox/calls?after=x"])
def test_bad_control_queries_are_refused(box, path):
    assert box.request("GET", path).status_code == 400


def test_time_does_not_go_back(box):
    assert box.request("POST", "/_sandbox/clock", json={"advance_s": -1}).status_code == 400


@pytest.mark.slow
def test_fifty_thousand_rows_come_back_once_each(box, row):
    batch = box.run(many(row, 50_000))
    assert batch["request_counts"] == {"total": 50_000, "completed": 50_000, "failed": 0}
    content = box.request("GET", f"/v1/files/{batch['output_file_id']}/content").content
    ids = {msgspec.json.decode(entry)["custom_id"] for entry in content.split(b"\n") if entry}
    assert len(ids) == 50_000
    assert box.get("/_sandbox/ledger?limit=1")["distinct_bodies_by_times_billed"] == {"1": 50_000}
