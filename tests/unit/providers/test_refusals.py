"""Validation errors of whole batches, in OpenAI's words and in Azure's (protocol sheet openai.md, 2.3 and 8)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.core.batch import BatchProblem
from bydawn.providers.refusals import read_refusal

ENQUEUED = (
    "Enqueued token limit reached for gpt-4o-mini in organization org-x1. Limit: 2,000,000 enqueued tokens. "
    "Please try again once some in_progress batches have been completed."
)
AZURE = "The enqueued tokens surpassed the configured limit of 30K for the deployment gpt-4o-batch."


def test_without_any_reason_it_is_worth_another_try() -> None:
    refusal = read_refusal(())
    assert (refusal.kind, refusal.message, refusal.code) == ("unknown", "the provider gave no reason", None)


@pytest.mark.parametrize(
    "code",
    [
        "invalid_json_line", "missing_required_parameter", "duplicate_custom_id", "mismatched_model", "invalid_url",
        "invalid_method", "invalid_request", "streaming_unsupported", "url_mismatch", "model_mismatch",
        "never_heard_of", None,
    ],
)  # fmt: skip
def test_a_code_with_a_line_is_that_rows_problem(code: str | None) -> None:
    problem = BatchProblem(code, "This line is wrong.", "body", 7)
    refusal = read_refusal((problem,))
    assert (refusal.kind, refusal.code, refusal.message) == ("rows", code, "This line is wrong.")
    assert refusal.bad == ((7, problem),)


@pytest.mark.parametrize(
    "code", ["invalid_request", "empty_file", "input_modified", "input_no_permissions", "new", None]
)
def test_a_code_without_a_line_blames_no_row(code: str | None) -> None:
    refusal = read_refusal((BatchProblem(code, "Cannot find file file-x."),))
    assert (refusal.kind, refusal.bad, refusal.message) == ("unknown", (), "Cannot find file file-x.")


def test_too_many_rows_ask_for_a_smaller_batch() -> None:
    assert read_refusal((BatchProblem("too_many_tasks", "At most 100."),)).kind == "size"


@pytest.mark.parametrize("line", [None, 3])
def test_a_model_that_batches_do_not_have_is_the_whole_lanes_problem(line: int | None) -> None:
    problem = BatchProblem("model_not_found", "The provided model 'x' is not supported by the Batch API.", line=line)
    assert read_refusal((BatchProblem("invalid_request", "", line=1), problem)).kind == "lane"


@pytest.mark.parametrize(
    "code",
    [
        "billing_hard_limit_reached", "insufficient_quota", "credit_balance_exhausted",
        "organization_spend_limit_exceeded", "project_spend_limit_exceeded", "organization_usage_limit_exceeded",
    ],
)  # fmt: skip
def test_no_money_pauses_whatever_else_is_said(code: str) -> None:
    refusal = read_refusal((BatchProblem("invalid_json_line", "bad", line=1), BatchProblem(code, "Pay first.")))
    assert (refusal.kind, refusal.code, refusal.message, refusal.bad) == ("money", code, "Pay first.", ())


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (ENQUEUED, 2_000_000),
        (AZURE, 30_000),
        ("Limit: 90,000 enqueued tokens.", 90_000),
        ("Limit: 90000.", 90_000),
        ("limit of 3M for the deployment", 3_000_000),
        ("limit of 1.5M for the deployment", 1_500_000),
        ("limit: 20k", 20_000),
        ("Enqueued token limit reached, please try again later.", None),
        ("You are over your token limit, 3 batches are running.", None),
        ("token limit reached", None),
        ("Limit: 0 enqueued tokens", None),
        ("", None),
    ],
)
def test_the_limit_is_read_where_it_is_named(message: str, limit: int | None) -> None:
    refusal = read_refusal((BatchProblem("token_limit_exceeded", message),))
    assert (refusal.kind, refusal.limit, refusal.message) == ("quota", limit, message)


PROBLEMS = st.builds(
    BatchProblem,
    st.none() | st.text() | st.sampled_from(["token_limit_exceeded", "insufficient_quota", "model_not_found"]),
    st.text() | st.text(alphabet="limit of:LKM,.0123456789 ").map("limit {}".format),
    st.none(),
    st.none() | st.integers(1, 10**6),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(PROBLEMS, max_size=4).map(tuple))
def test_any_list_of_problems_can_be_read(problems: tuple[BatchProblem, ...]) -> None:
    refusal = read_refusal(problems)
    assert refusal.limit is None or refusal.limit > 0
    assert all(problem.line == line for line, problem in refusal.bad)
    assert (refusal.kind == "rows") == bool(refusal.bad)
