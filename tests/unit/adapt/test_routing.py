"""Which endpoint a request goes to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bydawn.adapt import choose_endpoint, load_facts
from bydawn.core.model import ModelRef

FACTS = load_facts()
TOOLS = {"tools": [{"type": "function"}]}


def chosen(model: str, form: Any, fields: dict[str, Any] | None = None, wanted: Any = None) -> tuple[str, bool]:
    raw = msgspec.json.decode(msgspec.json.encode(fields or {}), type=dict[str, msgspec.Raw])
    endpoint, adjustment = choose_endpoint(FACTS.model(ModelRef("openai", model)), form, raw, wanted)
    return endpoint, adjustment is not None


@pytest.mark.parametrize(
    ("model", "endpoint"),
    [
        ("gpt-4o-mini", "responses"),
        ("gpt-6-astra", "responses"),
        ("text-embedding-3-small", "embeddings"),
        ("omni-moderation-latest", "moderations"),
        ("my-embedder-v2", "embeddings"),
        ("somebody/moderation-2030", "moderations"),
        ("gpt-7-nova", "responses"),
    ],
)
def test_an_input_goes_where_the_model_takes_it(model: str, endpoint: str) -> None:
    assert chosen(model, "input") == (endpoint, False)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "o3-mini", "gpt-5.6-terra", "gpt-6-astra", "gpt-7-nova", "o1-mini"])
def test_messages_go_to_chat(model: str) -> None:
    assert chosen(model, "messages") == ("chat", False)


@pytest.mark.parametrize(
    "model", ["gpt-5-pro", "o3-pro-2025-06-10", "gpt-5.5-pro", "gpt-5.3-codex", "o3-deep-research"]
)
def test_a_model_that_answers_on_responses_only_gets_them_there(model: str) -> None:
    assert chosen(model, "messages") == ("responses", True)


@pytest.mark.parametrize(
    ("model", "fields", "endpoint"),
    [
        ("gpt-5.4", TOOLS, "chat"),  # runs without effort by default
        ("gpt-5.4", TOOLS | {"reasoning_effort": "low"}, "responses"),
        ("gpt-5.4", TOOLS | {"reasoning_effort": "minimal"}, "responses"),  # which would become low
        ("gpt-5.5", TOOLS, "responses"),
        ("gpt-5.6-terra", TOOLS, "responses"),  # reasons by default
        ("gpt-5.6-terra", TOOLS | {"reasoning_effort": "none"}, "chat"),
        ("gpt-5.6-terra", {"tools": []}, "chat"),
        ("gpt-5.6-terra", {"tools": None}, "chat"),
        ("gpt-6-astra", TOOLS, "responses"),
        ("gpt-6-astra", TOOLS | {"reasoning_effort": "none"}, "responses"),  # which would become low
        ("gpt-6.1-sol", TOOLS, "responses"),
        ("gpt-6-luna", TOOLS, "responses"),
        ("gpt-5.2", TOOLS | {"reasoning_effort": "high"}, "chat"),  # older: both together are fine
        ("gpt-4o", TOOLS, "chat"),
        ("gpt-7-nova", TOOLS, "chat"),
    ],
)
def test_tools_send_a_request_to_responses_where_chat_would_refuse_them(
    model: str, fields: dict[str, Any], endpoint: str
) -> None:
    assert chosen(model, "messages", fields) == (endpoint, endpoint == "responses")


@pytest.mark.parametrize("form", ["messages", "input", "native"])
def test_what_the_user_wants_wins(form: str) -> None:
    assert chosen("gpt-5-pro", form, TOOLS, wanted="chat") == ("chat", False)


def test_the_adjustment_names_the_reason_and_is_one_for_all_rows() -> None:
    facts = FACTS.model(ModelRef("openai", "gpt-6-astra"))
    _, first = choose_endpoint(facts, "messages", TOOLS, None)
    _, second = choose_endpoint(facts, "messages", TOOLS | {"temperature": 1}, None)
    assert first is second
    assert first is not None
    assert (first.action, first.parameter) == ("rerouted", "endpoint")
    assert "openai/gpt-6-astra takes tools only without reasoning effort" in first.detail
