"""The shape of chat messages, checked by typed decoding: one pass in C, no walk in Python.

Roles and contents are those of the chat-completions vocabulary; anything else a message may carry passes unseen.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from bydawn.io.rows import BadRow

_EXAMPLE = 'write [{"role": "user", "content": "…"}]'


class _Part(msgspec.Struct, gc=False):
    type: str


_Content: TypeAlias = str | list[_Part]


class _System(msgspec.Struct, gc=False, tag_field="role", tag="system"):
    content: _Content


class _Developer(msgspec.Struct, gc=False, tag_field="role", tag="developer"):
    content: _Content


class _User(msgspec.Struct, gc=False, tag_field="role", tag="user"):
    content: _Content
    name: str | None = None


class _Assistant(msgspec.Struct, gc=False, tag_field="role", tag="assistant"):
    content: _Content | None = None
    tool_calls: list[dict[str, msgspec.Raw]] | None = None


class _Tool(msgspec.Struct, gc=False, tag_field="role", tag="tool"):
    content: _Content
    tool_call_id: str


class _Function(msgspec.Struct, gc=False, tag_field="role", tag="function"):
    name: str
    content: str | None = None


_decode = msgspec.json.Decoder(list[_System | _Developer | _User | _Assistant | _Tool | _Function]).decode


def check_messages(value: msgspec.Raw | bytes) -> None:
    """Raise BadRow, naming the place, when a value is no list of chat messages."""
    try:
        if _decode(value):
            return
    except msgspec.DecodeError as error:
        raise BadRow(f"messages are malformed: {_reword(str(error))}", _EXAMPLE) from None
    raise BadRow("messages is empty", _EXAMPLE)


def with_system(value: msgspec.Raw, system: bytes) -> msgspec.Raw:
    """Put a system text, given as JSON, before checked messages. Raises BadRow where they have one of their own."""
    if any(isinstance(message, _System | _Developer) for message in _decode(value)):
        raise BadRow("the messages have a system message of their own", "leave out --system, or the row's")
    return msgspec.Raw(b'[{"role":"system","content":' + system + b"}," + bytes(value).removeprefix(b"["))


def from_texts(user: bytes, system: bytes | None) -> msgspec.Raw:
    """Make messages of one user text and perhaps a system text, both given as JSON."""
    before = b"" if system is None else b'{"role":"system","content":' + system + b"},"
    return msgspec.Raw(b"[" + before + b'{"role":"user","content":' + user + b"}]")


def _reword(error: str) -> str:
    """Name places as ``messages[0].role`` and not ``$[0].role``."""
    return error.replace("`$", "`messages").replace("Invalid value", "unknown role")
