"""Model rules, row by row: the refusal's code, field and words, and what is let through."""

from __future__ import annotations

import pytest

from bydawn.sandbox.openai.errors import ApiError
from bydawn.sandbox.openai.models import Catalogue, known_models
from bydawn.sandbox.openai.rules import check

USER = [{"role": "user", "content": "Answer in json"}]
SYSTEM = [{"role": "system", "content": "Be brief"}, *USER]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]

VALUE, PARAMETER = "unsupported_value", "unsupported_parameter"


def schema(**inner):
    return {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": inner}}


REFUSED_CHAT = [
    ("o1-mini", {"messages": SYSTEM}, "messages[0].role", VALUE, "does not support 'system' with this model"),
    ("o1-preview", {"tools": TOOLS}, "tools", PARAMETER, "'tools' is not supported"),
    ("o1-mini", {"response_format": {"type": "json_object"}}, "response_format", PARAMETER, "not supported"),
    ("o1-mini", {"reasoning_effort": "low"}, "reasoning_effort", PARAMETER, "not supported"),
    ("o3-mini", {"max_tokens": 5}, "max_tokens", PARAMETER, "Use 'max_completion_tokens' instead."),
    ("gpt-5-mini", {"max_tokens": 5}, "max_tokens", PARAMETER, "Use 'max_completion_tokens' instead."),
    ("gpt-6-luna", {"max_tokens": 5}, "max_tokens", PARAMETER, "Use 'max_completion_tokens' instead."),
    (
        "o3-mini", {"temperature": 0}, "temperature", VALUE,
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
    ),
    ("gpt-5", {"top_p": 0.5}, "top_p", PARAMETER, "not supported"),
    ("gpt-5", {"presence_penalty": 1}, "presence_penalty", PARAMETER, "not supported"),
    ("gpt-5", {"logprobs": True}, "logprobs", PARAMETER, "not supported"),
    ("gpt-5.1", {"temperature": 0, "reasoning_effort": "low"}, "temperature", VALUE, "does not support 0"),
    ("o4-mini", {"stop": ["x"]}, "stop", PARAMETER, "not supported"),
    ("gpt-6-sol", {"stop": "x"}, "stop", PARAMETER, "not supported"),
    ("o3", {"parallel_tool_calls": True, "tools": TOOLS}, "parallel_tool_calls", PARAMETER, "not"),
    ("gpt-4o", {"reasoning_effort": "low"}, "reasoning_effort", PARAMETER, "not supported"),
    (
        "gpt-5.1", {"reasoning_effort": "minimal"}, "reasoning_effort", VALUE,
        "does not support 'minimal' with this model. Supported values are: 'none', 'low', 'medium', and 'high'.",
    ),
    ("gpt-5", {"reasoning_effort": "none"}, "reasoning_effort", VALUE, "'minimal', 'low', 'medium', and 'high'"),
    ("gpt-6-astra", {"reasoning_effort": "none"}, "reasoning_effort", VALUE, "does not support 'none'"),
    ("gpt-5.6-sol", {"reasoning_effort": "max"}, "reasoning_effort", VALUE, "does not support 'max'"),
    (
        "gpt-5.6-terra", {"tools": TOOLS}, "reasoning_effort", None,
        "Function tools with reasoning_effort are not supported for gpt-5.6-terra in /v1/chat/completions. To use",
    ),
    ("gpt-5.4", {"tools": TOOLS, "reasoning_effort": "low"}, "reasoning_effort", None, "gpt-5.4"),
    ("gpt-6.1-sol", {"tools": TOOLS}, "reasoning_effort", None, "/v1/responses"),
    ("gpt-5-pro", {}, "model", None, "only supported in v1/responses"),
    ("text-embedding-3-small", {}, "model", "unsupported_model", "does not work with this endpoint"),
    ("gpt-4o", {"verbosity": "low"}, "verbosity", VALUE, "'medium'"),
    ("gpt-4o", {"temperature": 3}, "temperature", "decimal_above_max_value", "value <= 2, but got 3 instead."),
    ("gpt-4o", {"temperature": "0"}, "temperature", "invalid_type", "expected a decimal, but got a string instead."),
    ("gpt-4o", {"n": 0}, "n", "integer_below_min_value", ">= 1"),
    ("gpt-4o", {"max_tokens": 5.5}, "max_tokens", "invalid_type", "expected an integer"),
    ("gpt-4o", {"metadata": {"a": "b"}}, "metadata", None, "only allowed when 'store' is enabled"),
    ("gpt-4o", {"service_tier": "turbo"}, "service_tier", "invalid_value", "turbo"),
    ("gpt-4o", {"max_output_tokens": 50}, "max_output_tokens", "unknown_parameter", "Unknown parameter"),
    ("gpt-4o", {"messages": []}, "messages", "empty_array", "empty"),
    ("gpt-4o", {"messages": "Hi"}, "messages", "invalid_type", "an array of objects"),
    ("gpt-4o", {"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter", "role"),
    ("gpt-4o", {"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role", "invalid_value", "boss"),
    ("gpt-4o", {"messages": [{"role": "user", "content": None}]}, "messages[0].content", None, "got null"),
    ("gpt-4o", {"messages": [{"role": "user", "content": "x" * 10**6}]}, "messages", "context_length_exceeded", "128"),
    (
        "gpt-4o", {"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "Hi"}]},
        "messages", None, "must contain the word 'json'",
    ),
    ("gpt-4o", {"response_format": {"type": "xml"}}, "response_format.type", "invalid_value", "xml"),
    ("gpt-4o", {"response_format": schema(type="array")}, "response_format.json_schema", "invalid_json_schema", "type"),
    (
        "gpt-4o", {"response_format": schema(type="object", properties={})}, "response_format.json_schema",
        "invalid_json_schema", "additionalProperties",
    ),
    ("gpt-4o", {"tool_choice": "required"}, "tool_choice", None, "only allowed when 'tools' are specified"),
]  # fmt: skip

ACCEPTED_CHAT = [
    ("gpt-4o-mini", {"messages": SYSTEM, "temperature": 0, "max_tokens": 9, "stop": ["x"], "logprobs": True, "n": 2}),
    ("o3-mini", {"messages": SYSTEM, "temperature": 1, "max_completion_tokens": 9, "reasoning_effort": "low"}),
    ("gpt-5.1", {"temperature": 0, "top_p": 0.4, "logprobs": True}),
    ("gpt-5.4", {"temperature": 0, "tools": TOOLS}),
    ("gpt-5.6-sol", {"reasoning_effort": "none", "tools": TOOLS}),
    ("gpt-5", {"verbosity": "low", "reasoning_effort": "minimal"}),
    ("ft:gpt-4o-mini-2024-07-18:acme::abc", {"temperature": 0.5}),
    ("gpt-4o-2024-08-06", {}),
    ("gpt-4o", {"response_format": schema(type="object", properties={}, additionalProperties=False)}),
]


def refusal(model: str, body: dict, endpoint: str) -> ApiError:
    found = Catalogue().find(model)
    assert found is not None
    with pytest.raises(ApiError) as caught:
        check({"model": model, **body}, endpoint, found)
    return caught.value


@pytest.mark.parametrize(("model", "change", "param", "code", "words"), REFUSED_CHAT)
def test_chat_refusals(model, change, param, code, words):
    error = refusal(model, {"messages": USER, **change}, "chat").error
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert words in error["message"]


@pytest.mark.parametrize(("model", "change"), ACCEPTED_CHAT)
def test_chat_accepts(model, change):
    found = Catalogue().find(model)
    assert found is not None
    check({"model": model, "messages": USER, **change}, "chat", found)


@pytest.mark.parametrize(
    ("model", "change", "param", "code", "words"),
    [
        ("o3", {"temperature": 0}, "temperature", PARAMETER, "'temperature' is not supported with this"),
        ("gpt-5", {"top_p": 0.1}, "top_p", PARAMETER, "not supported"),
        ("gpt-4o", {"max_tokens": 5}, "max_tokens", "unknown_parameter", "Unknown parameter: 'max_tokens'."),
        (
            "gpt-5.1", {"reasoning": {"effort": "minimal"}}, "reasoning.effort", VALUE,
            "Unsupported value: 'minimal' is not supported with the 'gpt-5.1' model. Supported values are:",
        ),
        ("gpt-4o", {"reasoning": {"effort": "low"}}, "reasoning.effort", PARAMETER, "not supported"),
        ("gpt-4o", {"text": {"verbosity": "low"}}, "text.verbosity", VALUE, "'medium'"),
        ("gpt-5", {"max_output_tokens": 4}, "max_output_tokens", "integer_below_min_value", ">= 16"),
        ("o1-mini", {}, "model", "unsupported_model", "does not work"),
    ],
)  # fmt: skip
def test_responses_refusals(model, change, param, code, words):
    error = refusal(model, {"input": "Hi", **change}, "responses").error
    assert (error["param"], error["code"]) == (param, code)
    assert words in error["message"]


@pytest.mark.parametrize(
    ("model", "change"),
    [("gpt-6-astra", {"reasoning": {"effort": "max"}}), ("gpt-6.1-sol", {"tools": TOOLS}), ("gpt-5-pro", {})],
)
def test_responses_accept(model, change):
    found = Catalogue().find(model)
    assert found is not None
    check({"model": model, "input": "Hi", **change}, "responses", found)


@pytest.mark.parametrize(
    ("model", "change", "param"),
    [
        ("text-embedding-ada-002", {"dimensions": 8}, "dimensions"),
        ("text-embedding-3-small", {"dimensions": 2_000}, "dimensions"),
        ("text-embedding-3-small", {"input": []}, "input"),
        ("text-embedding-3-small", {"input": ["a", ""]}, "input"),
        ("text-embedding-3-small", {"input": ["a"] * 2_049}, "input"),
        ("text-embedding-3-small", {"encoding_format": "hex"}, "encoding_format"),
        ("text-embedding-3-small", {"temperature": 0}, "temperature"),
    ],
)
def test_embeddings_refusals(model, change, param):
    assert refusal(model, {"input": "a", **change}, "embeddings").error["param"] == param


def test_extra_models_have_no_rules():
    found = Catalogue(extra=["my-model"]).find("my-model")
    assert found is not None
    check({"model": "my-model", "messages": SYSTEM, "temperature": 0}, "chat", found)


def test_every_model_of_the_table_is_complete():
    """Families resolve, and an effort by default is one that is accepted."""
    for model in known_models():
        assert model.effort is None or model.effort in model.efforts
        assert bool(model.efforts) == (model.effort is not None)
        assert not (model.chat_tools == "effort_none" and "none" not in model.efforts)
