"""Goal: the lines that are uploaded are exactly what OpenAI takes, one line each, and stay so for a further attempt."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from bydawn.providers.openai import OpenAI

CODEC = OpenAI()


def test_a_line_has_the_four_keys_and_the_model_in_its_body():
    body = {"messages": Raw(b'[{"role": "user", "content": "Hi"}]'), "temperature": 0.5}
    assert CODEC.encode("r1", "chat", "gpt-4o-mini", body) == (
        b'{"custom_id":"r1","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4o-mini",'
        b'"messages":[{"role": "user", "content": "Hi"}],"temperature":0.5}}\n'
    )


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("chat", "/v1/chat/completions"),
        ("responses", "/v1/responses"),
        ("embeddings", "/v1/embeddings"),
        ("completions", "/v1/completions"),
        ("moderations", "/v1/moderations"),
    ],
)
def test_the_url_is_the_endpoints(endpoint, url):
    assert msgspec.json.decode(CODEC.encode("r1", endpoint, "m", {}))["url"] == url


def test_bytes_of_the_user_are_spliced_as_they_are():
    exact = b'{"b":1.0,"a":"\\u00e9 \xc3\xa9","n":1e3}'
    assert exact in CODEC.encode("r1", "chat", "m", {"response_format": Raw(exact)})


def test_line_breaks_between_tokens_become_spaces():
    pretty = Raw(b'[\r\n  {"role": "user",\n "content": "a\\nb"}\n]')
    line = CODEC.encode("r1", "chat", "m", {"messages": pretty})
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert msgspec.json.decode(line)["body"]["messages"] == [{"role": "user", "content": "a\nb"}]


TEXT = st.text(st.characters(exclude_categories=("Cs",)))
BODIES = st.dictionaries(
    TEXT.filter(lambda name: name != "model"),
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT | st.lists(TEXT),
)


@given(custom_id=TEXT, model=TEXT, body=BODIES, raw=st.booleans())
def test_a_line_reads_back_as_what_was_encoded(custom_id, model, body, raw):
    given_body = {name: Raw(msgspec.json.encode(value)) if raw else value for name, value in body.items()}
    line = CODEC.encode(custom_id, "chat", model, given_body)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert msgspec.json.decode(line) == {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": model, **body},
    }


@given(first=TEXT, second=TEXT, body=BODIES)
def test_a_readdressed_line_is_the_line_that_would_have_been_encoded(first, second, body):
    line = CODEC.encode(first, "chat", "m", body)
    assert CODEC.readdress(line, second) == CODEC.encode(second, "chat", "m", body)


@pytest.mark.parametrize(
    ("given_input", "inputs"),
    [(b'"one text"', 1), (b'["a","b","c"]', 3), (b"[1,2,3]", 1), (b"[[1,2],[3]]", 2), (b"[]", 1)],
)
def test_embeddings_inputs_are_counted_in_bodies_and_lines(given_input, inputs):
    body = {"input": Raw(given_input)}
    assert CODEC.inputs("embeddings", body) == inputs
    assert CODEC.inputs_of(CODEC.encode("r1", "embeddings", "m", body), "embeddings") == inputs
    assert CODEC.inputs("responses", body) == 0
    assert CODEC.inputs_of(CODEC.encode("r1", "responses", "m", body), "responses") == 0


def test_limits_are_the_documented_ones_with_a_margin():
    limits = CODEC.limits("embeddings")
    assert (limits.rows, limits.bytes, limits.inputs) == (50_000, 190_000_000, 50_000)
    assert CODEC.limits("chat").inputs is None
    assert limits.row_bytes < limits.bytes
