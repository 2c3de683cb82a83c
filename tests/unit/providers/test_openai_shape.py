"""Goal: a request in chat's vocabulary says the same on every endpoint, and what cannot be said is recorded or refused.

Method: tables of fields in and out; values go in as raw JSON, as sources hand them on, and as plain values.
"""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from bydawn.providers.openai import OpenAI

HI = [{"role": "user", "content": "Hi"}]


def as_raw(fields):
    return {name: Raw(msgspec.json.encode(value)) for name, value in fields.items()}


def shaped(fields, form="messages", endpoint="responses"):
    """The body and the names of what was dropped; raw and plain values must come to the same."""
    results = []
    for variant in (as_raw(fields), fields):
        body, adjustments = OpenAI().shape(variant, form, endpoint)
        results.append(
            (msgspec.json.decode(msgspec.json.encode(body)), [adjustment.parameter for adjustment in adjustments])
        )
    assert results[0] == results[1]
    return results[0]


@pytest.mark.parametrize(
    ("form", "endpoint"),
    [
        ("messages", "chat"),
        ("native", "chat"),
        ("native", "responses"),
        ("native", "embeddings"),
        ("input", "embeddings"),
        ("input", "moderations"),
    ],
)
def test_what_fits_already_is_handed_back_itself(form, endpoint):
    fields = as_raw({"messages": HI, "input": "x", "stop": "."})
    assert OpenAI().shape(fields, form, endpoint) == (fields, ())
    assert OpenAI().shape(fields, form, endpoint)[0] is fields


PARAMETERS = [
    ({"max_tokens": 5}, {"max_output_tokens": 5}, []),
    ({"max_completion_tokens": 5}, {"max_output_tokens": 5}, []),
    ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_output_tokens": 6}, ["max_tokens"]),
    (
        {"max_tokens": 5, "max_completion_tokens": 6, "max_output_tokens": 7},
        {"max_output_tokens": 7},
        ["max_completion_tokens", "max_tokens"],
    ),
    ({"max_tokens": None, "max_completion_tokens": 6}, {"max_output_tokens": 6}, []),
    ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}, []),
    (
        {"reasoning_effort": "low", "reasoning": {"summary": "auto"}},
        {"reasoning": {"summary": "auto", "effort": "low"}},
        [],
    ),
    ({"verbosity": "low"}, {"text": {"verbosity": "low"}}, []),
    ({"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}, []),
    (
        {
            "verbosity": "high",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}},
            },
        },
        {
            "text": {
                "verbosity": "high",
                "format": {"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}},
            }
        },
        [],
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        {"tools": [{"type": "function", "strict": False, "name": "f", "parameters": {"type": "object"}}]},
        [],
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}, {"type": "web_search"}]},
        {"tools": [{"type": "function", "strict": True, "name": "f"}, {"type": "web_search"}]},
        [],
    ),
    (
        {
            "tools": [
                {
                    "type": "custom",
                    "custom": {
                        "name": "c",
                        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}},
                    },
                }
            ]
        },
        {
            "tools": [
                {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}}
            ]
        },
        [],
    ),
    ({"tool_choice": "required"}, {"tool_choice": "required"}, []),
    (
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tool_choice": {"type": "function", "name": "f"}},
        [],
    ),
    (
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            }
        },
        {
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}],
            }
        },
        [],
    ),
    (
        {"logprobs": True, "top_logprobs": 3, "include": ["reasoning.encrypted_content"]},
        {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"], "top_logprobs": 3},
        [],
    ),
    ({"logprobs": False}, {}, []),
    (
        {"stop": ["."], "n": 2, "seed": 7, "logit_bias": {}, "presence_penalty": 0.1, "frequency_penalty": 0.1},
        {},
        ["stop", "n", "seed", "logit_bias", "presence_penalty", "frequency_penalty"],
    ),
    ({"stop": None}, {}, []),
    (
        {"temperature": 0.0, "top_p": 1, "metadata": {"a": "b"}, "unheard_of": [1]},
        {"temperature": 0.0, "top_p": 1, "metadata": {"a": "b"}, "unheard_of": [1]},
        [],
    ),
]


@pytest.mark.parametrize(("fields", "expected", "dropped"), PARAMETERS)
def test_parameters_get_their_names_on_responses(fields, expected, dropped):
    assert shaped({"messages": HI, **fields}) == ({"input": HI, **expected}, dropped)
    assert shaped({**fields, "input": "Hi"}, form="input") == ({"input": "Hi", **expected}, dropped)


MESSAGES = [
    ({"role": "system", "content": "s"}, [{"role": "system", "content": "s"}]),
    ({"role": "developer", "content": "s"}, [{"role": "developer", "content": "s"}]),
    (
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:x"}},
                {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                {"type": "input_text", "text": "already"},
            ],
        },
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "t"},
                    {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AA"},
                    {"type": "input_file", "file_id": "file-1"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:x"},
                    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                    {"type": "input_text", "text": "already"},
                ],
            }
        ],
    ),
    ({"role": "assistant", "content": "a"}, [{"role": "assistant", "content": "a"}]),
    (
        {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
        [{"role": "assistant", "content": [{"type": "output_text", "text": "a"}]}],
    ),
    (
        {"role": "assistant", "content": None, "refusal": "no"},
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
    ),
    (
        {
            "role": "assistant",
            "content": "let me see",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}},
            ],
        },
        [
            {"role": "assistant", "content": "let me see"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
        ],
    ),
    (
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": {"name": "f"}}]},
        [{"type": "function_call", "call_id": "c1", "name": "f"}],
    ),
    (
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        [{"type": "function_call_output", "call_id": "c1", "output": "42"}],
    ),
    (
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "42"}]},
        [{"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "42"}]}],
    ),
]


@pytest.mark.parametrize(("message", "items"), MESSAGES)
def test_messages_become_input_items(message, items):
    assert shaped({"messages": [message, *HI]}) == ({"input": [*items, *HI]}, [])


def test_names_of_messages_are_dropped_and_recorded():
    body, dropped = shaped({"messages": [{"role": "user", "name": "ann", "content": "Hi"}]})
    assert (body, dropped) == ({"input": HI}, ["messages[].name"])


def test_an_adjustment_is_the_same_object_for_every_row():
    fields = as_raw({"messages": HI, "stop": "."})
    first, second = (OpenAI().shape(fields, "messages", "responses")[1] for _ in range(2))
    assert first[0] is second[0]
    assert (first[0].action, first[0].certainty) == ("dropped", "confirmed")
    assert first[0].source


@pytest.mark.parametrize(
    ("fields", "form", "endpoint", "says"),
    [
        ({"input": "x"}, "input", "chat", "write 'messages'"),
        ({"input": "x"}, "input", "completions", "write 'messages' or 'prompt'"),
        ({"messages": [*HI, *HI]}, "messages", "embeddings", "takes one text"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages", "moderations", "takes one text"),
        ({"messages": [{"role": "user", "content": []}]}, "messages", "completions", "takes one text"),
        ({"messages": "Hi"}, "messages", "embeddings", "takes one text"),
        ({"temperature": 1}, "messages", "responses", "no 'messages'"),
        ({"messages": "Hi"}, "messages", "responses", "no list"),
        ({"messages": ["Hi"]}, "messages", "responses", "no list"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages", "responses", "role 'function'"),
        ({"messages": [{"content": "x"}]}, "messages", "responses", "role None"),
        ({"messages": HI, "functions": []}, "messages", "responses", "write 'tools'"),
        (
            {"messages": [{"role": "assistant", "function_call": {"name": "f"}}]},
            "messages",
            "responses",
            "write 'tools'",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_in_words(fields, form, endpoint, says):
    with pytest.raises(ValueError, match=says):
        OpenAI().shape(as_raw(fields), form, endpoint)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("embeddings", {"input": "Hi", "dimensions": 8}),
        ("moderations", {"input": "Hi", "dimensions": 8}),
        ("completions", {"prompt": "Hi", "dimensions": 8}),
    ],
)
def test_a_single_user_text_serves_where_one_text_is_wanted(endpoint, expected):
    assert shaped({"messages": HI, "dimensions": 8}, endpoint=endpoint) == (expected, [])
