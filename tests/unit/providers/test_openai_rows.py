"""Goal: every line a result file may hold becomes the right answer, or UnexpectedAnswer and nothing else.

Method: a table of lines with their answers in fixtures/openai, and arbitrary bytes and JSON from Hypothesis.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bydawn.core.request import ENDPOINTS
from bydawn.errors import UnexpectedAnswer
from bydawn.providers.openai import OpenAI

if TYPE_CHECKING:
    from bydawn.core.result import Answer

FIXTURES = Path(__file__).parent / "fixtures" / "openai"


class Case(msgspec.Struct):
    case: str
    source: str
    endpoint: str
    line: msgspec.Raw
    answer: dict


def table():
    for path in sorted(FIXTURES.glob("*.jsonl")):
        for line in path.read_bytes().removesuffix(b"\n").split(b"\n"):
            case = msgspec.json.decode(line, type=Case)
            yield pytest.param(case, id=f"{path.stem}: {case.case}")


CASES = list(table())


def written(answer: Answer) -> dict:
    """The answer as it is written to disk, without its nulls."""
    everything = msgspec.json.decode(msgspec.json.encode(answer))
    return {name: value for name, value in everything.items() if value is not None}


@pytest.mark.parametrize("case", CASES)
def test_lines_become_the_answers_of_the_table(case):
    assert written(OpenAI().decode(bytes(case.line), case.endpoint)) == case.answer


@pytest.mark.parametrize("case", CASES)
def test_a_carriage_return_at_the_end_changes_nothing(case):
    assert written(OpenAI().decode(bytes(case.line) + b"\r", case.endpoint)) == case.answer


def chat_line(content: bytes, custom_id: bytes = b'"r1"') -> bytes:
    return (
        b'{"custom_id":' + custom_id + b',"response":{"status_code":200,"body":{"choices":[{"message":{"content":'
        b'"' + content + b'"},"finish_reason":"stop"}]}},"error":null}'
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\udc00 x", "\ufffd x"),
        (rb"\ud83d\ude00 \ud83d", "\U0001f600 \ufffd"),
        (rb"\\ud83d \ud83d", "\\ud83d \ufffd"),
        (b"bad \xff byte", "bad \ufffd byte"),
    ],
)
def test_what_is_no_text_is_mended_and_the_rest_kept(content, text):
    assert OpenAI().decode(chat_line(content), "chat").text == text


def test_a_byte_order_mark_is_passed_over():
    assert OpenAI().decode(b"\xef\xbb\xbf" + chat_line(b"x"), "chat").text == "x"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\r",
        b"<html>502</html>",
        b"[]",
        b'"text"',
        b'{"response":null}',
        chat_line(b"x", b'""'),
        chat_line(b"x", b"null"),
        chat_line(b"x", b"true"),
        chat_line(b"x")[:-20],
        b"[" * 100_000,
    ],
)
def test_lines_without_a_readable_custom_id_raise_and_keep_their_bytes(line):
    with pytest.raises(UnexpectedAnswer) as caught:
        OpenAI().decode(line, "chat")
    assert caught.value.body == line[:2_000]
    assert caught.value.provider == "openai"


def test_long_error_texts_are_cut():
    line = msgspec.json.encode({"custom_id": "r1", "error": {"code": "c" * 9_000, "message": "m" * 9_000}})
    error = OpenAI().decode(line, "chat").error
    assert (error.code, error.message) == ("c" * 1_000, "m" * 1_000)


def test_vectors_are_not_decoded():
    line = (
        b'{"custom_id":"r1","response":{"status_code":200,"body":{"data":[{"embedding": [0.10, 1e-7]}]}},"error":null}'
    )
    assert bytes(OpenAI().decode(line, "embeddings").embedding) == b"[0.10, 1e-7]"


@given(st.binary(), st.sampled_from(ENDPOINTS))
def test_arbitrary_bytes_raise_nothing_else(line, endpoint):
    with pytest.raises(UnexpectedAnswer):
        OpenAI().decode(line, endpoint)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)))
    | st.sampled_from([200, 0, 400, 429, "batch_expired", "completed", "failed", "message", "stop", "length"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "status_code",
                    "body",
                    "choices",
                    "message",
                    "content",
                    "finish_reason",
                    "usage",
                    "prompt_tokens",
                    "prompt_tokens_details",
                    "error",
                    "code",
                    "output",
                    "type",
                    "text",
                    "refusal",
                    "status",
                    "incomplete_details",
                    "reason",
                    "data",
                    "embedding",
                    "index",
                    "results",
                    "errors",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(response=JSON, error=JSON, endpoint=st.sampled_from(ENDPOINTS))
def test_any_json_with_a_custom_id_is_an_answer(response, error, endpoint):
    try:
        line = msgspec.json.encode({"custom_id": "r1", "response": response, "error": error})
    except OverflowError:  # integers beyond 64 bits are for the next test
        return
    answer = OpenAI().decode(line, endpoint)
    assert answer.custom_id == "r1"
    assert (answer.error is None) == (answer.outcome == "succeeded")
    assert msgspec.json.decode(msgspec.json.encode(answer), type=dict)["custom_id"] == "r1"


@pytest.mark.parametrize("number", [b"99999999999999999999999999", b"-99999999999999999999999999", b"1e400"])
@pytest.mark.parametrize("place", ["index", "status_code", "custom_id"])
def test_numbers_of_any_size_raise_nothing_else(number, place):
    values = {"index": b"0", "status_code": b"200", "custom_id": b'"r1"', place: number}
    line = (
        b'{"custom_id":%(custom_id)b,"response":{"status_code":%(status_code)b,"body":{"data":'
        b'[{"index":%(index)b,"embedding":[1]}]}}}' % {name.encode(): value for name, value in values.items()}
    )
    try:
        answer = OpenAI().decode(line, "embeddings")
    except UnexpectedAnswer:
        return
    assert answer.custom_id in {"r1", number.decode()}
