"""Gives requests the shape of OpenAI's other endpoints: chat's vocabulary is what everybody writes.

Chat needs nothing. For ``/v1/responses`` messages become input items and parameters get the names they have there; what
has no equivalent is dropped, with an adjustment that is made once, so that identity counts rows. Embeddings,
moderations and completions take the text of a single user message, which is what ``prompt`` and templates make.
Field lists of both sides: openai 3.54.0, types/chat/completion_create_params.py, types/responses/
response_create_params.py, read 2026-11-22.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bydawn.adapt.fields import plain
from bydawn.core.adjustment import Adjustment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bydawn.core.request import Endpoint, Fields, Form

Item = dict[str, Any]
Shaped: TypeAlias = "tuple[Fields, Sequence[Adjustment]]"
Translation: TypeAlias = "Callable[[Any, Fields, list[Adjustment]], None]"
"""Writes one chat parameter, given its value, into a body, and adds what had to be adjusted."""

_SOURCE: Final = "openai 3.54.0 types/responses/response_create_params.py (2026-11-22)"


def shape(fields: Fields, form: Form, endpoint: Endpoint) -> Shaped:
    """Return the endpoint's own body fields. See `Provider.shape`."""
    if form == "native" or (form == "messages" and endpoint == "chat"):
        return fields, ()
    if endpoint == "responses":
        return _to_responses(fields, form)
    if form == "input":
        if endpoint in {"embeddings", "moderations"}:
            return fields, ()
        raise ValueError(f"a row with 'input' does not fit the {endpoint} endpoint: write 'messages' or 'prompt'")
    if endpoint == "completions" and "prompt" in fields:
        return fields, ()
    return _to_single_text(fields, endpoint), ()


def _to_single_text(fields: Fields, endpoint: Endpoint) -> Fields:
    """Put the text of the only message where the endpoint wants it. Raises ValueError when there is more."""
    messages = plain(fields.get("messages"))
    only = messages[0] if isinstance(messages, list) and len(messages) == 1 else None
    if not isinstance(only, dict) or only.get("role") != "user" or not isinstance(only.get("content"), str):
        raise ValueError(f"the {endpoint} endpoint takes one text, not a conversation: write 'input' or 'prompt'")
    rest = {name: value for name, value in fields.items() if name != "messages"}
    return {"prompt" if endpoint == "completions" else "input": only["content"], **rest}


# --- chat to responses: parameters ---------------------------------------------------------------------------------


def _dropped(parameter: str, detail: str = "the responses endpoint has no such parameter") -> Adjustment:
    rule = f"openai.responses.no_{parameter.replace('[]', '').replace('.', '_')}"
    return Adjustment("dropped", parameter, detail, rule, _SOURCE, "confirmed")


_WITHOUT_EQUIVALENT: Final[Mapping[str, Adjustment]] = {
    name: _dropped(name)
    for name in (
        "audio",
        "frequency_penalty",
        "logit_bias",
        "modalities",
        "n",
        "prediction",
        "presence_penalty",
        "seed",
        "stop",
        "stream_options",
        "web_search_options",
    )
}
_OTHER_LIMIT: Final[Mapping[str, Adjustment]] = {
    name: _dropped(name, "a newer name of the same limit is given, too")
    for name in ("max_completion_tokens", "max_tokens")
}
_NAME: Final = _dropped("messages[].name", "input items of the responses endpoint have no name")


def _to_responses(fields: Fields, form: Form) -> Shaped:
    """Translate a row. Raises ValueError for what cannot be said there."""
    body: Fields = {}
    adjustments: list[Adjustment] = []
    # What stays as it is comes first, so that translations can add to it, and the oldest name of a limit last.
    for name in sorted(fields, key=lambda name: (name in _TRANSLATIONS, name == "max_tokens")):
        value = fields[name]
        if (adjustment := _WITHOUT_EQUIVALENT.get(name)) is not None:
            if plain(value) is not None:
                adjustments.append(adjustment)
        elif (translate := _TRANSLATIONS.get(name)) is not None:
            translate(value, body, adjustments)
        else:
            body[name] = value
    if form == "messages" and "input" not in body:
        raise ValueError("the row has no 'messages'")
    return body, adjustments


def _limit(name: str) -> Translation:
    """Make the translation of one of chat's names of the limit, which yields to a newer one."""

    def translate(value: Any, body: Fields, adjustments: list[Adjustment]) -> None:
        if plain(value) is None:
            return
        if "max_output_tokens" in body:
            adjustments.append(_OTHER_LIMIT[name])
        else:
            body["max_output_tokens"] = value

    return translate


def _response_format(value: Any, body: Fields, _: list[Adjustment]) -> None:
    """Lift ``{"type": "json_schema", "json_schema": {"name", "schema", ...}}`` by one level into ``text.format``."""
    written = plain(value)
    if not isinstance(written, dict):
        return
    schema = written.get("json_schema")
    lifted = {"type": written.get("type"), **schema} if isinstance(schema, dict) else written
    _nested(body, "text")["format"] = lifted


def _verbosity(value: Any, body: Fields, _: list[Adjustment]) -> None:
    _nested(body, "text")["verbosity"] = value


def _effort(value: Any, body: Fields, _: list[Adjustment]) -> None:
    _nested(body, "reasoning")["effort"] = value


def _logprobs(value: Any, body: Fields, _: list[Adjustment]) -> None:
    """There, log probabilities are one of the things that an answer may include."""
    if plain(value):
        included = plain(body.get("include")) or []
        body["include"] = [*included, "message.output_text.logprobs"]


def _tools(value: Any, body: Fields, _: list[Adjustment]) -> None:
    body["tools"] = [_flat_tool(tool) for tool in plain(value) or ()]


def _tool_choice(value: Any, body: Fields, _: list[Adjustment]) -> None:
    body["tool_choice"] = _flat_choice(plain(value))


def _legacy(_value: Any, _body: Fields, _: list[Adjustment]) -> None:
    raise ValueError("the old 'functions' and 'function_call' cannot be sent to the responses endpoint: write 'tools'")


def _messages(value: Any, body: Fields, adjustments: list[Adjustment]) -> None:
    """Raises ValueError when the messages have no shape we know."""
    messages = plain(value)
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("'messages' is no list of objects")
    if any(message.get("name") is not None for message in messages):
        adjustments.append(_NAME)
    body["input"] = [item for message in messages for item in _items(message)]


_TRANSLATIONS: Final[Mapping[str, Translation]] = {
    "messages": _messages,
    "max_completion_tokens": _limit("max_completion_tokens"),
    "max_tokens": _limit("max_tokens"),
    "response_format": _response_format,
    "reasoning_effort": _effort,
    "verbosity": _verbosity,
    "logprobs": _logprobs,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "functions": _legacy,
    "function_call": _legacy,
}


def _nested(body: Fields, name: str) -> Item:
    """Return the object ``name`` of the body, which the row may have begun in the endpoint's own words."""
    begun = plain(body.get(name))
    body[name] = dict(begun) if isinstance(begun, dict) else {}
    nested: Item = body[name]
    return nested


def _flat_tool(tool: Any) -> Any:
    """Lift ``{"type": "function", "function": {...}}`` by one level; other tools are the same on both sides.

    A function is strict there unless it says otherwise, and lax on chat: what the row means is written out.
    """
    kind = tool.get("type") if isinstance(tool, dict) else None
    inner = tool.get(kind) if kind in {"function", "custom"} else None
    if not isinstance(inner, dict):
        return tool
    if kind == "function":
        return {"type": kind, "strict": False, **inner}
    return {"type": kind, **inner, **_flat_grammar(inner.get("format"))}


def _flat_grammar(written: Any) -> Item:
    grammar = written.get("grammar") if isinstance(written, dict) else None
    return {"format": {"type": "grammar", **grammar}} if isinstance(grammar, dict) else {}


def _flat_choice(choice: Any) -> Any:
    """Lift a tool choice by one level; ``auto``, ``none`` and ``required`` are words on both sides."""
    kind = choice.get("type") if isinstance(choice, dict) else None
    inner = choice.get(kind) if isinstance(kind, str) else None
    if not isinstance(inner, dict):
        return choice
    lifted = {"type": kind, **inner}
    if kind == "allowed_tools":
        lifted["tools"] = [_flat_choice(tool) for tool in inner.get("tools") or ()]
    return lifted


# --- chat to responses: messages -----------------------------------------------------------------------------------


def _items(message: Item) -> list[Item]:
    """Turn one chat message into input items. Raises ValueError for roles that do not exist there."""
    role = message.get("role")
    if role in {"system", "developer", "user"}:
        return [{"role": role, "content": _content(message.get("content"), "input_text")}]
    if role == "assistant":
        return _assistant_items(message)
    if role == "tool":
        output = _content(message.get("content"), "input_text")
        return [{"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output}]
    raise ValueError(f"a message with the role {role!r} cannot be sent to the responses endpoint")


def _assistant_items(message: Item) -> list[Item]:
    """What the model said, then what it called."""
    if message.get("function_call"):
        _legacy(None, {}, [])
    content = _content(message.get("content"), "output_text")
    if message.get("refusal"):
        content = [{"type": "refusal", "refusal": message["refusal"]}]
    said = [{"role": "assistant", "content": content}] if content else []
    return [*said, *(_call_item(call) for call in message.get("tool_calls") or ())]


def _call_item(call: Item) -> Item:
    kind = "custom" if call.get("type") == "custom" else "function"
    item_type = "custom_tool_call" if kind == "custom" else "function_call"
    return {"type": item_type, "call_id": call.get("id"), **(call.get(kind) or {})}


def _content(content: Any, text_type: str) -> Any:
    """A text stays a text; of a list, each part is translated."""
    return [_part(part, text_type) for part in content] if isinstance(content, list) else content


def _part(part: Any, text_type: str) -> Any:
    """Translate one content part; kinds that we do not know, or that are the same on both sides, stay as they are."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return {"type": text_type, "text": part.get("text")}
    if kind == "image_url":
        image = part.get("image_url")
        image = image if isinstance(image, dict) else {"url": image}
        detail = {"detail": image["detail"]} if image.get("detail") is not None else {}
        return {"type": "input_image", "image_url": image.get("url"), **detail}
    if kind == "file":
        return {"type": "input_file", **(part.get("file") or {})}
    return part
