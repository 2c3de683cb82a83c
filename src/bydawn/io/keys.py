"""Finds keys that a JSON object holds twice, which decoders pass over in silence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from bydawn.io.rows import Row

_KEY = re.compile(rb'\s*("(?:[^"\\]|\\.)*")\s*:\s*')
_AFTER_VALUE = re.compile(rb"\s*([,}])")


def repeated_key(text: bytes, row: Row) -> str | None:
    """Return a key that a JSON object holds twice, or None. ``row`` is what was decoded of ``text``.

    Decoders silently keep the last one. Counting is enough for lines as encoders write them, without spaces or with
    one after each colon and comma: a repeated key would make the text longer than its parts. All others are walked.
    """
    length = len(text) - text.endswith(b"\n")
    # Braces, and for each pair two quotes, colon and comma.
    compact = 4 * len(row) + 1 + len("".join(row)) + len(b"".join(row.values()))
    if length == compact:
        return None
    spaced = compact + 2 * len(row) - 1
    if length == spaced and text.find(b'": ', 1, len(next(iter(row), "")) + 5) > 0:
        return None
    return _walk_for_repeated_key(text, row)


def _walk_for_repeated_key(text: bytes, row: Row) -> str | None:
    seen: set[str] = set()
    position = text.index(b"{") + 1
    while (match := _KEY.match(text, position)) is not None:
        key: str = msgspec.json.decode(match[1], type=str)
        value = bytes(row[key])
        end = _AFTER_VALUE.match(text, match.end() + len(value))
        # The decoded value is the last one given, so an earlier one under the same key differs or is seen again.
        if key in seen or end is None or not text.startswith(value, match.end()):
            return key
        seen.add(key)
        position = end.end()
    return None
