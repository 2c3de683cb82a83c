"""Faults on demand: calls, rows, batches, plans, and requests that steer themselves."""

from __future__ import annotations

from typing import Any

import httpx2
import msgspec
import pytest

from bydawn.sandbox import BatchFault, CallFault, FaultPlan, RowFault, load_fault_plan


def calls(*faults: CallFault) -> FaultPlan:
    return FaultPlan(call=faults)


def rows(*faults: RowFault) -> FaultPlan:
    return FaultPlan(row=faults)


def quirks(*faults: BatchFault) -> FaultPlan:
    return FaultPlan(batch=faults)


# Plans


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("plan.toml", "[[call]]\naction = 'explode'\n", "explode"),
        ("plan.toml", "[[call]]\naction = 'hang'\nwen = 1\n", "wen"),
        ("plan.toml", "not toml", "no fault plan"),
        ("plan.json", '{"row": [{}]}', "outcome"),
    ],
)
def test_bad_plans_are_refused(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=words):
        load_fault_plan(path)


def test_a_plan_reads_the_same_from_both_notations(tmp_path):
    toml, as_json = tmp_path / "plan.toml", tmp_path / "plan.json"
    toml.write_text("[[call]]\non = 'batches.*'\naction = 'status'\nstatus = 503\ncalls = [1, 2]\n")
    as_json.write_text('{"call":[{"on":"batches.*","action":"status","status":503,"calls":[1,2]}]}')
    expected = calls(CallFault(on="batches.*", action="status", status=503, calls=(1, 2)))
    assert load_fault_plan(toml) == load_fault_plan(as_json) == expected


def test_a_plan_can_be_put_in_force_later(box):
    plan = msgspec.json.encode(calls(CallFault(on="batches.list", action="status", calls=(1,))))
    assert box.request("POST", "/_sandbox/faults", content=plan).status_code == 200
    assert [box.request("GET", "/v1/batches").status_code for _ in range(2)] == [500, 200]
    assert box.request("POST", "/_sandbox/faults", content=plan).status_code == 200
    assert box.request("GET", "/v1/batches").status_code == 500, "counting begins anew"
    assert box.request("POST", "/_sandbox/faults", content=b'{"call":[{}]}').status_code == 400


# Calls


def test_the_nth_call_fails_and_the_others_do_not(make_box):
    box = make_box(faults=calls(CallFault(on="batches.list", action="status", status=502, calls=(2,))))
    assert [box.request("GET", "/v1/batches").status_code for _ in range(3)] == [200, 502, 200]


def test_times_bounds_how_often_a_fault_strikes(make_box):
    box = make_box(faults=calls(CallFault(on="*", action="status", probability=1.0, times=2)))
    assert [box.request("GET", "/v1/batches").status_code for _ in range(3)] == [500, 500, 200]


def test_probability_is_drawn_from_the_seed(make_box):
    plan = calls(CallFault(on="*", action="status", probability=0.5))

    def answers(home: str, seed: int) -> list[int]:
        box = make_box(home, seed=seed, faults=plan)
        return [box.request("GET", "/v1/batches").status_code for _ in range(30)]

    first = answers("a", 1)
    assert set(first) == {200, 500}
    assert answers("b", 1) == first
    assert answers("c", 2) != first


@pytest.mark.parametrize(("action", "made"), [("drop_before", 0), ("drop_after", 1)])
def test_a_dropped_create_does_or_does_not_take_effect(make_box, action, made):
    box = make_box(faults=calls(CallFault(on="batches.create", action=action)))
    with pytest.raises(httpx2.ReadError):
        box.create("file-x")
    assert len(box.get("/v1/batches")["data"]) == made


@pytest.mark.parametrize(("action", "made"), [("status", 0), ("status_after", 1)])
def test_a_failed_create_does_or_does_not_take_effect(make_box, action, made):
    box = make_box(faults=calls(CallFault(on="batches.create", action=action, status=503)))
    answer = box.create("file-x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_is_overloaded")
    assert len(box.get("/v1/batches")["data"]) == made


def test_a_rate_limit_says_when_to_come_back(make_box):
    fault = CallFault(action="status", status=429, retry_after="7", retry_after_ms="7000", should_retry=False)
    answer = make_box(faults=calls(fault)).request("GET", "/v1/batches")
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["retry-after-ms"] == "7000"
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("insufficient_quota", "insufficient_quota"),
        ("credit_balance_exhausted", "insufficient_quota"),
        ("slow_down", "rate_limit_error"),
        ("rate_limit_exceeded", "requests"),
    ],
)
def test_too_many_requests_has_several_types(make_box, row, code, kind):
    box = make_box(faults=calls(CallFault(on="batches.list", action="status", status=429, code=code)))
    error = box.get("/v1/batches")["error"]
    assert (error["type"], error["code"]) == (kind, code)
    batch = box.run(row("a", f"[[sandbox: status=429 code={code}]]"))
    error = box.lines(batch["error_file_id"])[0]["response"]["body"]["error"]
    assert (error["type"], error["code"]) == (kind, code)


@pytest.mark.parametrize(
    ("fault", "status"), [(CallFault(action="html"), 200), (CallFault(action="status", status=502, html=True), 502)]
)
def test_web_pages_instead_of_answers(make_box, fault, status):
    answer = make_box(faults=calls(fault)).request("GET", "/v1/batches")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert b"<html>" in answer.content


def test_a_truncated_body_looks_whole(make_box, row):
    box = make_box(faults=calls(CallFault(on="files.content", action="truncate", bytes=30)))
    file_id = box.upload(row()).json()["id"]
    answer = box.request("GET", f"/v1/files/{file_id}/content")
    assert (answer.content, answer.headers["content-length"]) == (row()[:30], "30")


def test_a_slow_body_is_whole(make_box, row):
    box = make_box(faults=calls(CallFault(on="files.content", action="slow", bytes=20, seconds=0.0)))
    file_id = box.upload(row()).json()["id"]
    assert box.request("GET", f"/v1/files/{file_id}/content").content == row()


def test_faults_are_logged(make_box):
    box = make_box(faults=calls(CallFault(on="batches.create", action="drop_after")))
    with pytest.raises(httpx2.ReadError):
        box.create("file-x")
    call = box.get("/_sandbox/calls")["data"][0]
    assert (call["kind"], call["status"], call["fault"]) == ("batches.create", None, "drop_after")


# Rows


def run_two(box: Any, row: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run rows a and b; the rows of the output and of the error file."""
    batch = box.run(row("a", "first") + row("b", "second"))
    return box.lines(batch["output_file_id"]), box.lines(batch["error_file_id"])


def test_a_row_can_fail_by_http(make_box, row):
    box = make_box(faults=rows(RowFault(outcome="status", status=429, custom_ids=("a",))))
    output, errors = run_two(box, row)
    assert [entry["custom_id"] for entry in output] == ["b"]
    assert errors[0]["response"]["status_code"] == 429
    assert errors[0]["response"]["body"]["error"]["code"] == "rate_limit_exceeded"
    assert errors[0]["error"] is None


def test_a_row_can_have_status_zero_in_the_output(make_box, row):
    output, errors = run_two(make_box(faults=rows(RowFault(outcome="status_0", rows=(0,)))), row)
    assert {entry["custom_id"]: entry["response"]["status_code"] for entry in output} == {"a": 0, "b": 200}
    assert errors == []


def test_a_row_can_time_out(make_box, row):
    _, errors = run_two(make_box(faults=rows(RowFault(outcome="timeout", rows=(1,)))), row)
    assert (errors[0]["custom_id"], errors[0]["response"], errors[0]["error"]["code"]) == ("b", None, "request_timeout")


def test_a_missing_row_is_billed_all_the_same(make_box, row):
    box = make_box(faults=rows(RowFault(outcome="missing", custom_ids=("a",))))
    output, errors = run_two(box, row)
    assert [entry["custom_id"] for entry in output + errors] == ["b"]
    assert box.get("/_sandbox/ledger")["rows_billed"] == 2


def test_a_duplicate_row_is_billed_once(make_box, row):
    box = make_box(faults=rows(RowFault(outcome="duplicate", custom_ids=("a",))))
    output, _ = run_two(box, row)
    assert sorted(entry["custom_id"] for entry in output) == ["a", "a", "b"]
    assert box.get("/_sandbox/ledger")["rows_billed"] == 2


def test_a_share_of_rows_fails(make_box, row):
    box = make_box(faults=rows(RowFault(outcome="status", status=500, probability=0.3)))
    batch = box.run(b"".join(row(f"id-{n}", f"q {n}") for n in range(100)))
    assert 10 < batch["request_counts"]["failed"] < 60


@pytest.mark.parametrize(
    ("outcome", "finish", "content"),
    [
        ("content_filter", "content_filter", True),
        ("truncate", "length", True),
        ("empty", "stop", False),
        ("refuse", "stop", False),
    ],
)
def test_answers_can_be_bent(make_box, row, outcome, finish, content):
    box = make_box(faults=rows(RowFault(outcome=outcome)))
    choice = run_two(box, row)[0][0]["response"]["body"]["choices"][0]
    assert (choice["finish_reason"], bool(choice["message"]["content"])) == (finish, content)
    assert (choice["message"]["refusal"] is not None) == (outcome == "refuse")


def test_a_tool_call_can_be_forced_on_the_client(make_box, row):
    box = make_box(faults=rows(RowFault(outcome="tool_call")))
    choice = run_two(box, row)[0][0]["response"]["body"]["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    msgspec.json.decode(choice["message"]["tool_calls"][0]["function"]["arguments"])


def test_odd_text_holds_separators_that_are_no_line_ends(make_box, row):
    box = make_box(faults=rows(RowFault(outcome="odd_text")))
    batch = box.run(row("a"))
    content = box.request("GET", f"/v1/files/{batch['output_file_id']}/content").content
    assert content.count(b"\n") == 1
    assert len(content.decode().splitlines()) > 1


def test_a_flagged_prompt_is_a_400_row(make_box, row):
    _, errors = run_two(make_box(faults=rows(RowFault(outcome="flagged"))), row)
    assert {entry["response"]["body"]["error"]["code"] for entry in errors} == {"invalid_prompt"}


# Requests that steer themselves


def test_a_directive_strikes_the_first_executions_only(box, row):
    content = row("a", "Hi [[sandbox: status=503 code=busy times=2]]") + row("b", "plain")
    seen = [box.run(content)["request_counts"]["failed"] for _ in range(3)]
    assert seen == [1, 1, 0]
    assert box.get("/_sandbox/ledger")["distinct_bodies_by_times_billed"] == {"1": 1, "3": 1}


def test_a_directive_counts_within_one_batch_too(box, row):
    text = "Hi [[sandbox: status=500 times=1]]"
    assert box.run(row("a", text) + row("b", text))["request_counts"]["failed"] == 1


def test_a_directive_wins_over_the_plan(make_box, row):
    box = make_box(faults=rows(RowFault(outcome="status", status=500)))
    batch = box.run(row("a", "[[sandbox: refuse]]"))
    message = box.lines(batch["output_file_id"])[0]["response"]["body"]["choices"][0]["message"]
    assert message["refusal"]


@pytest.mark.parametrize(
    "text", ["[[sandbox: dance]]", "[[sandbox: status=x]]", "[[sandbox: status=500", "[[sandbox:]]"]
)
def test_an_unknown_directive_is_plain_text(box, row, text):
    assert box.run(row("a", text))["request_counts"] == {"total": 1, "completed": 1, "failed": 0}


# Batches


def test_validation_can_fail_on_chosen_lines(make_box, row):
    box = make_box(faults=quirks(BatchFault(quirk="fail", code="invalid_request", message="No.", lines=(2, 3))))
    batch = box.run(row("a") + row("b") + row("c"))
    assert (batch["status"], [problem["line"] for problem in batch["errors"]["data"]]) == ("failed", [2, 3])


def test_a_batch_can_fail_without_a_reason(make_box, row):
    batch = make_box(faults=quirks(BatchFault(quirk="fail_without_errors"))).run(row())
    assert (batch["status"], batch["errors"]) == ("failed", None)


def test_only_the_chosen_batches_are_struck(make_box, row):
    box = make_box(faults=quirks(BatchFault(quirk="fail_without_errors", batches=(2,))))
    assert [box.run(row())["status"] for _ in range(3)] == ["completed", "failed", "completed"]


def test_every_row_can_fail(make_box, row):
    batch = make_box(faults=quirks(BatchFault(quirk="all_failed", status=500))).run(row("a") + row("b"))
    assert (batch["status"], batch["output_file_id"], batch["request_counts"]["failed"]) == ("completed", None, 2)


def test_a_cancelled_batch_can_be_left_with_nothing(make_box, row):
    box = make_box(faults=quirks(BatchFault(quirk="cancel_empty"), BatchFault(quirk="stuck")))
    batch_id = box.batch(row("a") + row("b"))
    box.advance(60)
    box.request("POST", f"/v1/batches/{batch_id}/cancel")
    box.advance(700)
    batch = box.get(f"/v1/batches/{batch_id}")
    assert (batch["status"], batch["output_file_id"], batch["error_file_id"]) == ("cancelled", None, None)
    assert batch["request_counts"] == {"total": 2, "completed": 0, "failed": 0}


def test_a_stuck_batch_never_gets_anywhere(make_box, row):
    box = make_box(faults=quirks(BatchFault(quirk="stuck")))
    batch = box.run(row())
    assert (batch["status"], batch["request_counts"]["completed"]) == ("in_progress", 0)


def test_a_list_can_lag_by_time(make_box):
    box = make_box(faults=quirks(BatchFault(quirk="hidden", value=30, batches=(2,))))
    first, second = (box.create("file-x").json()["id"] for _ in range(2))
    assert [batch["id"] for batch in box.get("/v1/batches")["data"]] == [first]
    assert box.request("GET", f"/v1/batches/{second}").status_code == 200
    box.advance(30)
    assert [batch["id"] for batch in box.get("/v1/batches")["data"]] == [second, first]


def test_a_list_can_lag_by_calls(make_box):
    box = make_box(faults=quirks(BatchFault(quirk="hidden_calls", value=2)))
    box.create("file-x")
    assert [len(box.get("/v1/batches")["data"]) for _ in range(4)] == [0, 0, 1, 1]


@pytest.mark.parametrize(("quirk", "expected"), [("ids_empty", ""), ("ids_absent", "absent")])
def test_missing_ids_can_look_otherwise(make_box, row, quirk, expected):
    batch = make_box(faults=quirks(BatchFault(quirk=quirk))).run(row())
    assert batch.get("error_file_id", "absent") == expected
    assert batch["output_file_id"].startswith("file-")


def test_old_objects_have_no_model_and_no_usage(make_box, row):
    batch = make_box(faults=quirks(BatchFault(quirk="legacy"))).run(row())
    assert not {"model", "usage"} & set(batch)


def test_states_can_have_unknown_names(make_box, row):
    faults = quirks(
        BatchFault(quirk="status_word", text="pondering"), BatchFault(quirk="cancelled_word", text="canceled")
    )
    box = make_box(faults=faults)
    batch_id = box.batch(row())
    box.advance(31)
    assert box.get(f"/v1/batches/{batch_id}")["status"] == "pondering"
    box.request("POST", f"/v1/batches/{batch_id}/cancel")
    box.advance(700)
    assert box.get(f"/v1/batches/{batch_id}")["status"] == "canceled"


@pytest.mark.parametrize(
    ("quirk", "counts"),
    [
        ("counts_lie", {"total": 2, "completed": 2, "failed": 0}),
        ("counts_zero", {"total": 0, "completed": 0, "failed": 0}),
    ],
)
def test_counts_can_be_wrong(make_box, row, quirk, counts):
    batch = make_box(faults=quirks(BatchFault(quirk=quirk))).run(row("a") + row("b", temperature=9))
    assert batch["request_counts"] == counts


def output_bytes(box: Any, content: bytes) -> bytes:
    batch = box.run(content)
    return bytes(box.request("GET", f"/v1/files/{batch['output_file_id']}/content").content)


def test_output_files_can_be_ill_formed(make_box, row):
    content = row("a", "one") + row("b", "two")
    plain = output_bytes(make_box("plain"), content)
    bent = {
        quirk: output_bytes(make_box(quirk, faults=quirks(BatchFault(quirk=quirk))), content)
        for quirk in ("blank_lines", "no_final_newline", "crlf", "cut_last_line", "extra_row")
    }
    first, second, _ = plain.split(b"\n")
    assert bent["blank_lines"] == first + b"\n\n" + second + b"\n\n"
    assert bent["no_final_newline"] == first + b"\n" + second
    assert bent["crlf"] == first + b"\r\n" + second + b"\r\n"
    assert bent["cut_last_line"] == first + b"\n" + second[: len(second) // 2]
    assert bent["extra_row"].startswith(plain)
    assert msgspec.json.decode(bent["extra_row"].split(b"\n")[2])["custom_id"] not in {"a", "b"}
