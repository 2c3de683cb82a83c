"""A plain estimate of tokens: four UTF-8 bytes each. Cheap, stable, and near enough for an emulator."""

from __future__ import annotations

from typing import Any

BYTES_PER_TOKEN = 4
_PER_MESSAGE = 4
_PER_IMAGE = 85


def count_text(text: str) -> int:
    """Tokens of a text."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // BYTES_PER_TOKEN)


def count_body(body: dict[str, Any], endpoint: str) -> int:
    """Prompt tokens of a request body at an endpoint (``chat``, ``responses``, ``embeddings`` …)."""
    if endpoint == "chat":
        return 3 + sum(_PER_MESSAGE + count_content(message.get("content")) for message in _dicts(body.get("messages")))
    if endpoint == "completions":
        return count_content(body.get("prompt"))
    return count_content(body.get("input")) + count_content(body.get("instructions"))


def count_content(content: Any) -> int:
    """Tokens of whatever can stand as content: a text, token ids, parts, items."""
    match content:
        case str():
            return count_text(content)
        case list():
            return sum(1 if isinstance(part, int) else count_content(part) for part in content)
        case {"text": str(text)}:
            return count_text(text)
        case {"content": inner}:
            return _PER_MESSAGE + count_content(inner)
        case {"type": "image_url" | "input_image" | "file" | "input_file"}:
            return _PER_IMAGE
        case _:
            return 0


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
