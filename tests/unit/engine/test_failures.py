"""What did not succeed, grouped by cause, most frequent first."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from bydawn.core.result import ErrorKind
from bydawn.engine.failures import REMEDIES, SHOWN_MESSAGE, group_failures


def failed(row: int, message: str = "boom", *, status: str = "failed", model: str = "openai/m", **error: Any) -> bytes:
    values = {"kind": "server_error", "code": "500", "message": message, "retryable": True, "provider": None} | error
    return msgspec.json.encode({"id": f"id{row}", "row": row, "status": status, "model": model, "error": values})


def test_where_nothing_failed_there_is_no_group() -> None:
    good = msgspec.json.encode({"id": "a", "row": 0, "status": "succeeded", "model": "openai/m", "error": None})
    assert group_failures([good] * 3) == []
    assert group_failures([]) == []


def test_messages_that_differ_in_numbers_or_quoted_words_are_one_cause() -> None:
    groups = group_failures(
        [
            failed(0, "Rate limit of 100 reached for 'gpt-4o'"),
            failed(1, "Rate limit of 2000 reached for 'gpt-4.1'"),
            failed(2, 'Bad value "x"'),
            failed(3, 'Bad value "yy"'),
            failed(4, "Bad value 7"),
        ]
    )
    assert [(group.count, group.example_row, group.message) for group in groups] == [
        (3, 2, 'Bad value "x"'),
        (2, 0, "Rate limit of 100 reached for 'gpt-4o'"),
    ]


@pytest.mark.parametrize(
    "other",
    [
        failed(1, "other words"),
        failed(1, status="expired"),
        failed(1, model="openai/n"),
        failed(1, kind="timeout"),
        failed(1, code="503"),
        failed(1, code=None),
    ],
)
def test_different_causes_are_kept_apart(other: bytes) -> None:
    groups = group_failures([failed(0), other, other])
    assert [group.count for group in groups] == [2, 1]
    assert groups[0].example_row == 1


def test_groups_say_what_happened_where_and_what_to_do() -> None:
    groups = group_failures([failed(7, "x" * (SHOWN_MESSAGE + 9), kind="quota", code="no_money", retryable=True)])
    assert groups[0].message == "x" * SHOWN_MESSAGE
    assert (groups[0].example_id, groups[0].example_row, groups[0].model) == ("id7", 7, "openai/m")
    assert (groups[0].kind, groups[0].code, groups[0].retryable) == ("quota", "no_money", True)
    assert "credit" in groups[0].remedy


def test_of_equally_frequent_causes_the_first_row_comes_first() -> None:
    groups = group_failures([failed(5, "b"), failed(2, "a"), failed(9, "c")])
    assert [group.example_row for group in groups] == [2, 5, 9]


def test_a_failure_without_an_error_is_a_group_too() -> None:
    line = msgspec.json.encode({"id": "a", "row": 3, "status": "expired", "model": "openai/m", "error": None})
    (group,) = group_failures([line, line])
    assert (group.count, group.kind, group.status) == (2, "unexpected_answer", "expired")


def test_every_kind_of_error_has_a_remedy() -> None:
    assert set(REMEDIES) == set(get_args(ErrorKind))
    assert all(remedy.endswith((".", "`")) for remedy in REMEDIES.values())
