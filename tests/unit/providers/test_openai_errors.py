"""Goal: every HTTP answer that is no success gets the error class, the words and the hints that the engine acts on."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bydawn import errors
from bydawn.core.wire import WireResponse
from bydawn.providers.openai import OpenAI


def explain(status, body=b"", **headers):
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return OpenAI().explain(WireResponse(status=status, headers=names, body=raw))


def error_object(message="m", kind="invalid_request_error", code=None):
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "expected", "retry"),
    [
        (400, error_object(code="invalid_value"), errors.Rejected, "never"),
        (401, error_object(code="invalid_api_key"), errors.AuthenticationFailed, "never"),
        (402, error_object(), errors.QuotaExhausted, "never"),
        (403, error_object(), errors.PermissionDenied, "never"),
        (404, error_object(), errors.NotFound, "never"),
        (408, error_object(), errors.Unavailable, "later"),
        (409, error_object("Cannot cancel a batch with status 'completed'."), errors.Rejected, "never"),
        (413, b"<html>413 Request Entity Too Large</html>", errors.TooLarge, "never"),
        (400, error_object("File is too large."), errors.TooLarge, "never"),
        (425, b"", errors.Unavailable, "later"),
        (429, error_object(kind="requests", code="rate_limit_exceeded"), errors.RateLimited, "later"),
        (429, error_object(kind="rate_limit_error", code="slow_down"), errors.RateLimited, "later"),
        (429, b"", errors.RateLimited, "later"),
        (429, error_object(kind="insufficient_quota", code="insufficient_quota"), errors.QuotaExhausted, "never"),
        (429, error_object(kind="insufficient_quota"), errors.QuotaExhausted, "never"),
        (429, error_object(code="credit_balance_exhausted"), errors.QuotaExhausted, "never"),
        (429, error_object(code="project_spend_limit_exceeded"), errors.QuotaExhausted, "never"),
        (400, error_object(code="billing_hard_limit_reached"), errors.QuotaExhausted, "never"),
        (500, error_object(kind="server_error"), errors.Unavailable, "later"),
        (502, b"<html><title>502 Bad Gateway</title></html>", errors.Unavailable, "later"),
        (503, error_object(code="server_is_overloaded"), errors.Unavailable, "later"),
        (520, b"", errors.Unavailable, "later"),
        (200, b" <!DOCTYPE html>", errors.Unavailable, "later"),
        (200, b"{}", errors.UnexpectedAnswer, "reconcile"),
        (302, b"", errors.Rejected, "never"),
    ],
)
def test_statuses_and_words_decide_the_class(status, body, expected, retry):
    error = explain(status, body)
    assert type(error) is expected
    assert (error.retry, error.status, error.provider) == (retry, status, "openai")


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (error_object("Nope.", code="invalid_value"), "openai: Nope.", "invalid_value"),
        (error_object("Nope."), "openai: Nope.", "invalid_request_error"),
        ({"error": {"message": "Nope.", "code": 17}}, "openai: Nope.", "17"),
        ({"error": "Nope."}, "openai: Nope.", None),
        ({"message": "Nope."}, "openai: Nope.", None),
        ({"detail": "Nope."}, "openai: Nope.", None),
        ({"errors": {"object": "list", "data": [{"code": "c", "message": "Nope."}]}}, "openai: Nope.", "c"),
        (
            {"error": {"message": "Invalid file format."}, "detail": {"message": "other", "code": None}},
            "openai: Invalid file format.",
            None,
        ),
        (b"", "openai: HTTP 418 without a body", None),
        (b"{}", "openai: HTTP 418 without a readable error", None),
        (b"\xff\x00", "openai: HTTP 418 without a readable error", None),
        (b"[" * 100_000, "openai: HTTP 418 without a readable error", None),
        (b"<html></html>", "openai: an HTML page came instead of an answer (HTTP 418)", None),
        (
            b"<html><title> Short and\nstout </title></html>",
            "openai: an HTML page titled 'Short and\\nstout' came instead of an answer (HTTP 418)",
            None,
        ),
    ],
)
def test_the_message_is_the_providers_own_or_a_sentence(body, message, code):
    error = explain(418, body)
    assert (str(error), error.code) == (message, code)


def test_a_redirect_names_the_host_and_not_the_signed_address():
    error = explain(307, b"", location="https://user:pw@files.example.net/x?signature=secret")
    assert "files.example.net" in str(error)
    assert "secret" not in str(error)
    assert "pw" not in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "3"}, 3.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after": "3", "retry_after_ms": "250"}, 0.25),
        ({"retry_after": "3", "retry_after_ms": "soon"}, 3.0),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
    ],
)
def test_the_wait_that_is_asked_for(headers, seconds):
    assert explain(429, **headers).retry_after_s == seconds


def test_the_service_may_overrule_the_status():
    assert explain(500, x_should_retry="false").retry == "never"
    assert explain(409, x_should_retry="true").retry == "later"
    assert explain(500, x_should_retry="perhaps").retry == "later"


def test_request_id_and_hint_are_kept():
    error = explain(401, error_object(), x_request_id="req_1")
    assert error.request_id == "req_1"
    assert "OPENAI_API_KEY" in error.hint


@pytest.mark.parametrize(
    "echo",
    ["sk-proj-AbC_dEf-1234567890", "sk-abcd****************wxyz", "sk-…abcd"],
)
def test_keys_that_the_service_repeats_are_masked_everywhere(echo):
    error = explain(401, error_object(f"Incorrect API key provided: {echo}. You can find it elsewhere."))
    assert str(error) == "openai: Incorrect API key provided: sk-***. You can find it elsewhere."
    assert echo.encode() not in error.body
    assert b"sk-***" in error.body


def test_words_that_merely_end_like_a_key_are_left_alone():
    assert str(explain(400, error_object("task-force, risk-free"))) == "openai: task-force, risk-free"


@given(status=st.integers(300, 599), body=st.binary(max_size=200))
def test_any_answer_can_be_explained(status, body):
    error = explain(status, body)
    assert isinstance(error, errors.ProviderError)
    assert str(error).startswith("openai: ")
