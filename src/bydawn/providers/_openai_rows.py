"""Reads the lines of OpenAI's result files.

A line is ``{"custom_id", "response": {"status_code", "body"} | null, "error": {"code", "message"} | null}``; rows that
failed over HTTP have their error in ``response.body.error``, rows that never ran at the top level (protocols sheet
2.4 to 2.6). The usual line, a success of the expected shape, is decoded once into just the fields that are needed:
this is the hot path. Everything else takes the slow, tolerant path below it.
"""

from __future__ import annotations

import base64
import binascii
import re
from array import array
from sys import byteorder
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from bydawn.core.result import Answer, RowError, Usage
from bydawn.errors import UnexpectedAnswer
from bydawn.providers._openai_errors import PROVIDER, row_kind, said_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bydawn.core.request import Endpoint
    from bydawn.core.result import ErrorKind, Outcome

Body = TypeVar("Body")

# --- shapes --------------------------------------------------------------------------------------------------------


class _Response(Struct, Generic[Body], gc=False):
    status_code: int
    body: Body


class _Line(Struct, Generic[Body], gc=False):
    custom_id: str
    response: _Response[Body] | None = None
    error: Any = None


class _Details(Struct, gc=False):
    """Both details objects of a usage: the one of the input has the first field, that of the output the second."""

    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(Struct, gc=False):
    """Tokens in the names of the responses endpoint. Old and foreign rows lack the details or have nulls in them."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _ChatUsage(_Usage, gc=False):
    """The same in the names of all other endpoints."""

    input_tokens: int | None = field(default=None, name="prompt_tokens")
    output_tokens: int | None = field(default=None, name="completion_tokens")
    input_tokens_details: _Details | None = field(default=None, name="prompt_tokens_details")
    output_tokens_details: _Details | None = field(default=None, name="completion_tokens_details")


class _Part(Struct, gc=False):
    type: str | None = None
    text: str | None = None
    refusal: str | None = None


class _Message(Struct, gc=False):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: Any = None
    function_call: Any = None


class _Choice(Struct, gc=False):
    message: _Message
    finish_reason: str | None = None


class _ChatBody(Struct, gc=False):
    choices: list[_Choice]
    usage: _ChatUsage | None = None


class _Item(Struct, gc=False):
    """One output item of a response: a message, a call, or one of many kinds that hold nothing for us."""

    type: str | None = None
    content: list[_Part] | None = None
    call_id: Any = None
    name: Any = None
    arguments: Any = None
    input: Any = None


class _Incomplete(Struct, gc=False):
    reason: str | None = None


class _ResponsesBody(Struct, gc=False):
    output: list[_Item] | None = None
    status: str | None = None
    error: Any = None
    incomplete_details: _Incomplete | None = None
    usage: _Usage | None = None


class _TextChoice(Struct, gc=False):
    text: str
    finish_reason: str | None = None


class _CompletionsBody(Struct, gc=False):
    choices: list[_TextChoice]
    usage: _ChatUsage | None = None


class _Embedding(Struct, gc=False):
    embedding: Raw
    index: int = 0


class _EmbeddingsBody(Struct, gc=False):
    data: list[_Embedding]
    usage: _ChatUsage | None = None


class _ModerationsBody(Struct, gc=False):
    results: list[Any]


# --- the way of the usual line -------------------------------------------------------------------------------------


def decode(line: bytes, endpoint: Endpoint) -> Answer:
    """Read one line. See `Provider.decode`."""
    reader, answer = _READERS[endpoint]
    try:
        row = reader(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_slowly(line, endpoint)
    response = row.response
    if response is None or row.error is not None or not 200 <= response.status_code < 300 or not row.custom_id:
        return _decode_slowly(line, endpoint)
    return answer(row.custom_id, response.body)


def _chat(custom_id: str, body: _ChatBody) -> Answer:
    if not body.choices:
        return _unexpected(custom_id, "the answer has no choices")
    choice = body.choices[0]
    message = choice.message
    content = message.content
    return _judged(
        custom_id,
        text=_joined(content) if isinstance(content, list) else content,
        tool_calls=message.tool_calls or _legacy_call(message.function_call),
        refusal=message.refusal,
        finish_reason=choice.finish_reason,
        usage=_counted(body.usage),
    )


def _completions(custom_id: str, body: _CompletionsBody) -> Answer:
    if not body.choices:
        return _unexpected(custom_id, "the answer has no choices")
    choice = body.choices[0]
    usage = _counted(body.usage)
    return _judged(custom_id, text=choice.text, finish_reason=choice.finish_reason, usage=usage)


def _responses(custom_id: str, body: _ResponsesBody) -> Answer:
    """Join the texts of all messages, and give calls chat's shape."""
    usage = _counted(body.usage)
    if body.status == "failed" or (body.error and not body.output):
        said = said_by(body.error)
        kind, retryable = row_kind(500 if said.code in {"server_error", None} else 400, said.words)
        message = said.message or "the model failed without giving a reason"
        return _errored(custom_id, RowError(kind, said.code, message, retryable, PROVIDER), usage=usage)
    if body.output is None or body.status not in {"completed", "incomplete", None}:
        return _unexpected(custom_id, f"the response has the status {body.status!r} and no usable output")
    parts = [part for item in body.output if item.type == "message" for part in item.content or ()]
    calls = [call for item in body.output if (call := _call_in_chat_shape(item))]
    return _judged(
        custom_id,
        text=_joined(parts),
        tool_calls=calls or None,
        refusal="".join(part.refusal or "" for part in parts) or None,
        finish_reason=_responses_finish(body, calls),
        usage=usage,
    )


def _embeddings(custom_id: str, body: _EmbeddingsBody) -> Answer:
    """One vector for one input; for several, a list in the order of the inputs."""
    try:
        vectors = [_vector(entry.embedding) for entry in sorted(body.data, key=lambda entry: entry.index)]
    except (ValueError, binascii.Error):
        return _unexpected(custom_id, "an embedding is neither a list of numbers nor base64 of 32-bit floats")
    if not vectors:
        return _unexpected(custom_id, "the answer has no embeddings")
    embedding = vectors[0] if len(vectors) == 1 else vectors
    return Answer(custom_id, "succeeded", usage=_counted(body.usage), embedding=embedding)


def _moderations(custom_id: str, body: _ModerationsBody) -> Answer:
    if not body.results:
        return _unexpected(custom_id, "the answer has no results")
    parsed = body.results[0] if len(body.results) == 1 else body.results
    return Answer(custom_id, "succeeded", parsed=parsed)


def _judged(
    custom_id: str,
    *,
    text: str | None,
    finish_reason: str | None,
    usage: Usage | None,
    tool_calls: Any = None,
    refusal: str | None = None,
) -> Answer:
    """Tell good answers from refused, filtered and empty ones. What was generated and paid for is kept in any case."""
    error = None
    if refusal:
        error = RowError("refusal", None, refusal, False, PROVIDER)
    elif finish_reason == "content_filter":
        message = "the provider's content filter cut the answer"
        error = RowError("content_filter", finish_reason, message, False, PROVIDER)
    elif finish_reason == "length" and not text and not tool_calls:
        message = "the token limit was used up before any text was written"
        error = RowError("truncated", finish_reason, message, False, PROVIDER)
    outcome: Outcome = "succeeded" if error is None else "errored"
    return Answer(custom_id, outcome, text, tool_calls, finish_reason, usage, error)


def _counted(usage: _Usage | None) -> Usage | None:
    """Return the tokens of an answer, None when nothing is said of them; embeddings have no output."""
    if usage is None or usage.input_tokens is None:
        return None
    given, generated = usage.input_tokens_details, usage.output_tokens_details
    return Usage(
        usage.input_tokens,
        usage.output_tokens or 0,
        (given.cached_tokens or 0) if given is not None else 0,
        (generated.reasoning_tokens or 0) if generated is not None else 0,
    )


def _joined(parts: list[_Part]) -> str | None:
    """Join the texts of content parts; None when there is no text at all."""
    texts = [part.text for part in parts if part.text is not None and part.type in {"output_text", "text"}]
    return "".join(texts) if texts else None


def _legacy_call(function_call: Any) -> list[dict[str, Any]] | None:
    """Give chat's old single function call, which had no id, the shape of tool calls."""
    return [{"id": None, "type": "function", "function": function_call}] if function_call else None


def _call_in_chat_shape(item: _Item) -> dict[str, Any] | None:
    if item.type == "function_call":
        function = {"name": item.name, "arguments": item.arguments}
        return {"id": item.call_id, "type": "function", "function": function}
    if item.type == "custom_tool_call":
        return {"id": item.call_id, "type": "custom", "custom": {"name": item.name, "input": item.input}}
    return None


def _responses_finish(body: _ResponsesBody, calls: list[dict[str, Any]]) -> str:
    """Say in chat's words why the model stopped."""
    if body.status == "incomplete":
        reason = body.incomplete_details.reason if body.incomplete_details is not None else None
        return "length" if reason == "max_output_tokens" else reason or "incomplete"
    return "tool_calls" if calls else "stop"


def _vector(embedding: Raw) -> Any:
    """Keep a list of numbers as the bytes it came in; unpack base64 of little-endian 32-bit floats.

    Raises ValueError or binascii.Error for anything else.
    """
    if bytes(memoryview(embedding)[:1]) == b"[":
        return embedding
    floats = array("f", base64.b64decode(msgspec.json.decode(embedding, type=str), validate=True))
    if byteorder == "big":
        floats.byteswap()
    return floats.tolist()


def _reader(shape: type[Any]) -> Callable[[bytes], _Line[Any]]:
    return msgspec.json.Decoder(_Line[shape]).decode  # type: ignore[valid-type]


_READERS: Final[Mapping[Endpoint, tuple[Callable[[bytes], _Line[Any]], Callable[[str, Any], Answer]]]] = {
    "chat": (_reader(_ChatBody), _chat),
    "responses": (_reader(_ResponsesBody), _responses),
    "embeddings": (_reader(_EmbeddingsBody), _embeddings),
    "completions": (_reader(_CompletionsBody), _completions),
    "moderations": (_reader(_ModerationsBody), _moderations),
}

# --- the way of every other line -----------------------------------------------------------------------------------

_KNOWN_ITEMS: Final = frozenset({"message", "function_call", "custom_tool_call"})

_NEVER_RAN: Final[Mapping[str, tuple[Outcome, ErrorKind]]] = {
    "batch_expired": ("expired", "expired"),
    "batch_cancelled": ("cancelled", "cancelled"),
    "batch_canceled": ("cancelled", "cancelled"),
}
"""Top-level codes of rows that never ran, with their outcome and kind."""

_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)
"""An escape in JSON text: a whole surrogate pair, half of one (the group), or any other."""


def _decode_slowly(line: bytes, endpoint: Endpoint) -> Answer:
    """Read a line that failed, is no success, or has a shape of its own."""
    row = _tolerantly_parsed(line)
    custom_id = row.get("custom_id") if isinstance(row, dict) else None
    if isinstance(custom_id, int) and not isinstance(custom_id, bool):
        custom_id = str(custom_id)
    if not isinstance(custom_id, str) or not custom_id:
        raise _unreadable(line, "it has no custom_id")
    response = row.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    error = row.get("error") if _says_something(row.get("error")) else None
    if error is None and not isinstance(response, dict):
        return _unexpected(custom_id, "the line has neither a response nor an error")
    status = _status_of(response)
    if error is None and 200 <= status < 300:
        return _from_untyped(custom_id, body, endpoint)
    return _failed(custom_id, status, body, error)


def _from_untyped(custom_id: str, body: Any, endpoint: Endpoint) -> Answer:
    """Try a success once more, without the parts of it that an answer can do without."""
    if not isinstance(body, dict):
        return _unexpected(custom_id, "the answer has no body")
    tidy = {**body, "usage": _tidy_usage(body.get("usage"))}
    if isinstance(tidy.get("output"), list):
        tidy["output"] = [
            item for item in tidy["output"] if isinstance(item, dict) and item.get("type") in _KNOWN_ITEMS
        ]
    reader, answer = _READERS[endpoint]
    try:
        row = reader(msgspec.json.encode({"custom_id": custom_id, "response": {"status_code": 200, "body": tidy}}))
    except (msgspec.DecodeError, OverflowError) as error:
        if body.get("error"):
            return _failed(custom_id, 0, body, None)
        return _unexpected(custom_id, f"the answer has a shape of its own: {error}")
    assert row.response is not None
    return answer(custom_id, row.response.body)


def _failed(custom_id: str, status: int, body: Any, error: Any) -> Answer:
    """Say why a row failed: by the error in its body, else by the one at the top."""
    said = said_by(body)
    if not said.message and not said.code:
        said = said_by(error)
    if (ending := _NEVER_RAN.get(said.code or "")) is not None:
        outcome, kind = ending
        message = said.message or f"the batch ended as {outcome} before the request was run"
        return Answer(custom_id, outcome, error=RowError(kind, said.code, message, True, PROVIDER))
    kind, retryable = row_kind(status, said.words)
    message = said.message or f"the request failed with status {status}, without a reason"
    return _errored(custom_id, RowError(kind, said.code, message, retryable, PROVIDER))


def _errored(custom_id: str, error: RowError, usage: Usage | None = None) -> Answer:
    return Answer(custom_id, "errored", usage=usage, error=error)


def _unexpected(custom_id: str, why: str) -> Answer:
    """A line for a known request that cannot be understood: not sent again, because it may have been paid."""
    return _errored(custom_id, RowError("unexpected_answer", None, why, False, PROVIDER))


def _status_of(response: Any) -> int:
    """Return the row's HTTP status; 0 where there is none."""
    status = response.get("status_code") if isinstance(response, dict) else None
    if isinstance(status, str) and status.isdecimal():
        return int(status)
    return int(status) if isinstance(status, (int, float)) else 0


def _says_something(error: Any) -> bool:
    """Whether an error is one: empty objects and objects full of nulls stand for none."""
    return any(error.values()) if isinstance(error, dict) else bool(error)


def _tidy_usage(usage: Any) -> dict[str, Any] | None:
    """Keep of a usage what can be counted, in its details too."""
    if not isinstance(usage, dict):
        return None
    counts: dict[str, Any] = {}
    for name, value in usage.items():
        if isinstance(value, dict):
            counts[name] = _tidy_usage(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
            counts[name] = int(value)
    return counts


def _tolerantly_parsed(line: bytes) -> Any:
    """Parse a line, mending what producers get wrong: half surrogate pairs, bytes that are not UTF-8, a BOM.

    Raises UnexpectedAnswer when it is no JSON even so.
    """
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        mended = line.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").encode()
        mended = _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], mended)
    try:
        return msgspec.json.decode(mended)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(line, str(error)) from error


def _unreadable(line: bytes, why: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"a result line of {len(line):,} bytes cannot be read: {why}", provider=PROVIDER, body=line)
