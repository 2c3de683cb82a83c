"""The seeded generator: answers that fit what was asked, the same every time."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bydawn.sandbox.seeded import Draw, sentence, value_for

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 40, "maxLength": 45},
        "age": {"type": "integer", "minimum": 18, "maximum": 19},
        "mood": {"enum": ["good", "bad"]},
        "kind": {"const": "person"},
        "score": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "even": {"type": "integer", "multipleOf": 7, "minimum": 10},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
        "friend": {"anyOf": [{"$ref": "#/$defs/friend"}, {"type": "null"}]},
        "maybe": {"type": ["string", "null"]},
        "when": {"type": "string", "format": "date-time"},
        "both": {"allOf": [{"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}]},
    },
    "required": ["name", "age", "mood", "kind", "score", "even", "tags", "friend", "maybe", "when", "both"],
    "additionalProperties": False,
    "$defs": {
        "friend": {
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/friend"}, {"type": "null"}]}},
            "required": ["next"],
            "additionalProperties": False,
        }
    },
}

scalars = st.one_of(
    st.just({"type": "string"}),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
        st.integers(-99, 99),
        st.integers(0, 9),
    ),
    st.builds(lambda high: {"type": "integer", "maximum": high}, st.integers(-99, 99)),
    st.builds(lambda low: {"type": "number", "minimum": low}, st.integers(-99, 99)),
    st.builds(lambda values: {"enum": values}, st.lists(st.text(), min_size=1, max_size=4)),
    st.builds(lambda size: {"type": "string", "minLength": size, "maxLength": size + 3}, st.integers(0, 200)),
)
schemas = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(lambda item, low: {"type": "array", "items": item, "minItems": low}, inner, st.integers(0, 4)),
        st.builds(
            lambda fields: {
                "type": "object", "properties": fields, "required": list(fields), "additionalProperties": False,
            },
            st.dictionaries(st.text(max_size=5), inner, max_size=4),
        ),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.integers())
def test_a_rich_schema_is_satisfied(seed):
    jsonschema_rs.validator_for(PERSON).validate(value_for(PERSON, Draw(seed)))


@given(schemas, st.integers())
def test_any_schema_of_the_structured_output_kind_is_satisfied(schema, seed):
    jsonschema_rs.validator_for(schema).validate(value_for(schema, Draw(seed)))


def test_the_same_names_draw_the_same():
    assert sentence(Draw("a", 1)) == sentence(Draw("a", 1))
    assert len({sentence(Draw("a", n)) for n in range(50)}) > 45


def ask(box: Any, path: str, **body: Any) -> dict[str, Any]:
    answer = box.request("POST", path, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def chat(box: Any, **body: Any) -> dict[str, Any]:
    fields = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "json please"}], **body}
    return ask(box, "/v1/chat/completions", **fields)


def test_structured_chat_answers_fit_the_schema(box):
    wish = {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON, "strict": True}}
    text = chat(box, response_format=wish)["choices"][0]["message"]["content"]
    jsonschema_rs.validator_for(PERSON).validate(msgspec.json.decode(text))


def test_structured_responses_fit_the_schema(box):
    wish = {"format": {"type": "json_schema", "name": "p", "schema": PERSON, "strict": True}}
    body = ask(box, "/v1/responses", model="gpt-5-mini", input="Hi", text=wish)
    assert [item["type"] for item in body["output"]] == ["reasoning", "message"]
    jsonschema_rs.validator_for(PERSON).validate(msgspec.json.decode(body["output"][1]["content"][0]["text"]))


def test_json_mode_is_an_object(box):
    text = chat(box, response_format={"type": "json_object"})["choices"][0]["message"]["content"]
    assert isinstance(msgspec.json.decode(text), dict)


def test_the_token_cap_cuts_the_answer(box):
    body = chat(box, max_tokens=2)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2


def test_a_cap_below_the_reasoning_leaves_nothing(box):
    """As with the real service: hidden reasoning counts towards the cap."""
    bodies = [
        chat(box, model="gpt-5", max_completion_tokens=16, messages=[{"role": "user", "content": f"{n}"}])
        for n in range(20)
    ]
    cut = [body["choices"][0] for body in bodies if body["choices"][0]["message"]["content"] == ""]
    assert {choice["finish_reason"] for choice in cut} == {"length"}
    assert all(body["usage"]["completion_tokens"] <= 16 for body in bodies)


def test_an_incomplete_response_says_why(box):
    body = ask(box, "/v1/responses", model="gpt-4o-mini", input="Hi [[sandbox: truncate]]")
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_several_choices(box):
    choices = chat(box, n=3)["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in choices}) == 3


def test_tools_are_called_when_the_choice_forces_it(box):
    tool = {"type": "function", "function": {"name": "save", "parameters": PERSON}}
    free = chat(box, tools=[tool])["choices"][0]
    forced = chat(box, tools=[tool], tool_choice={"type": "function", "function": {"name": "save"}})["choices"][0]
    assert (free["finish_reason"], forced["finish_reason"]) == ("stop", "tool_calls")
    call = forced["message"]["tool_calls"][0]["function"]
    assert call["name"] == "save"
    jsonschema_rs.validator_for(PERSON).validate(msgspec.json.decode(call["arguments"]))


def test_embeddings_are_unit_vectors_in_both_encodings(box):
    body = {"model": "text-embedding-3-small", "input": ["one", "two"], "dimensions": 8}
    plain = ask(box, "/v1/embeddings", **body)["data"]
    packed = ask(box, "/v1/embeddings", **body, encoding_format="base64")["data"]
    assert [entry["index"] for entry in plain] == [0, 1]
    assert math.isclose(sum(x * x for x in plain[0]["embedding"]), 1, rel_tol=1e-5)
    assert list(struct.unpack("<8f", base64.b64decode(packed[1]["embedding"]))) == plain[1]["embedding"]
    assert plain[0]["embedding"] != plain[1]["embedding"]


def test_long_prompts_are_sometimes_cached(box):
    details = [
        chat(box, messages=[{"role": "user", "content": f"{n}" + "x" * 8_000}])["usage"]["prompt_tokens_details"]
        for n in range(20)
    ]
    assert {entry["cached_tokens"] > 0 for entry in details} == {True, False}


def test_moderations_and_completions_answer_too(box):
    moderation = ask(box, "/v1/moderations", model="omni-moderation-latest", input=["a", "b"])
    assert len(moderation["results"]) == 2
    completion = ask(box, "/v1/completions", model="gpt-3.5-turbo-instruct", prompt=["a", "b"], max_tokens=99)
    assert [choice["index"] for choice in completion["choices"]] == [0, 1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "gpt-nope", "messages": []}, 404),
        ({"messages": []}, 400),
        ({"model": "gpt-4o-mini"}, 400),
        ({"model": "o3-mini", "messages": [{"role": "user", "content": "x"}], "temperature": 0}, 400),
        ({"model": "gpt-4o-mini", "messages": [], "stream": True}, 400),
        ({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[[sandbox: status=503]]"}]}, 503),
        ({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[[sandbox: timeout]]"}]}, 500),
        ({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}], "response_format": 7}, 400),
        ({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}], "tools": 7}, 400),
    ],
)
def test_live_calls_are_refused_by_the_same_rules(box, body, status):
    assert box.request("POST", "/v1/chat/completions", json=body).status_code == status
    assert box.get("/_sandbox/ledger")["rows_billed"] == 0


def test_live_calls_are_billed(box):
    chat(box)
    assert [entry["batch_id"] for entry in box.get("/_sandbox/ledger")["by_batch"]] == ["live"]


def test_models_carry_their_shutdown_date(box):
    assert box.get("/v1/models/gpt-4o-mini")["shutdown_date"] == "2027-01-14"
    assert box.get("/v1/models/gpt-6-luna")["shutdown_date"] is None
    assert box.request("GET", "/v1/models/gpt-nope").status_code == 404
    assert {"gpt-4o", "o3"} <= {model["id"] for model in box.get("/v1/models")["data"]}
