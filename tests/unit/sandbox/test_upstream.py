"""Answers from another endpoint: here a second sandbox plays the local model."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from bydawn.sandbox import CallFault, FaultPlan, RunningSandbox, SandboxConfig, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def model(tmp_path) -> Iterator[RunningSandbox]:
    """An endpoint whose every third answer is an error."""
    faults = FaultPlan(call=(CallFault(on="chat.create", action="status", status=500, calls=(3, 6, 9)),))
    with running(SandboxConfig(home=tmp_path / "model", seed=77, faults=faults)) as sandbox:
        yield sandbox


def ended(box: Any, batch_id: str) -> dict[str, Any]:
    """The batch once the real threads are through with it."""
    while True:
        box.advance(0)
        batch = box.get(f"/v1/batches/{batch_id}")
        if batch["status"] in {"completed", "cancelled"}:
            return dict(batch)
        time.sleep(0.01)


def upstream(model: RunningSandbox) -> dict[str, Any]:
    return {"upstream_url": model.base_url, "upstream_key": "sk-up", "upstream_model": "gpt-4o", "instant": True}


def test_rows_are_answered_upstream_and_its_errors_are_row_errors(make_box, model, row):
    box = make_box(**upstream(model))
    batch = ended(box, box.batch(b"".join(row(f"id-{n}", f"q {n}") for n in range(10))))
    output, errors = box.lines(batch["output_file_id"]), box.lines(batch["error_file_id"])
    assert (len(output), len(errors)) == (7, 3)
    assert len({entry["custom_id"] for entry in output + errors}) == 10
    assert {entry["response"]["status_code"] for entry in errors} == {500}
    assert {entry["response"]["body"]["model"] for entry in output} == {"gpt-4o-mini-2024-07-18"}
    assert model.world.store.call_counts()["chat.create"] == 10
    assert box.get("/_sandbox/ledger")["rows_billed"] == 7
    usage = sum(entry["response"]["body"]["usage"]["prompt_tokens"] for entry in output)
    assert batch["usage"]["input_tokens"] == usage > 0


def test_rules_are_checked_before_the_upstream_is_asked(make_box, model, row):
    box = make_box(**upstream(model))
    batch = ended(box, box.batch(row("a", temperature=9)))
    assert batch["request_counts"]["failed"] == 1
    assert "chat.create" not in model.world.store.call_counts()


def test_after_a_restart_only_missing_rows_are_asked(make_box, model, row):
    first = make_box(**upstream(model))
    batch_id = first.batch(b"".join(row(f"id-{n}", f"q {n}") for n in range(40)))
    while first.get(f"/v1/batches/{batch_id}")["request_counts"]["completed"] < 5:
        time.sleep(0.005)
    first.close()
    second = make_box(**upstream(model))
    batch = ended(second, batch_id)
    rows = second.lines(batch["output_file_id"]) + second.lines(batch["error_file_id"])
    assert sorted(entry["custom_id"] for entry in rows) == sorted(f"id-{n}" for n in range(40))
    in_flight_at_most = 2
    assert model.world.store.call_counts()["chat.create"] <= 40 + in_flight_at_most


def test_cancelling_stops_asking(make_box, model, row):
    box = make_box(**upstream(model))
    batch_id = box.batch(b"".join(row(f"id-{n}", f"q {n}") for n in range(2_000)))
    while box.get(f"/v1/batches/{batch_id}")["request_counts"]["completed"] < 3:
        time.sleep(0.005)
    assert box.request("POST", f"/v1/batches/{batch_id}/cancel").json()["status"] == "cancelling"
    batch = ended(box, batch_id)
    rows = box.lines(batch["output_file_id"]) + box.lines(batch["error_file_id"])
    assert len({entry["custom_id"] for entry in rows}) == 2_000
    assert model.world.store.call_counts()["chat.create"] < 2_000


def test_an_unreachable_upstream_is_replaced_and_noted(make_box, row):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    box = make_box(upstream_url=url)
    assert box.run(row())["status"] == "completed"
    assert url in box.get("/_sandbox/state")["notes"][0]


def test_live_calls_go_upstream_too(make_box, model):
    box = make_box(**upstream(model))
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 5}
    answer = box.request("POST", "/v1/chat/completions", json=body).json()
    assert answer["model"] == "gpt-4o-mini-2024-07-18"
    assert model.world.store.ledger_by("model")[0][0] == "gpt-4o"
