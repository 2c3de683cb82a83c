"""Moves system text into the first user message, for models that know no system role."""

from __future__ import annotations

from typing import Any

import msgspec

from bydawn.adapt.fields import plain, raw

Message = dict[str, Any]

_MESSAGES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_PARTS = msgspec.json.Decoder(list[msgspec.Raw])
_SYSTEM_ROLES = frozenset({"system", "developer"})
_SEPARATOR = "\n\n"


def without_system(messages: Any) -> msgspec.Raw | None:
    """The messages with all system and developer text, in order, at the head of the first user message.

    Texts are joined by a blank line. Where no user message exists, one is made in the place of the first system
    message. None when there is nothing to move, or the messages have a shape we do not know: then they are better
    refused as the user wrote them than sent with something missing.
    """
    try:
        rows = _MESSAGES.decode(raw(messages))
    except msgspec.ValidationError:
        return None
    system = [index for index, row in enumerate(rows) if plain(row.get("role")) in _SYSTEM_ROLES]
    texts = [_texts(plain(rows[index].get("content"))) for index in system]
    if not system or None in texts:
        return None
    text = _SEPARATOR.join(part for parts in texts for part in parts or ())
    moved = _with_text(rows, text, set(system))
    return None if moved is None else raw(moved)


def _texts(content: Any) -> list[str] | None:
    """The texts of a system message's content: a string, or a list of text parts. None for anything else."""
    if isinstance(content, str):
        return [content] if content else []
    if not isinstance(content, list):
        return None
    texts = [_part_text(part) for part in content]
    return None if None in texts else [text for text in texts if text]


def _part_text(part: Any) -> str | None:
    if not isinstance(part, dict) or part.get("type") != "text" or part.keys() - {"type", "text"}:
        return None
    text = part.get("text")
    return text if isinstance(text, str) else None


def _with_text(rows: list[Message], text: str, system: set[int]) -> list[Message] | None:
    """The rows without the ``system`` ones, and with ``text`` in the first user message."""
    user = next((index for index, row in enumerate(rows) if plain(row.get("role")) == "user"), None)
    changed = list(rows)
    if user is None:
        changed[min(system)] = {"role": "user", "content": text}
        system = system - {min(system)}
    elif text:
        content = _prepended(text, rows[user].get("content"))
        if content is None:
            return None
        changed[user] = {**rows[user], "content": content}
    return [row for index, row in enumerate(changed) if index not in system]


def _prepended(text: str, content: Any) -> Any:
    """A user message's content with ``text`` before it, in the shape it had; None for a shape we do not know."""
    value = plain(content)
    if isinstance(value, str):
        return text + _SEPARATOR + value if value else text
    if isinstance(value, list):
        return [{"type": "text", "text": text}, *_PARTS.decode(content)]
    return None
