"""Answers of the seeded generator in OpenAI's shapes, and the error bodies and usage that go with them."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bydawn.sandbox.openai.records import Usage
from bydawn.sandbox.openai.rules import embedding_inputs
from bydawn.sandbox.openai.tokens import BYTES_PER_TOKEN, count_body, count_content, count_text
from bydawn.sandbox.seeded import Draw, sentence, unit_vector, value_for

if TYPE_CHECKING:
    from bydawn.sandbox.openai.models import Endpoint, Model


CACHE_TOKENS_MIN = 1_024
"""Shorter prompts are never cached."""
_REASONING_STEP = 64
_REASONING_STEPS = {"none": 0, "minimal": 0, "low": 2, "medium": 6, "high": 16, "xhigh": 24, "max": 32}
"""Most steps of reasoning by effort."""
_MODERATION_CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
_ODD_TEXT = 'One\u2028two\u2029three\u0085four\x0bfive\x1csix \U0001f305 \u00e9 "seven" \\n \u202eeight\r\nnine'
_REFUSAL = "I'm sorry, but I can't help with that."


class Question(NamedTuple):
    """A request that passed the rules and is to be answered."""

    endpoint: Endpoint
    model: Model
    body: dict[str, Any]
    draw: Draw
    created: int
    """Virtual Unix time of the answer."""
    outcome: str | None
    """A bent answer: refuse, content_filter, truncate, tool_call, empty, odd_text; None is a straight one."""


class _Text(NamedTuple):
    """What the model says once, before it is shaped."""

    content: str | None
    refusal: str | None
    calls: list[dict[str, str]]
    """``{"name", "arguments"}`` of tool calls."""
    finish: str
    tokens: int
    reasoning_tokens: int


def seeded_answer(question: Question) -> dict[str, Any]:
    """The response body for a question, usage included."""
    match question.endpoint:
        case "chat":
            return _chat(question)
        case "responses":
            return _responses(question)
        case "embeddings":
            return _embeddings(question)
        case "completions":
            return _completions(question)
        case "moderations":
            return _moderations(question)


# What is said


def _say(question: Question) -> _Text:
    body, draw = question.body, question.draw
    reasoning = _reasoning_tokens(question)
    cap = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens")
    called = _called_tool(question)
    if question.outcome == "refuse":
        return _Text(None, _REFUSAL, [], "stop", reasoning + count_text(_REFUSAL), reasoning)
    if called is not None:
        tokens = reasoning + count_text(called["arguments"]) + count_text(called["name"])
        return _Text(None, None, [called], "tool_calls", tokens, reasoning)
    bent = {"empty": "", "odd_text": _ODD_TEXT}.get(question.outcome or "")
    text = _content(body, draw) if bent is None else bent
    finish = "content_filter" if question.outcome == "content_filter" else "stop"
    if question.outcome == "truncate":
        cap = reasoning + max(1, count_text(text) // 2)
    if cap is not None and reasoning + count_text(text) > cap:
        text, finish = _cut(text, cap - reasoning), "length"
        reasoning = min(reasoning, cap)
    return _Text(text, None, [], finish, reasoning + count_text(text), reasoning)


def _cut(text: str, tokens: int) -> str:
    raw = text.encode()[: max(0, tokens) * BYTES_PER_TOKEN]
    return raw.decode("utf-8", "ignore")


def _content(body: dict[str, Any], draw: Draw) -> str:
    wanted = body.get("response_format") or (body.get("text") or {}).get("format") or {}
    match wanted.get("type"):
        case "json_schema":
            schema = (wanted.get("json_schema") or wanted)["schema"]
            return msgspec.json.encode(value_for(schema, draw)).decode()
        case "json_object":
            return msgspec.json.encode({"answer": sentence(draw), "score": draw.below(100)}).decode()
        case _:
            return sentence(draw)


def _reasoning_tokens(question: Question) -> int:
    if not question.model.reasons:
        return 0
    reasoning = question.body.get("reasoning") or {}
    effort = question.body.get("reasoning_effort") or reasoning.get("effort") or question.model.effort or "medium"
    return _REASONING_STEP * question.draw.between(0, _REASONING_STEPS.get(effort, 6))


def _called_tool(question: Question) -> dict[str, str] | None:
    """The tool call, when one is forced or steered; a free choice is answered in text."""
    tools = [tool.get("function", tool) for tool in question.body.get("tools") or [] if tool.get("type") == "function"]
    choice = question.body.get("tool_choice")
    if question.outcome == "tool_call" and not tools:
        tools = [{"name": "lookup", "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}}]
    elif question.outcome != "tool_call" and (choice in (None, "auto", "none") or not tools):
        return None
    if isinstance(choice, dict):
        name = choice.get("function", choice).get("name")
        tools = [tool for tool in tools if tool.get("name") == name] or tools
    tool = tools[question.draw.below(len(tools))]
    arguments = value_for(tool.get("parameters") or {"type": "object"}, question.draw)
    return {"name": str(tool.get("name")), "arguments": msgspec.json.encode(arguments).decode()}


# How it is shaped


def _chat(question: Question) -> dict[str, Any]:
    texts = [_say(question) for _ in range(question.body.get("n") or 1)]
    return {
        "id": f"chatcmpl-{question.draw.hex(28)}",
        "object": "chat.completion",
        "created": question.created,
        "model": question.model.snapshot,
        "choices": [_choice(index, text, question) for index, text in enumerate(texts)],
        "usage": _chat_usage(question, texts),
        "service_tier": "default",
        "system_fingerprint": f"fp_{question.draw.hex(10)}",
    }


def _choice(index: int, text: _Text, question: Question) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant", "content": text.content, "refusal": text.refusal, "annotations": [],
    }  # fmt: skip
    if text.calls:
        message["tool_calls"] = [
            {"id": f"call_{question.draw.hex(24)}", "type": "function", "function": call} for call in text.calls
        ]
    logprobs = _logprobs(text, question) if question.body.get("logprobs") else None
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": text.finish}


def _logprobs(text: _Text, question: Question) -> dict[str, Any]:
    words = (text.content or "").split()
    alternatives = question.body.get("top_logprobs") or 0
    content = []
    for word in words:
        entry = {"token": word, "logprob": -question.draw.share(), "bytes": list(word.encode())}
        content.append({**entry, "top_logprobs": [entry] * min(alternatives, 1)})
    return {"content": content, "refusal": None}


def _chat_usage(question: Question, texts: list[_Text]) -> dict[str, Any]:
    prompt = count_body(question.body, question.endpoint)
    completion = sum(text.tokens for text in texts)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": _cached(prompt, question.draw), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": sum(text.reasoning_tokens for text in texts),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _cached(prompt_tokens: int, draw: Draw) -> int:
    """Long prompts are cached now and then, in steps of 128 tokens."""
    if prompt_tokens < CACHE_TOKENS_MIN or draw.below(2):
        return 0
    return prompt_tokens // 128 * 128


def _responses(question: Question) -> dict[str, Any]:
    body, draw = question.body, question.draw
    text = _say(question)
    incomplete = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(text.finish)
    prompt = count_body(body, "responses")
    reasoning = body.get("reasoning") or {}
    return {
        "id": f"resp_{draw.hex(48)}",
        "object": "response",
        "created_at": question.created,
        "status": "incomplete" if incomplete else "completed",
        "background": False,
        "completed_at": None if incomplete else question.created,
        "error": None,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "model": question.model.snapshot,
        "output": _output_items(question, text),
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort", question.model.effort), "summary": None},
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": {"format": {"type": "text"}, **(body.get("text") or {})},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation", "disabled"),
        "usage": {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": _cached(prompt, draw)},
            "output_tokens": text.tokens,
            "output_tokens_details": {"reasoning_tokens": text.reasoning_tokens},
            "total_tokens": prompt + text.tokens,
        },
        "user": None,
        "metadata": body.get("metadata") or {},
    }


def _output_items(question: Question, text: _Text) -> list[dict[str, Any]]:
    draw = question.draw
    items: list[dict[str, Any]] = []
    if question.model.reasons:
        items.append({"id": f"rs_{draw.hex(48)}", "type": "reasoning", "summary": []})
    items += [
        {"id": f"fc_{draw.hex(48)}", "type": "function_call", "status": "completed", "call_id": f"call_{draw.hex(24)}"}
        | call
        for call in text.calls
    ]
    part = _content_part(text)
    if part is not None:
        status = "completed" if text.finish == "stop" else "incomplete"
        items.append(
            {"id": f"msg_{draw.hex(48)}", "type": "message", "status": status, "role": "assistant", "content": [part]}
        )
    return items


def _content_part(text: _Text) -> dict[str, Any] | None:
    """The message's one part; a text that was cut off while still reasoning has no message at all."""
    if text.refusal is not None:
        return {"type": "refusal", "refusal": text.refusal}
    if text.content is None or (text.content == "" and text.finish == "length"):
        return None
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text.content}


def _embeddings(question: Question) -> dict[str, Any]:
    body = question.body
    size = body.get("dimensions") or question.model.dimensions
    data = []
    for index, text in enumerate(embedding_inputs(body["input"])):
        vector = unit_vector(Draw(question.model.name, msgspec.json.encode(text).decode()), size)
        shown: Any = vector
        if body.get("encoding_format") == "base64":
            shown = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": shown})
    tokens = count_content(body["input"])
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": question.model.snapshot, "usage": usage}


def _completions(question: Question) -> dict[str, Any]:
    prompts = question.body["prompt"]
    many = len(prompts) if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int) else 1
    texts = [_say(question) for _ in range(many * (question.body.get("n") or 1))]
    prompt = count_body(question.body, "completions")
    completion = sum(text.tokens for text in texts)
    return {
        "id": f"cmpl-{question.draw.hex(28)}",
        "object": "text_completion",
        "created": question.created,
        "model": question.model.snapshot,
        "choices": [
            {"index": index, "text": text.content or "", "logprobs": None, "finish_reason": text.finish}
            for index, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    }


def _moderations(question: Question) -> dict[str, Any]:
    given = question.body["input"]
    texts = given if isinstance(given, list) and given and isinstance(given[0], str) else [given]
    return {
        "id": f"modr-{question.draw.hex(32)}",
        "model": question.model.snapshot,
        "results": [_moderation(question.draw) for _ in texts],
    }


def _moderation(draw: Draw) -> dict[str, Any]:
    scores = {name: draw.share() ** 4 for name in _MODERATION_CATEGORIES}
    categories = {name: score > 0.5 for name, score in scores.items()}
    return {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": scores,
        "category_applied_input_types": {name: ["text"] for name in _MODERATION_CATEGORIES},
    }


def usage_of(body: dict[str, Any]) -> Usage:
    """The usage a response body reports, in whichever of the two vocabularies; zero where it says nothing."""
    usage = body.get("usage") or {}
    inputs = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    outputs = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    return Usage(
        input_tokens=usage.get("prompt_tokens", usage.get("input_tokens", 0)) or 0,
        output_tokens=usage.get("completion_tokens", usage.get("output_tokens", 0)) or 0,
        cached_tokens=inputs.get("cached_tokens", 0) or 0,
        reasoning_tokens=outputs.get("reasoning_tokens", 0) or 0,
    )
