"""Every form a row may have, what becomes of it, and what is said of rows in none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bydawn.errors import ConfigError
from bydawn.io import RowShape, Template, open_source
from bydawn.io.forms import ID_CHARACTERS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USER = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


def line(**fields: Any) -> bytes:
    return msgspec.json.encode(fields)


def native(url: str = "/v1/chat/completions", **body: Any) -> bytes:
    return line(custom_id="c1", method="POST", url=url, body=body)


# --- canonical rows


def test_a_chat_row_keeps_its_bytes(read: Callable[..., Any]) -> None:
    got = read(
        b'{"id": "a17", "messages": [ {"role":"user","content":"\\u0068i"} ], "max_tokens": 64, "model": "openai/m"}'
    )
    request = got.requests[0]
    assert (request.id, request.model, request.form, request.endpoint) == ("a17", "openai/m", "messages", None)
    assert {name: bytes(value) for name, value in request.fields.items()} == {
        "messages": b'[ {"role":"user","content":"\\u0068i"} ]',
        "max_tokens": b"64",
    }


def test_a_prompt_becomes_a_user_message(read: Callable[..., Any]) -> None:
    got = read(line(prompt='say "é"', temperature=0))
    assert got.fields() == {"messages": [{"role": "user", "content": 'say "é"'}], "temperature": 0}
    assert got.requests[0].form == "messages"


def test_an_empty_prompt_is_the_users_affair(read: Callable[..., Any]) -> None:
    assert read(line(prompt="")).fields() == {"messages": [{"role": "user", "content": ""}]}


@pytest.mark.parametrize("prompt", ["Once", ["Once", "Twice"], [1, 2]])
def test_a_prompt_for_completions_stays_one(read: Callable[..., Any], prompt: object) -> None:
    assert read(line(prompt=prompt), endpoint="completions").fields() == {"prompt": prompt}


@pytest.mark.parametrize("value", ["text", ["a", "b"], [1, 2], [[1], [2]], [{"role": "user", "content": "x"}]])
def test_an_input_stays_as_it_is(read: Callable[..., Any], value: object) -> None:
    got = read(line(id="e", input=value, dimensions=256))
    assert got.fields() == {"input": value, "dimensions": 256}
    assert got.requests[0].form == "input"


@pytest.mark.parametrize("prompt", [5, {}, True])
def test_a_prompt_for_completions_is_text_or_a_list(read: Callable[..., Any], prompt: object) -> None:
    assert "must be text or a list" in read(line(prompt=prompt), endpoint="completions").messages


MESSAGES = [
    [
        {"role": "developer", "content": "d"},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "x"}]},
    ],
    [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {}}]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
        {"role": "assistant", "refusal": "no"},
        {"role": "function", "name": "f", "content": None},
    ],
    [{"content": "role comes last", "role": "system"}],
]


@pytest.mark.parametrize("messages", MESSAGES)
def test_messages_of_every_role_pass(read: Callable[..., Any], messages: object) -> None:
    assert read(line(messages=messages)).fields() == {"messages": messages}


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([], "messages is empty"),
        ("hi", "Expected `array`, got `str`"),
        (None, "no request to be seen"),
        ([{"role": "human", "content": "x"}], "unknown role 'human' - at `messages[0].role`"),
        ([{"content": "x"}], "missing required field `role` - at `messages[0]`"),
        ([*USER, {"role": "user"}], "missing required field `content` - at `messages[1]`"),
        ([{"role": "user", "content": 5}], "at `messages[0].content`"),
        ([{"role": "user", "content": [{"text": "x"}]}], "missing required field `type` - at `messages[0].content[0]`"),
        ([{"role": "user", "content": None}], "got `null`"),
        (["hi"], "Expected `object`, got `str` - at `messages[0]`"),
        ([{"role": "tool", "content": "x"}], "`tool_call_id`"),
    ],
)
def test_malformed_messages_name_the_place(read: Callable[..., Any], messages: object, complaint: str) -> None:
    got = read(line(messages=messages))
    assert got.lines == [1]
    assert complaint in got.messages


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "fields none"),
        ({"id": "a", "text": "x"}, "no request to be seen in the fields 'text'"),
        ({"prompt": "x", "messages": USER}, "the row has messages and prompt"),
        ({"input": "x", "messages": USER}, "the row has messages and input"),
        ({"input": "x", "prompt": "y"}, "the row has prompt and input"),
        ({"prompt": ["x"]}, "prompt is a list"),
        ({"prompt": {"id": "p"}}, "prompt is an object"),
        ({"input": 5}, "input is a number"),
        ({"input": ""}, "input is empty"),
        ({"input": []}, "input is empty"),
        ({"prompt": "x", "model": ""}, 'model is ""'),
        ({"prompt": "x", "model": 4}, "model is 4"),
        ({"custom_id": "x", "params": {"model": "m"}}, "'params'"),
        ({f"f{number}": 1 for number in range(50)}, "and 38 more"),
    ],
)
def test_a_row_in_no_form_says_what_was_seen(read: Callable[..., Any], fields: dict[str, Any], complaint: str) -> None:
    got = read(line(**fields))
    assert got.lines == [1]
    assert complaint in got.messages


# --- ids


@pytest.mark.parametrize(
    ("raw", "identifier"),
    [
        ('"a 17/é 😀"', "a 17/é 😀"),
        ("17", "17"),
        ("-1.50", "-1.50"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("null", None),
        ('""', None),
        ('" "', " "),
        (f'"{"x" * ID_CHARACTERS_MAX}"', "x" * ID_CHARACTERS_MAX),
    ],
)
def test_an_id_is_any_text_or_number(read: Callable[..., Any], raw: str, identifier: str | None) -> None:
    got = read(f'{{"id": {raw}, "prompt": "x"}}')
    assert not got.problems.total
    assert got.requests[0].id == identifier
    assert "id" not in got.fields()


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ("true", "id is true"),
        ("[1]", "id is a list"),
        ("{}", "id is an object"),
        (f'"{"x" * (ID_CHARACTERS_MAX + 1)}"', "10,001 characters"),
    ],
)
def test_other_ids_are_problems(read: Callable[..., Any], raw: str, complaint: str) -> None:
    assert complaint in read(f'{{"id": {raw}, "prompt": "x"}}').messages


def test_custom_id_is_another_word_for_id(read: Callable[..., Any]) -> None:
    got = read(line(custom_id="x", prompt="y"))
    assert got.requests[0].id == "x"
    assert "custom_id" not in got.fields()
    assert "id and custom_id" in read(line(id="a", custom_id="x", prompt="y")).messages


# --- OpenAI's own lines


@pytest.mark.parametrize(
    ("url", "endpoint", "body"),
    [
        ("/v1/chat/completions", "chat", {"messages": USER}),
        ("/chat/completions", "chat", {"messages": USER}),
        ("/v1/responses", "responses", {"input": "x"}),
        ("/v1/responses", "responses", {"prompt": {"id": "pmpt_1"}}),
        ("/v1/embeddings", "embeddings", {"input": ["x"]}),
        ("/v1/completions", "completions", {"prompt": "x"}),
        ("/v1/moderations", "moderations", {"input": "x"}),
    ],
)
def test_a_native_line_names_its_endpoint(
    read: Callable[..., Any], url: str, endpoint: str, body: dict[str, Any]
) -> None:
    got = read(native(url, model="gpt-4o-mini", **body))
    request = got.requests[0]
    assert (request.id, request.model, request.form, request.endpoint) == ("c1", "gpt-4o-mini", "native", endpoint)
    assert got.fields() == body


def test_a_native_line_may_leave_out_its_id_and_model(read: Callable[..., Any]) -> None:
    request = read(line(method="POST", url="/v1/embeddings", body={"input": "x"})).requests[0]
    assert (request.id, request.model) == (None, None)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (line(custom_id="a", method="GET", url="/v1/embeddings", body={"input": "x"}), 'method is "GET"'),
        (line(custom_id="a", url="/v1/embeddings", body={"input": "x"}), "method is null"),
        (line(custom_id="a", method="POST", body={"input": "x"}), "url is null"),
        (line(custom_id="a", method="POST", url=5, body={"input": "x"}), "url is 5"),
        (native("/v1/images/generations", prompt="x"), 'url is "/v1/images/generations"'),
        (native("https://api.openai.com/v1/embeddings", input="x"), "use /v1/chat/completions"),
        (line(custom_id="a", method="POST", url="/v1/embeddings"), "body is null"),
        (line(custom_id="a", method="POST", url="/v1/embeddings", body=[]), "body is []"),
        (line(custom_id="a", method="POST", url="/v1/embeddings", body={"input": "x"}, n=1), "'n' stands beside body"),
        (line(custom_id=[], method="POST", url="/v1/embeddings", body={"input": "x"}), "id is a list"),
        (native(model="m"), "body has no messages"),
        (native(messages=[]), "messages is empty"),
        (native(messages=USER, temperature="hot"), 'temperature is "hot"'),
        (native("/v1/embeddings", model="m"), "body has no input"),
        (native("/v1/embeddings", input=""), "input is empty"),
        (
            b'{"method":"POST","url":"/v1/embeddings","body":{"input":"a","input":"b"}}',
            "'input' is given twice in body",
        ),
    ],
)
def test_a_native_line_must_be_whole(read: Callable[..., Any], content: bytes, complaint: str) -> None:
    got = read(content)
    assert got.lines == [1]
    assert complaint in got.messages


def test_a_native_line_must_fit_the_jobs_endpoint(read: Callable[..., Any]) -> None:
    content = native("/v1/embeddings", input="x")
    assert read(content, endpoint="embeddings").requests[0].endpoint == "embeddings"
    assert "but the job is for chat" in read(content, endpoint="chat").messages


def test_options_that_native_lines_cannot_take_are_problems(read: Callable[..., Any]) -> None:
    content = native("/v1/responses", input="x")
    assert "--system does not apply" in read(content, system=Template("s")).messages
    assert "--schema does not apply" in read(content, response_format=SCHEMA).messages
    assert read(native(messages=USER), response_format=SCHEMA).fields()["response_format"] == SCHEMA


# --- what the job adds


@pytest.mark.parametrize("content", [line(prompt="x", temperature=1), native(messages=USER, temperature=1)])
def test_a_rows_own_fields_win_over_the_jobs(read: Callable[..., Any], content: bytes) -> None:
    fields = read(content, params={"temperature": 0, "seed": 7}, response_format=SCHEMA).fields()
    assert (fields["temperature"], fields["seed"], fields["response_format"]) == (1, 7, SCHEMA)
    own = {"type": "text"}
    assert read(line(prompt="x", response_format=own), response_format=SCHEMA).fields()["response_format"] == own


def test_a_null_in_the_row_does_not_hide_a_default(read: Callable[..., Any]) -> None:
    assert read(line(prompt="x", seed=None), params={"seed": 7}).fields()["seed"] == 7


def test_a_template_makes_requests_of_any_row(read: Callable[..., Any]) -> None:
    content = line(id=3, title="Fire", messages="not looked at", temperature="hot", model="X5")
    got = read(content, prompt=Template("Sort: {{ title }}"), system=Template("Be {{ id }}"), params={"seed": 1})
    assert got.fields() == {
        "messages": [{"role": "system", "content": "Be 3"}, {"role": "user", "content": "Sort: Fire"}],
        "seed": 1,
    }
    assert (got.requests[0].id, got.requests[0].model) == ("3", None)


def test_a_templated_rows_model_counts_when_written_in_full(read: Callable[..., Any]) -> None:
    got = read(line(model="openai/gpt-4o", t="x"), prompt=Template("{{ t }}"))
    assert got.requests[0].model == "openai/gpt-4o"


@pytest.mark.parametrize(
    ("endpoint", "fields", "form"),
    [
        ("embeddings", {"input": "x"}, "input"),
        ("moderations", {"input": "x"}, "input"),
        ("completions", {"prompt": "x"}, "messages"),
        ("responses", {"messages": [{"role": "user", "content": "x"}]}, "messages"),
    ],
)
def test_a_template_fits_the_endpoint(
    read: Callable[..., Any], endpoint: str, fields: dict[str, Any], form: str
) -> None:
    got = read(line(t="x"), prompt=Template("{{ t }}"), endpoint=endpoint)
    assert (got.fields(), got.requests[0].form) == (fields, form)


def test_a_template_without_its_column_is_a_problem(read: Callable[..., Any]) -> None:
    got = read(line(t="x") + b"\n" + line(u="x"), prompt=Template("{{ t }}"))
    assert got.lines == [2]
    assert "columns here: 'u'" in got.messages


def test_a_system_text_alone_goes_before_prompts_and_messages(read: Callable[..., Any]) -> None:
    system = Template("Speak {{ language }}.")
    expected = [{"role": "system", "content": "Speak fr."}, {"role": "user", "content": "hi"}]
    for row in (line(prompt="hi", language="fr"), line(messages=USER, language="fr")):
        assert read(row, system=system).fields()["messages"] == expected


@pytest.mark.parametrize("role", ["system", "developer"])
def test_two_system_texts_are_a_problem(read: Callable[..., Any], role: str) -> None:
    content = line(messages=[{"role": role, "content": "a"}, *USER])
    assert "of their own" in read(content, system=Template("b")).messages


def test_a_system_text_for_an_input_is_a_problem(read: Callable[..., Any]) -> None:
    assert "--system needs messages" in read(line(input="x"), system=Template("b")).messages


@pytest.mark.parametrize("endpoint", ["embeddings", "moderations", "completions"])
@pytest.mark.parametrize("option", [{"system": Template("x")}, {"response_format": SCHEMA}])
def test_options_without_meaning_are_configuration_errors(
    tmp_path: Path, endpoint: Any, option: dict[str, Any]
) -> None:
    path = tmp_path / "in.jsonl"
    path.touch()
    with pytest.raises(ConfigError, match=f"no meaning for {endpoint}"):
        open_source(path, shape=RowShape(endpoint=endpoint, **option))


@pytest.mark.parametrize("params", [{"temperature": "hot"}, {"x": object()}, {"x": "\ud800"}])
def test_bad_job_parameters_are_configuration_errors(tmp_path: Path, params: dict[str, Any]) -> None:
    path = tmp_path / "in.jsonl"
    path.touch()
    with pytest.raises(ConfigError, match="parameter"):
        open_source(path, shape=RowShape(params=params))


def test_rows_nested_at_the_limit_never_raise(read: Callable[..., Any]) -> None:
    """A row that one decoder just takes may be too deep for the next."""
    nests = [b"[" * depth + b"]" * depth for depth in range(700, 1010)]
    deep = [b'{"messages":%b}' % nest for nest in nests]
    deep += [b'{"method":"POST","url":"/v1/embeddings","body":{"input":"x","y":%b}}' % nest for nest in nests]
    got = read(b"\n".join(deep))
    assert len(got.requests) + got.problems.total == len(deep)
