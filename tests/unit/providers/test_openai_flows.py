"""Goal: each conversation makes exactly the calls it should, and understands whatever OpenAI and its likes answer.

Method: flows are driven by hand with scripted answers; an exception in the script is thrown in, as the driver does.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bydawn.core.batch import BatchProblem, Counts, Lane, ResultFile, Submission
from bydawn.core.model import ModelRef
from bydawn.core.wire import Checkpoint, WireRequest, WireResponse
from bydawn.errors import AnswerLost, NotFound, Rejected, Unavailable, UnexpectedAnswer
from bydawn.providers.openai import OpenAI

CODEC = OpenAI()
BATCH = Submission(
    tag="abc234",
    lane=Lane(ModelRef("openai", "gpt-4o-mini"), "chat"),
    requests=Path("requests.jsonl"),
    rows=2,
    bytes=345,
    job_name="j" * 600,
)
BEGUN = Checkpoint({"upload": "begun"})
HAVE_FILE = Checkpoint({"input_file_id": "file-1"})
NOW = 1_795_000_000.0


def drive(flow, *script):
    """Run a flow against scripted answers: what it returns, and the steps it took."""
    steps, answers = [], list(script)
    step = None
    try:
        step = next(flow)
        while True:
            steps.append(step)
            if isinstance(step, Checkpoint):
                step = flow.send(None)
            elif isinstance(answer := answers.pop(0), Exception):
                step = flow.throw(answer)
            else:
                step = flow.send(WireResponse(status=200, headers={}, body=msgspec.json.encode(answer)))
    except StopIteration as stop:
        assert not answers, "the flow ended before the script"
        return stop.value, steps


def calls(steps):
    return [f"{step.method} {step.path}" for step in steps if isinstance(step, WireRequest)]


def test_submitting_uploads_then_creates_once():
    found, steps = drive(CODEC.submit(BATCH, {}), {"id": "file-1"}, {"id": "batch_1"})
    assert found == "batch_1"
    begun, upload, checkpoint, create = steps
    assert (begun, checkpoint) == (BEGUN, HAVE_FILE)
    assert (upload.method, upload.path, upload.safety) == ("POST", "/files", "idempotent")
    assert upload.form == (("purpose", "batch"),)
    assert (upload.file.name, upload.file.filename, upload.file.path) == (
        "file",
        "bydawn-abc234.jsonl",
        Path("requests.jsonl"),
    )
    assert (create.method, create.path, create.safety) == ("POST", "/batches", "unsafe")
    assert create.json == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"bydawn": "abc234", "rows": "2", "job": "j" * 512},
    }


def test_a_file_that_was_uploaded_is_not_uploaded_again():
    found, steps = drive(CODEC.submit(BATCH, {"input_file_id": "file-9"}), {"id": "batch_1"})
    assert (found, calls(steps)) == ("batch_1", ["POST /batches"])
    assert steps[0].json["input_file_id"] == "file-9"


@pytest.mark.parametrize("lost", [AnswerLost("lost"), Unavailable("502")])
def test_a_lost_upload_is_looked_for_and_found(lost):
    listed = {"data": [{"id": "file-7", "filename": "bydawn-abc234.jsonl", "bytes": 345}]}
    found, steps = drive(CODEC.submit(BATCH, {}), lost, listed, {"id": "batch_1"})
    assert (found, calls(steps)) == ("batch_1", ["POST /files", "GET /files", "POST /batches"])
    assert dict(steps[2].query) == {"purpose": "batch", "order": "desc", "limit": "1000"}
    assert steps[-1].json["input_file_id"] == "file-7"


@pytest.mark.parametrize(
    "listed",
    [
        {"data": []},
        {"data": None},
        {},
        {"data": [{"id": "file-7", "filename": "bydawn-abc234.jsonl", "bytes": 344}]},
        {"data": [{"id": "file-7", "filename": "bydawn-other.jsonl", "bytes": 345}]},
        {"data": [{"id": None, "filename": "bydawn-abc234.jsonl", "bytes": 345}]},
        {"data": [17, None, {"id": "x", "filename": {}, "bytes": []}]},
    ],
)
def test_a_lost_upload_that_is_not_there_is_repeated(listed):
    found, steps = drive(CODEC.submit(BATCH, {}), AnswerLost("lost"), listed, {"id": "file-1"}, {"id": "batch_1"})
    assert (found, calls(steps)) == ("batch_1", ["POST /files", "GET /files", "POST /files", "POST /batches"])


def test_uploads_are_not_repeated_for_ever():
    nothing = {"data": []}
    with pytest.raises(AnswerLost):
        drive(CODEC.submit(BATCH, {}), *[AnswerLost("1"), nothing, AnswerLost("2"), nothing, AnswerLost("3")])


def test_a_refused_upload_is_not_repeated():
    with pytest.raises(Rejected):
        drive(CODEC.submit(BATCH, {}), Rejected("File is too large.", status=400))


def test_an_upload_before_a_crash_is_looked_for_first():
    listed = {"data": [{"id": "file-7", "filename": "bydawn-abc234.jsonl", "bytes": 345}]}
    found, steps = drive(CODEC.submit(BATCH, {"upload": "begun"}), listed, {"id": "batch_1"})
    assert (found, calls(steps)) == ("batch_1", ["GET /files", "POST /batches"])
    assert Checkpoint({"input_file_id": "file-7"}) in steps


@pytest.mark.parametrize("answer", [{}, {"id": None}, {"id": ""}, [], "x", {"error": {"message": "odd"}}])
def test_a_created_batch_without_an_id_is_not_understood(answer):
    with pytest.raises(UnexpectedAnswer) as caught:
        drive(CODEC.submit(BATCH, {"input_file_id": "file-1"}), answer)
    assert caught.value.body == msgspec.json.encode(answer)


# --- find ----------------------------------------------------------------------------------------------------------


def listed(number, *, tag=None, file="file-x", status="in_progress", at=NOW):
    metadata = None if tag is None else {"bydawn": tag}
    return {
        "id": f"batch_{number}",
        "metadata": metadata,
        "input_file_id": file,
        "status": status,
        "created_at": at,
    }


def page(*entries, more=False):
    return {"object": "list", "data": list(entries), "has_more": more}


def found_in(*pages, known=None):
    return drive(CODEC.find(BATCH, known or {}, NOW), *pages)


def test_a_batch_is_found_by_its_tag_over_pages():
    first = page(listed(3), listed(2, tag="other"), more=True)
    found, steps = found_in(first, page(listed(1, tag="abc234")))
    assert found == "batch_1"
    assert [dict(step.query) for step in steps] == [{"limit": "100"}, {"limit": "100", "after": "batch_2"}]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([listed(1)], None),
        ([listed(1, file="file-1")], "batch_1"),
        ([listed(1, file="file-1"), listed(2, tag="abc234")], "batch_2"),
        ([listed(1, file="file-1", tag="other")], None),
        ([listed(1, tag="abc234", status="failed"), listed(2, tag="abc234", status="validating")], "batch_2"),
        ([listed(1, tag="abc234", status="in_progress"), listed(2, tag="abc234", status="completed")], "batch_2"),
        ([listed(1, tag="abc234", status="in_progress"), listed(2, tag="abc234", status="cancelled")], "batch_1"),
        ([listed(1, tag="abc234", status="sleeping"), listed(2)], "batch_1"),
        ([{"id": "batch_1", "metadata": {"bydawn": "abc234"}}], "batch_1"),
        ([None, 17, {"id": 5}, {"metadata": {"bydawn": "abc234"}}, {"id": "x", "metadata": [1], "status": {}}], None),
        ([], None),
    ],
)
def test_the_best_match_of_a_list_is_taken(entries, expected):
    assert found_in(page(*entries), known={"input_file_id": "file-1"})[0] == expected


def test_foreign_batches_never_match_without_an_input_file():
    assert found_in(page(listed(1, file=None)))[0] is None


def test_the_search_ends_at_batches_older_than_the_create():
    recent, old = listed(2, at=NOW - 3_000), listed(1, at=NOW - 4_000)
    assert len(found_in(page(recent, old, more=True))[1]) == 1
    assert len(found_in(page(old, recent, more=True), page())[1]) == 2


@pytest.mark.parametrize(
    "second",
    [page(more=True), page(None, more=True), page(listed(1), more=True)],
    ids=["empty", "unreadable", "the same again"],
)
def test_the_search_ends_where_the_list_does_not_lead_on(second):
    assert found_in(page(listed(1), more=True), second)[0] is None


def test_a_list_that_does_not_say_whether_there_is_more_is_followed():
    found, _ = found_in({"data": [listed(2)]}, {"data": [listed(1, tag="abc234")]}, {"data": []})
    assert found == "batch_1"


# --- poll ----------------------------------------------------------------------------------------------------------


def report_of(**fields):
    found, steps = drive(CODEC.poll("batch_1"), {"id": "batch_1", **fields})
    assert calls(steps) == ["GET /batches/batch_1"]
    return found


@pytest.mark.parametrize(
    ("status", "phase", "end_reason"),
    [
        ("validating", "in_progress", None),
        ("in_progress", "in_progress", None),
        ("finalizing", "in_progress", None),
        ("cancelling", "cancelling", None),
        ("canceling", "cancelling", None),
        ("completed", "ended", "completed"),
        ("failed", "ended", "failed"),
        ("expired", "ended", "expired"),
        ("cancelled", "ended", "cancelled"),
        ("canceled", "ended", "cancelled"),
        ("dreaming", "in_progress", None),
    ],
)
def test_every_status_has_its_phase_and_keeps_its_word(status, phase, end_reason):
    report = report_of(status=status)
    assert (report.status, report.phase, report.end_reason) == (status, phase, end_reason)


@pytest.mark.parametrize("status", [None, "", 7, {}])
def test_no_status_is_no_end(status):
    assert (report_of(status=status).phase, report_of(status=status).status) == ("in_progress", "unknown")


def test_a_completed_batch_is_read_whole():
    report = report_of(
        status="completed",
        created_at=1_795_247_120,
        expires_at=1_795_333_520.5,
        model="gpt-5.4-mini-2026-03-17",
        input_file_id="file-in",
        output_file_id="file-out",
        error_file_id="file-err",
        errors=None,
        request_counts={"total": 500, "completed": 497, "failed": 3},
    )
    assert report.files == (ResultFile("output", "file-out"), ResultFile("error", "file-err"))
    assert report.counts == Counts(500, 497, 3)
    assert (report.created_at_s, report.expires_at_s) == (1_795_247_120.0, 1_795_333_520.5)
    assert report.facts == {"input_file_id": "file-in", "resolved_model": "gpt-5.4-mini-2026-03-17"}
    assert report.problems == ()


@pytest.mark.parametrize(
    ("output", "error", "files"),
    [
        ("o", None, ["output"]),
        (None, "e", ["error"]),
        ("", "e", ["error"]),
        ("o", "", ["output"]),
        (None, None, []),
        (7, {}, []),
    ],
)
def test_absent_files_come_in_many_ways(output, error, files):
    report = report_of(status="expired", output_file_id=output, error_file_id=error)
    assert [file.kind for file in report.files] == files


def test_files_are_believed_only_at_the_end():
    assert report_of(status="finalizing", output_file_id="o").files == ()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (None, None),
        ([], None),
        ({}, Counts(0, 0, 0)),
        ({"total": None, "completed": 1.0, "failed": "x"}, Counts(0, 1, 0)),
    ],
)
def test_counts_may_be_anything(counts, expected):
    assert report_of(status="in_progress", request_counts=counts).counts == expected


@pytest.mark.parametrize(
    ("errors", "problems"),
    [
        (
            {
                "object": "list",
                "data": [
                    {"code": "missing_required_parameter", "message": "Missing.", "param": "custom_id", "line": 2},
                    {"code": "invalid_json_line", "message": "Bad.", "param": None, "line": 7},
                ],
            },
            (
                BatchProblem("missing_required_parameter", "Missing.", "custom_id", 2),
                BatchProblem("invalid_json_line", "Bad.", None, 7),
            ),
        ),
        ({"data": [{"code": "token_limit_exceeded"}]}, (BatchProblem("token_limit_exceeded", "no reason"),)),
        ([{"message": "as a list", "line": 0}], (BatchProblem(None, "as a list"),)),
        ({"data": [{"code": 7, "message": "m", "line": "3"}]}, (BatchProblem("7", "m"),)),
        (None, (BatchProblem(None, "no reason"),)),
        ({"data": []}, (BatchProblem(None, "no reason"),)),
        ({"data": None}, (BatchProblem(None, "no reason"),)),
    ],
)
def test_validation_errors_are_read_leniently(errors, problems):
    read = report_of(status="failed", errors=errors).problems
    plain = tuple(
        BatchProblem(problem.code, problem.message.replace("the provider gave ", ""), problem.parameter, problem.line)
        for problem in read
    )
    assert plain == problems


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text("ab\u2028"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "total", "line"]), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["status", "created_at", "expires_at", "model", "metadata", "output_file_id", "request_counts", "errors"]
        ),
        JSON,
    )
)
def test_whatever_surrounds_the_id_a_batch_can_be_read(fields):
    assert report_of(**fields).provider_batch_id == "batch_1"


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 100_000, b'{"status":"completed"}'])
def test_an_answer_without_an_id_is_not_understood(body):
    flow = CODEC.poll("batch_1")
    next(flow)
    with pytest.raises(UnexpectedAnswer) as caught:
        flow.send(WireResponse(status=200, headers={"x-request-id": "req_1"}, body=body))
    assert (caught.value.body, caught.value.request_id) == (body[:2_000], "req_1")


# --- the rest ------------------------------------------------------------------------------------------------------


def test_ids_are_quoted_in_paths():
    _, steps = drive(CODEC.poll("a/b?c#d"), {"id": "x"})
    assert steps[0].path == "/batches/a%2Fb%3Fc%23d"


@pytest.mark.parametrize("odd", ["", ".", ".."])
def test_ids_that_would_change_the_path_are_refused(odd):
    with pytest.raises(UnexpectedAnswer):
        drive(CODEC.fetch(ResultFile("output", odd), Path("out.jsonl")))


def test_fetching_streams_to_the_path():
    _, (step,) = drive(CODEC.fetch(ResultFile("output", "file-1"), Path("out.jsonl")), {})
    assert (step.method, step.path, step.safety) == ("GET", "/files/file-1/content", "safe")
    assert step.save_to == Path("out.jsonl")


def test_cancelling_what_has_ended_is_fine():
    assert drive(CODEC.cancel("batch_1"), {"id": "batch_1"})[0] is None
    _, (step,) = drive(CODEC.cancel("batch_1"), Rejected("Cannot cancel", status=409))
    assert (step.method, step.path, step.safety) == ("POST", "/batches/batch_1/cancel", "idempotent")


def test_other_refusals_of_a_cancel_are_told():
    with pytest.raises(Rejected):
        drive(CODEC.cancel("batch_1"), Rejected("no", status=400))


def test_cleaning_deletes_each_file_once_and_counts_what_was_there():
    files = [ResultFile("output", "file-2"), ResultFile("error", "file-3"), ResultFile("error", "file-1")]
    deleted, steps = drive(CODEC.clean({"input_file_id": "file-1"}, files), {}, NotFound("gone"), {})
    assert deleted == 2
    assert calls(steps) == ["DELETE /files/file-1", "DELETE /files/file-2", "DELETE /files/file-3"]
    assert {step.safety for step in steps} == {"idempotent"}
    assert drive(CODEC.clean({}, []))[0] == 0


def test_probing_says_what_answered():
    sentence, (step,) = drive(CODEC.probe(), {"object": "list", "data": [{"id": "gpt-4o-mini"}]})
    assert (step.method, step.path, step.safety) == ("GET", "/models", "safe")
    assert "1 models" in sentence
