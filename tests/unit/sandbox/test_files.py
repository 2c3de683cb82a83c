"""The file endpoints: what they refuse, how long they keep things, who may see them."""

from __future__ import annotations

import stat

import msgspec
import pytest

LINE = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4o-mini","messages":[]}}\n'
MONTH_S = 30 * 86_400


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [(None, 401, None), ("nonsense", 401, "invalid_api_key"), ("sk-old", 401, "invalid_api_key")],
)
def test_keys_are_checked(make_box, key, status, code):
    answer = make_box(revoked_keys=frozenset({"sk-old"})).request("GET", "/v1/files", key=key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_refused_key_is_not_shown(make_box):
    secret = "sk-abcdefghijklmnopqrstuvwxyz"
    answer = make_box(revoked_keys=frozenset({secret})).request("GET", "/v1/files", key=secret)
    assert answer.status_code == 401
    assert secret not in answer.text


def test_a_key_without_scope_may_read_only(make_box):
    box = make_box(unscoped_keys=frozenset({"sk-reader"}))
    assert box.upload(LINE, key="sk-reader").status_code == 403
    assert box.request("GET", "/v1/files", key="sk-reader").status_code == 200


@pytest.mark.parametrize(
    ("content", "name", "data", "code", "param"),
    [
        (LINE, "in.jsonl", {}, "missing_required_parameter", "purpose"),
        (LINE, "in.jsonl", {"purpose": "fun"}, "invalid_value", "purpose"),
        (LINE, "in.csv", {"purpose": "batch"}, None, None),
        (b"", "in.jsonl", {"purpose": "batch"}, None, None),
        (b"not json\n", "in.jsonl", {"purpose": "batch"}, None, None),
        (b"[1]\n", "in.jsonl", {"purpose": "batch"}, None, None),
        (b"\xef\xbb\xbf" + LINE, "in.jsonl", {"purpose": "batch"}, None, None),
        (
            LINE, "in.jsonl",
            {"purpose": "batch", "expires_after[anchor]": "now", "expires_after[seconds]": "3600"},
            "invalid_value", "expires_after.anchor",
        ),
        (
            LINE, "in.jsonl",
            {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "60"},
            "invalid_value", "expires_after.seconds",
        ),
        (
            LINE, "in.jsonl",
            {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "soon"},
            "invalid_type", "expires_after.seconds",
        ),
    ],
)  # fmt: skip
def test_uploads_are_checked(box, content, name, data, code, param):
    answer = box.upload(content, name=name, data=data)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["code"], error["param"]) == (code, param)
    assert box.get("/v1/files")["data"] == []


def test_a_refused_format_has_an_odd_second_part(box):
    body = box.upload(b"nonsense").json()
    assert body["detail"] == {"message": "Invalid file format for Batch API. Must be .jsonl", "code": None}


def test_a_later_bad_line_is_accepted_at_upload(box):
    assert box.upload(LINE + b"garbage\n").status_code == 200


def test_a_batch_file_over_the_limit_is_refused_and_not_kept(box, monkeypatch):
    monkeypatch.setattr("bydawn.sandbox.openai.files.BATCH_FILE_BYTES_MAX", 1_000)
    answer = box.upload(LINE * 10)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "File is too large.")
    assert list(box.world.spool.iterdir()) == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_unknown_files_are_not_found(box, method):
    answer = box.request(method, "/v1/files/file-nope")
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "id")
    assert box.request("GET", "/v1/files/file-nope/content").status_code == 404


def test_another_account_sees_nothing(box):
    file_id = box.upload(LINE).json()["id"]
    assert box.request("GET", f"/v1/files/{file_id}", key="sk-two").status_code == 404
    assert box.request("DELETE", f"/v1/files/{file_id}", key="sk-two").status_code == 404
    assert box.get("/v1/files", key="sk-two")["data"] == []


def test_an_upload_is_shown_and_returned_byte_for_byte(box):
    content = LINE + '{"x":"\u2028é"}'.encode() + b"\r\n\n"
    shown = box.upload(content).json()
    assert shown["bytes"] == len(content)
    assert shown["expires_at"] == shown["created_at"] + MONTH_S
    assert (shown["status"], shown["purpose"], shown["filename"]) == ("processed", "batch", "in.jsonl")
    answer = box.request("GET", f"/v1/files/{shown['id']}/content")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-disposition"] == 'attachment; filename="in.jsonl"'


def test_the_same_content_twice_is_two_files(box):
    assert box.upload(LINE).json()["id"] != box.upload(LINE).json()["id"]


def test_content_comes_in_ranges(box):
    file_id = box.upload(LINE).json()["id"]
    answer = box.request("GET", f"/v1/files/{file_id}/content", headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, LINE[10:20])
    assert answer.headers["content-range"] == f"bytes 10-19/{len(LINE)}"


def test_expiry_in_brackets_is_honoured(box):
    data = {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file_id = box.upload(LINE, data=data).json()["id"]
    box.advance(3_599)
    assert box.request("GET", f"/v1/files/{file_id}").status_code == 200
    box.advance(1)
    assert box.request("GET", f"/v1/files/{file_id}").status_code == 404
    assert not box.world.files.joinpath(file_id).exists()


def test_other_purposes_never_expire(box):
    assert box.upload(b"text", name="a.txt", data={"purpose": "user_data"}).json()["expires_at"] is None


def test_a_deleted_file_is_gone(box):
    file_id = box.upload(LINE).json()["id"]
    assert box.request("DELETE", f"/v1/files/{file_id}").json() == {"object": "file", "id": file_id, "deleted": True}
    assert box.request("GET", f"/v1/files/{file_id}/content").status_code == 404


def test_lists_page_and_filter(box):
    ids = [box.upload(LINE).json()["id"] for _ in range(5)]
    other = box.upload(b"x", name="x.txt", data={"purpose": "user_data"}).json()["id"]
    assert [file["id"] for file in box.get("/v1/files")["data"]] == [other, *reversed(ids)]
    page = box.get("/v1/files?purpose=batch&limit=2&order=asc")
    assert ([file["id"] for file in page["data"]], page["has_more"]) == (ids[:2], True)
    page = box.get(f"/v1/files?purpose=batch&limit=3&order=asc&after={page['last_id']}")
    assert ([file["id"] for file in page["data"]], page["has_more"]) == (ids[2:], False)


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "order=sideways"])
def test_bad_list_queries_are_refused(box, query):
    assert box.request("GET", f"/v1/files?{query}").status_code == 400


def test_a_body_that_is_no_form_is_refused(box):
    answer = box.request("POST", "/v1/files", content=b"{}", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_everything_on_disk_is_private(box, row):
    box.run(row())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in box.world.home.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in box.world.home.iterdir() if path.is_dir()} == {0o700}


def test_no_key_is_stored(box, row):
    box.run(row())
    box.request("GET", "/v1/files", key="sk-verysecretkey")
    stored = b"".join(path.read_bytes() for path in box.world.home.rglob("*") if path.is_file())
    assert b"sk-one" not in stored
    assert b"sk-verysecretkey" not in stored


def test_unknown_urls_answer_in_json(box):
    answer = box.request("GET", "/v1/nowhere")
    assert answer.status_code == 404
    assert "Invalid URL" in msgspec.json.decode(answer.content)["error"]["message"]
