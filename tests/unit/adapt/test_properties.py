"""Whatever the body: nothing is lost, nothing is altered in place, twice is once, and the provider accepts it.

`refusals` restates OpenAI's rules a second time, in code, from the protocol notes and not from the facts file.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.adapt import load_facts
from bydawn.core.model import ModelRef

FACTS = load_facts()

MODELS = [
    "o1-mini",
    "o1-preview",
    "o1",
    "o1-pro",
    "o3",
    "o3-pro",
    "o3-mini",
    "o4-mini",
    "gpt-3.5-turbo",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-pro",
    "gpt-5.1",
    "gpt-5.2",
    "gpt-5.2-pro",
    "gpt-5.4",
    "gpt-5.4-nano",
    "gpt-5.5",
    "gpt-5.6-sol",
    "gpt-5.6-luna",
    "gpt-6-astra",
    "gpt-6-sol",
    "gpt-6-luna",
    "gpt-6.1-sol",
    "gpt-6.1-terra",
    "gpt-6.2-astra",
    "gpt-6.2-sol",
    "ft:gpt-4o-mini-2024-07-18:org::id",
]

EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]


def base(model: str) -> str:
    return model.split(":")[1] if model.startswith("ft:") else model


def reasons(model: str) -> bool:
    return bool(re.match(r"o[134]|gpt-[56]", model))


def accepted_efforts(model: str, endpoint: str) -> list[str]:
    """Section 6.3 of the notes."""
    most = ["max"] if endpoint == "responses" else []
    table = [
        (r"o1-(mini|preview)", []),
        (r"o[134]", ["low", "medium", "high"]),
        (r"gpt-5-pro", ["high"]),
        (r"gpt-5(-mini|-nano)?$", ["minimal", "low", "medium", "high"]),
        (r"gpt-5\.1$", ["none", "low", "medium", "high"]),
        (r"gpt-5\.\d-pro", ["medium", "high", "xhigh"]),
        (r"gpt-5\.[245]", ["none", "low", "medium", "high", "xhigh"]),
        (r"gpt-5\.6", ["none", "low", "medium", "high", "xhigh", *most]),
        (r"gpt-6-(sol|luna)|gpt-6\.1-terra", ["none", "low", "medium", "high", "xhigh", "max"]),
        (r"gpt-6", ["low", "medium", "high", "xhigh", *most]),
    ]
    return next((efforts for pattern, efforts in table if re.match(pattern, model)), [])


def default_effort(model: str) -> str:
    return "none" if re.match(r"gpt-5\.[124](-mini|-nano)?$", model) else "medium"


def stated_effort(body: dict[str, Any], endpoint: str) -> str | None:
    if endpoint == "responses":
        return (body.get("reasoning") or {}).get("effort")
    return body.get("reasoning_effort")


def refusals(model: str, endpoint: str, body: dict[str, Any]) -> set[str]:
    """The parameters for which the service would answer 400."""
    model = base(model)
    effort = stated_effort(body, endpoint)
    return (
        refused_everywhere(endpoint, body)
        | refused_sampling(model, endpoint, body, effort or default_effort(model))
        | refused_by_kind(model, endpoint, body)
        | ({"effort"} if effort is not None and effort not in accepted_efforts(model, endpoint) else set())
    )


def refused_everywhere(endpoint: str, body: dict[str, Any]) -> set[str]:
    found = set()
    if body.get("stream"):
        found.add("stream")
    if body.get("service_tier", "auto") not in ("auto", "default"):
        found.add("service_tier")
    if endpoint == "chat" and "metadata" in body and body.get("store") is not True:
        found.add("metadata")
    if endpoint == "responses":
        found |= body.keys() & {"max_tokens", "max_completion_tokens"}
    if isinstance(body.get("temperature"), int | float) and body["temperature"] > 2:
        found.add("temperature")
    return found


def refused_sampling(model: str, endpoint: str, body: dict[str, Any], effort: str) -> set[str]:
    if not reasons(model):
        return set()
    found = body.keys() & {"presence_penalty", "frequency_penalty", "logit_bias"}
    if re.match(r"gpt-5\.[124]", model) and effort == "none":
        return found
    found |= body.keys() & {"top_p", "logprobs", "top_logprobs"}
    found |= {"include"} if "message.output_text.logprobs" in body.get("include", []) else set()
    takes_one = endpoint == "chat" or re.match(r"gpt-5\.[124]", model)
    if "temperature" in body and not (takes_one and body["temperature"] == 1):
        found.add("temperature")
    return found


def refused_by_kind(model: str, endpoint: str, body: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    newest = bool(re.match(r"gpt-5\.6|gpt-6", model))
    if endpoint == "chat":
        if reasons(model):
            found |= body.keys() & {"max_tokens"}
        if re.match(r"o1-(mini|preview)", model):
            found |= body.keys() & {"tools", "tool_choice", "response_format"}
            found |= {"system" for row in body["messages"] if row["role"] in ("system", "developer")}
        if re.match(r"o3$|o4-mini|gpt-[56]", model):
            found |= body.keys() & {"stop"}
        if re.match(r"gpt-[56]", model):
            found |= body.keys() & {"prediction", "modalities", "audio"}
        if re.match(r"o[134]", model):
            found |= body.keys() & {"parallel_tool_calls"}
        if re.match(r"gpt-(5\.[456]|6)", model) and "none" in accepted_efforts(model, "chat") and body.get("tools"):
            effort = body.get("reasoning_effort") or default_effort(model)
            found |= {"tools"} if effort != "none" else set()
    if not reasons(model) or re.match(r"o1-(mini|preview)", model):
        found |= body.keys() & {"reasoning_effort", "reasoning"}
    if not re.match(r"gpt-[56]", model):
        found |= {"verbosity"} if "verbosity" in body or "verbosity" in (body.get("text") or {}) else set()
    if not newest:
        found |= body.keys() & {"prompt_cache_options"} | (body.get("reasoning") or {}).keys() & {"mode", "context"}
    return found


TEXTS = st.text(min_size=1, max_size=8)
CONTENT = TEXTS | st.lists(st.builds(lambda text: {"type": "text", "text": text}, TEXTS), min_size=1, max_size=3)
MESSAGES = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "developer", "user", "assistant"]),
        CONTENT,
    ),
    max_size=5,
)
COMMON = {
    "temperature": st.sampled_from([0, 0.7, 1, 1.0, 2, 2.5]),
    "top_p": st.just(0.5),
    "presence_penalty": st.just(1),
    "frequency_penalty": st.just(1),
    "logprobs": st.booleans(),
    "top_logprobs": st.just(2),
    "logit_bias": st.just({"5": 1}),
    "stop": st.just(["x"]),
    "max_tokens": st.integers(1, 99),
    "max_completion_tokens": st.integers(1, 99),
    "stream": st.booleans(),
    "service_tier": st.sampled_from(["auto", "default", "flex"]),
    "metadata": st.just({"a": "b"}),
    "store": st.booleans(),
    "verbosity": st.just("low"),
    "tools": st.sampled_from([[], [{"type": "function"}]]),
    "tool_choice": st.just("auto"),
    "parallel_tool_calls": st.booleans(),
    "prompt_cache_options": st.just({}),
    "unheard_of": st.just({"deep": [1, 2.50]}),
}
CHAT_BODIES = st.fixed_dictionaries(
    {"messages": MESSAGES},
    optional=COMMON
    | {
        "reasoning_effort": st.sampled_from([*EFFORTS, None]),
        "response_format": st.just({"type": "json_object"}),
        "prediction": st.just({}),
        "modalities": st.just(["text"]),
        "audio": st.just({}),
    },
)
RESPONSES_BODIES = st.fixed_dictionaries(
    {"input": TEXTS},
    optional=COMMON
    | {
        "max_output_tokens": st.integers(1, 99),
        "include": st.lists(st.sampled_from(["message.output_text.logprobs", "file_search_call.results"]), max_size=2),
        "reasoning": st.fixed_dictionaries(
            {}, optional={"effort": st.sampled_from(EFFORTS), "mode": st.just("pro"), "summary": st.just("auto")}
        ),
        "text": st.fixed_dictionaries({}, optional={"verbosity": st.just("low"), "format": st.just({"type": "text"})}),
    },
)
BODIES = st.one_of(st.tuples(st.just("chat"), CHAT_BODIES), st.tuples(st.just("responses"), RESPONSES_BODIES))


def as_raw(body: dict[str, Any]) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(body), type=dict[str, msgspec.Raw])


def plain(body: dict[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(body))


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=20)
@given(sent=BODIES)
def test_an_adapted_body_is_accepted(model: str, sent: tuple[Any, dict[str, Any]]) -> None:
    endpoint, body = sent
    out, _ = FACTS.adapter(ModelRef("openai", model), endpoint).adapt(as_raw(body))
    assert refusals(model, endpoint, plain(out)) == set()


@settings(max_examples=200)
@given(model=st.sampled_from(MODELS), sent=BODIES)
def test_an_acceptable_body_is_left_alone(model: str, sent: tuple[Any, dict[str, Any]]) -> None:
    """Adaptation is not free to drop more than it must."""
    endpoint, body = sent
    if refusals(model, endpoint, body):
        return
    given_body = as_raw(body)
    out, made = FACTS.adapter(ModelRef("openai", model), endpoint).adapt(given_body)
    assert out is given_body
    assert not made


@given(model=st.sampled_from(MODELS), sent=BODIES)
def test_adapting_twice_is_adapting_once(model: str, sent: tuple[Any, dict[str, Any]]) -> None:
    endpoint, body = sent
    adapter = FACTS.adapter(ModelRef("openai", model), endpoint)
    once, _ = adapter.adapt(as_raw(body))
    twice, made = adapter.adapt(once)
    assert twice is once
    assert not made


@given(model=st.sampled_from(MODELS), sent=BODIES)
def test_the_body_given_is_not_altered(model: str, sent: tuple[Any, dict[str, Any]]) -> None:
    endpoint, body = sent
    for given_body in (as_raw(body), plain(body)):
        FACTS.adapter(ModelRef("openai", model), endpoint).adapt(given_body)
        assert plain(given_body) == plain(body)


@given(model=st.sampled_from(MODELS), sent=BODIES)
def test_every_change_is_recorded(model: str, sent: tuple[Any, dict[str, Any]]) -> None:
    """What is gone was dropped or renamed by name; what is new was renamed to or added; nothing else differs."""
    endpoint, body = sent
    out, made = FACTS.adapter(ModelRef("openai", model), endpoint).adapt(as_raw(body))
    touched = {re.split(r"\.| (?=message\.)", done.parameter)[0].replace("system message", "messages") for done in made}
    touched |= {name for done in made for name in re.findall(r"^to (\w+):", done.detail)}
    before, after = plain(body), plain(out)
    changed = {key for key in before.keys() | after.keys() if before.get(key, ...) != after.get(key, ...)}
    assert changed <= touched
    assert bool(made) == (before != after)


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return [
        part["text"] if isinstance(part, dict) else part
        for row in messages
        for part in (row["content"] if isinstance(row["content"], list) else [row["content"]])
    ]


@given(model=st.sampled_from(["o1-mini", "o1-preview"]), messages=MESSAGES)
def test_no_message_text_is_lost_by_moving_it(model: str, messages: list[dict[str, Any]]) -> None:
    """Every text is still there, system texts in their order; no other message changes its place."""
    out, _ = FACTS.adapter(ModelRef("openai", model), "chat").adapt(as_raw({"messages": messages}))
    after = plain(out)["messages"]
    system = [row for row in messages if row["role"] in ("system", "developer")]
    others = [row for row in messages if row["role"] not in ("system", "developer")]
    whole = "\n".join(texts(after))
    assert "\n\n".join(texts(system)) in whole
    for text in texts(others):
        assert text in whole
    made_user = system and not any(row["role"] == "user" for row in others)
    assert [row["role"] for row in after if not (made_user and row["role"] == "user")] == [
        row["role"] for row in others
    ]
