"""Lists as the service pages them."""

from __future__ import annotations

from typing import Any

from bydawn.sandbox.openai.errors import ApiError


def page_of(items: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """The list object; an empty page has null ids."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }


def whole_number(text: str | None, name: str, default: int, maximum: int) -> int:
    """A query parameter from 1 to `maximum`. Raises ApiError."""
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()):
        message = f"Invalid type for '{name}': expected an integer, but got a string instead."
        raise ApiError(400, message, param=name, code="invalid_type")
    number = int(text)
    if number < 1:
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {number} instead."
        raise ApiError(400, message, param=name, code="integer_below_min_value")
    if number > maximum:
        message = (
            f"Invalid '{name}': integer above maximum value. Expected a value <= {maximum}, but got {number} instead."
        )
        raise ApiError(400, message, param=name, code="integer_above_max_value")
    return number
