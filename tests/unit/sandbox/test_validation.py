"""What makes a batch fail before it starts: every cause, with its code, field and line."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

CHAT = "/v1/chat/completions"
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
GOOD = {"custom_id": "b", "method": "POST", "url": CHAT, "body": BODY}


def encoded(*requests: Any) -> bytes:
    return b"".join(msgspec.json.encode(request) + b"\n" for request in requests)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("second", "code", "param"),
    [
        (b"not json\n", "invalid_json_line", None),
        (b"[1]\n", "invalid_json_line", None),
        (b"\n", "invalid_json_line", None),
        (b"\xff\xfe\n", "invalid_json_line", None),
        (encoded(without("custom_id")), "missing_required_parameter", "custom_id"),
        (encoded(without("method")), "missing_required_parameter", "method"),
        (encoded(without("url")), "missing_required_parameter", "url"),
        (encoded(without("body")), "missing_required_parameter", "body"),
        (encoded({**GOOD, "custom_id": 7}), "invalid_type", "custom_id"),
        (encoded({**GOOD, "custom_id": "a"}), "duplicate_custom_id", "custom_id"),
        (encoded({**GOOD, "method": "GET"}), "invalid_method", "method"),
        (encoded({**GOOD, "url": "/v1/responses"}), "invalid_url", "url"),
        (encoded({**GOOD, "body": []}), "invalid_type", "body"),
        (encoded({**GOOD, "body": {"messages": []}}), "invalid_request", "body.model"),
        (encoded({**GOOD, "body": {"model": "gpt-4o-mini"}}), "invalid_request", "body.messages"),
        (encoded({**GOOD, "body": {**BODY, "model": "gpt-4o"}}), "mismatched_model", "body.model"),
        (encoded({**GOOD, "body": {**BODY, "stream": True}}), "streaming_unsupported", "body.stream"),
    ],
)
def test_a_bad_line_fails_the_batch(box, second, code, param):
    batch = box.run(encoded({**GOOD, "custom_id": "a"}) + second)
    assert batch["status"] == "failed"
    problem = batch["errors"]["data"][0]
    assert (problem["code"], problem["param"], problem["line"]) == (code, param, 2)
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert (batch["output_file_id"], batch["error_file_id"], batch["in_progress_at"]) == (None, None, None)
    assert batch["failed_at"] is not None


def test_several_bad_lines_are_all_named(box):
    batch = box.run(encoded(GOOD) + b"x\n" + encoded(without("custom_id")) + b"y\n")
    assert [problem["line"] for problem in batch["errors"]["data"]] == [2, 3, 4]


def test_an_unknown_model_is_not_supported(box):
    batch = box.run(encoded({**GOOD, "body": {**BODY, "model": "gpt-nope"}}))
    problem = batch["errors"]["data"][0]
    assert problem["code"] == "model_not_found"
    assert problem["message"] == "The provided model 'gpt-nope' is not supported by the Batch API."


def test_ended_models_are_refused_only_when_asked(make_box):
    from datetime import date

    content = encoded({**GOOD, "body": {**BODY, "model": "o1-mini"}})
    assert make_box().run(content)["status"] == "completed"
    strict = make_box("strict", refuse_models_ended_by=date(2026, 11, 22))
    assert strict.run(content)["errors"]["data"][0]["code"] == "model_not_found"


def test_too_many_lines_fail_the_batch(make_box, row):
    batch = make_box(requests_per_batch_max=2).run(row("a") + row("b") + row("c"))
    assert batch["errors"]["data"][0]["line"] is None
    assert batch["status"] == "failed"


def test_too_many_embedding_inputs_fail_the_batch(box, monkeypatch):
    monkeypatch.setattr("bydawn.sandbox.openai.validation.EMBEDDING_INPUTS_MAX", 3)
    body = {"model": "text-embedding-3-small", "input": ["a", "b"]}
    requests = [{"custom_id": str(n), "method": "POST", "url": "/v1/embeddings", "body": body} for n in range(2)]
    assert box.run(encoded(*requests), "/v1/embeddings")["status"] == "failed"
    assert box.run(encoded(requests[0]), "/v1/embeddings")["status"] == "completed"


def test_enqueued_tokens_are_limited_per_model_until_the_batch_ends(make_box, row):
    box = make_box(enqueued_tokens_max_by_model={"gpt-4o-mini": 40})
    first = box.batch(row(text="x" * 100))
    box.advance(30)
    assert box.get(f"/v1/batches/{first}")["status"] == "in_progress"
    second = box.batch(row(text="x" * 100))
    other = box.batch(row(text="x" * 100, model="gpt-4o"))
    box.advance(30)
    problem = box.get(f"/v1/batches/{second}")["errors"]["data"][0]
    assert (problem["code"], problem["line"], problem["param"]) == ("token_limit_exceeded", None, None)
    assert "Limit: 40 enqueued tokens" in problem["message"]
    assert box.get(f"/v1/batches/{other}")["status"] == "in_progress"
    box.advance(3 * 3_600)
    assert box.run(row(text="x" * 100))["status"] == "completed"


def test_the_last_line_needs_no_newline(box, row):
    assert box.run(row("a") + row("b").rstrip(b"\n"))["request_counts"]["total"] == 2
