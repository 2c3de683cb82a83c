"""The batch endpoints: what the call itself refuses, lists, limits."""

from __future__ import annotations

import pytest

CHAT = "/v1/chat/completions"
GOOD = {"input_file_id": "file-x", "endpoint": CHAT, "completion_window": "24h"}


@pytest.mark.parametrize(
    ("change", "code", "param", "words"),
    [
        ({"input_file_id": None}, "missing_required_parameter", "input_file_id", "Missing required"),
        ({"endpoint": None}, "missing_required_parameter", "endpoint", "Missing required parameter: 'endpoint'."),
        ({"completion_window": None}, "missing_required_parameter", "completion_window", "Missing"),
        ({"endpoint": "/v1/x"}, "invalid_value", "endpoint", "Invalid value: '/v1/x'. Supported values are: '"),
        ({"completion_window": "48h"}, "invalid_value", "completion_window", "Supported values are: '24h'."),
        ({"input_file_id": 7}, "invalid_type", "input_file_id", "expected a string, but got an integer instead."),
        (
            {"metadata": {"tags": ["a"]}}, "invalid_type", "metadata.tags",
            "Invalid type for 'metadata.tags': expected a string, but got an array instead.",
        ),
        ({"metadata": {f"k{n}": "v" for n in range(17)}}, "object_above_max_properties", "metadata", "17"),
        ({"metadata": {"k" * 65: "v"}}, "string_above_max_length", None, "too long"),
        ({"metadata": {"k": "v" * 513}}, "string_above_max_length", "metadata.k", "too long"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "invalid_value", None, "between"),
        ({"name": "mine"}, "unknown_parameter", "name", "Unknown parameter: 'name'."),
    ],
)  # fmt: skip
def test_bad_calls_are_refused(box, change, code, param, words):
    answer = box.request("POST", "/v1/batches", json={**GOOD, **change})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (400, "invalid_request_error", code)
    assert words in error["message"]
    assert param is None or error["param"] == param
    assert box.get("/v1/batches")["data"] == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_object_is_refused(box, content):
    assert box.request("POST", "/v1/batches", content=content).status_code == 400


def test_a_bad_file_id_is_accepted_and_fails_in_validation(box):
    created = box.create("file-nope").json()
    assert created["status"] == "validating"
    box.advance(60)
    batch = box.get(f"/v1/batches/{created['id']}")
    assert batch["status"] == "failed"
    assert batch["errors"]["data"][0]["param"] == "file_id"
    assert batch["errors"]["data"][0]["line"] is None


def test_a_foreign_file_fails_in_validation(box, row):
    file_id = box.upload(row(), key="sk-two").json()["id"]
    created = box.create(file_id).json()
    box.advance(60)
    assert box.get(f"/v1/batches/{created['id']}")["status"] == "failed"


def test_a_file_of_another_purpose_fails_in_validation(box, row):
    file_id = box.upload(row(), data={"purpose": "user_data"}).json()["id"]
    created = box.create(file_id).json()
    box.advance(60)
    assert box.get(f"/v1/batches/{created['id']}")["errors"]["data"][0]["param"] == "file_id"


def test_a_new_batch_looks_as_documented(box, row):
    file_id = box.upload(row()).json()["id"]
    batch = box.create(file_id, metadata={"run": "x"}).json()
    assert batch["expires_at"] == batch["created_at"] + 86_400
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert (batch["model"], batch["errors"], batch["output_file_id"], batch["error_file_id"]) == (None,) * 4
    assert (batch["metadata"], batch["input_file_id"], batch["object"]) == ({"run": "x"}, file_id, "batch")
    assert batch["usage"]["total_tokens"] == 0


def test_an_idempotency_key_is_ignored(box, row):
    file_id = box.upload(row()).json()["id"]
    ids = {
        box.request(
            "POST", "/v1/batches", json={**GOOD, "input_file_id": file_id}, headers={"Idempotency-Key": "k"}
        ).json()["id"]
        for _ in range(2)
    }
    assert len(ids) == 2


def test_creations_per_hour_are_limited(make_box):
    box = make_box(batches_per_hour_max=2)
    assert [box.create("file-x").status_code for _ in range(3)] == [200, 200, 429]
    assert box.create("file-x", key="sk-two").status_code == 200
    box.advance(3_601)
    assert box.create("file-x").status_code == 200


def test_an_account_without_money_may_not_create(make_box):
    box = make_box(broke_keys=frozenset({"sk-one"}))
    answers = [box.create("file-x") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {429}
    assert {answer.json()["error"]["code"] for answer in answers} == {"insufficient_quota"}
    assert box.request("GET", "/v1/batches").status_code == 200


def test_unknown_and_foreign_batches_are_not_found(box):
    created = box.create("file-x").json()["id"]
    answer = box.request("GET", "/v1/batches/batch_nope")
    assert answer.json()["error"]["message"] == "No batch found with id 'batch_nope'."
    assert answer.status_code == 404
    assert box.request("GET", f"/v1/batches/{created}", key="sk-two").status_code == 404
    assert box.request("POST", "/v1/batches/batch_nope/cancel").status_code == 404


def test_the_list_is_newest_first_and_pages(box):
    ids = [box.create("file-x").json()["id"] for _ in range(5)][::-1]
    first = box.get("/v1/batches?limit=2")
    assert [batch["id"] for batch in first["data"]] == ids[:2]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (ids[0], ids[1], True)
    second = box.get(f"/v1/batches?limit=3&after={first['last_id']}")
    assert ([batch["id"] for batch in second["data"]], second["has_more"]) == (ids[2:], False)
    assert box.get(f"/v1/batches?after={ids[-1]}") == {
        "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "status"), [("limit=0", 400), ("limit=101", 400), ("limit=x", 400), ("after=batch_no", 404)]
)
def test_bad_list_queries_are_refused(box, query, status):
    assert box.request("GET", f"/v1/batches?{query}").status_code == status
