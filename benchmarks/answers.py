"""Makes the stub's answers to a whole batch, fast: 50,000 lines in a fraction of a second.

Lines are put together from ready-made pieces; of each request only the custom_id and the ticket number are looked at.
"""

from __future__ import annotations

import io
import random
import re
from typing import TYPE_CHECKING

import msgspec

from texts import FILLERS, TICKET, escaped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CUSTOM_ID = re.compile(rb'"custom_id": ?"([A-Za-z0-9_.:-]+)"')
_REQUESTS_MAX = 50_000
_PROMPT_TOKENS = 151
_BLOCK = 500
"""Lines put together at a time: memory that is used again is faster than memory that must be asked for."""


class BadBatch(Exception):
    """The input cannot become a batch: ``code`` and ``message`` as the provider words them."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def answer_batch(content: bytes, target: Path) -> int:
    """Write the result file for an input file, in an order that has nothing to do with the input's; return its lines.

    Raises BadBatch, before anything is written, when the file would fail validation.
    """
    requests, model = _read(content), _model(content)
    random.Random(len(requests)).shuffle(requests)
    with target.open("wb") as file:
        file.writelines(_compose(requests, model))
    return len(requests)


def _read(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return every line's custom_id and ticket, found by two searches over the whole file rather than two a line."""
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    if lines > _REQUESTS_MAX:
        raise BadBatch("too_many_tasks", f"{lines} requests are more than the {_REQUESTS_MAX} a batch may have.")
    custom_ids, tickets = _CUSTOM_ID.findall(content), TICKET.findall(content)
    if len(custom_ids) != lines:
        raise BadBatch("missing_required_parameter", "Missing required parameter: 'custom_id'.")
    if len(tickets) != lines:
        raise BadBatch("invalid_request", "This stub answers only requests that name one ticket.")
    if len(set(custom_ids)) < lines:
        raise BadBatch("duplicate_custom_id", "A custom_id is used by several requests.")
    return list(zip(custom_ids, tickets, strict=True))


def _model(content: bytes) -> str:
    """Return the model that the first request names."""
    try:
        model = msgspec.json.decode(io.BytesIO(content).readline())["body"]["model"]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise BadBatch("invalid_json_line", "This line is not parseable as valid JSON.") from error
    return str(model)


def _compose(requests: list[tuple[bytes, bytes]], model: str) -> Iterator[bytes]:
    """Yield blocks of lines, one line per request: the form of its filler, with the custom_id and the ticket set in."""
    forms = [_form(number, model) for number in range(len(FILLERS))]
    for start in range(0, len(requests), _BLOCK):
        block = requests[start : start + _BLOCK]
        yield b"".join(
            [forms[int(ticket) % len(forms)] % (custom_id, ticket, custom_id) for custom_id, ticket in block]
        )


def _form(number: int, model: str) -> bytes:
    """Return a result line with places for custom_id, ticket and custom_id; texts are in turn escaped and raw UTF-8."""
    completion = 20 + number
    return (
        b'{"id":"batch_req_69246f81c2a08190b1e5d3f7a9c40e62","custom_id":"%%b","response":{"status_code":200,'
        b'"request_id":"5d1f0e7a9b3c4d2e8f6a1b0c9d8e7f60","body":{"id":"chatcmpl-CfW2nV8sQxLmPz4RtYk7",'
        b'"object":"chat.completion","created":1795000905,"model":%b,"choices":[{"index":0,"message":{'
        b'"role":"assistant","content":"Ticket #%%b as %%b: %b","refusal":null,"annotations":[]},"logprobs":null,'
        b'"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},'
        b'"service_tier":"default","system_fingerprint":"fp_8a1b2c3d4e"}},"error":null}\n'
    ) % (
        msgspec.json.encode(model),
        escaped(FILLERS[number], ascii_only=number % 3 == 0),
        _PROMPT_TOKENS,
        completion,
        _PROMPT_TOKENS + completion,
    )
