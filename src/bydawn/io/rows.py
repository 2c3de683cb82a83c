"""What readers hand on: a row whose values are still the user's own JSON bytes, or the reason why there is none."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Row: TypeAlias = dict[str, msgspec.Raw]
"""One row by column or field name; each value the JSON of it, valid and in UTF-8."""

Numbered: TypeAlias = tuple[int, Row | None]
"""A row with its 1-based line number; None where the row was bad and its problem is recorded already."""

NULL = msgspec.Raw(b"null")

encode_json = msgspec.json.Encoder().encode
decode_text = msgspec.json.Decoder(str).decode
decode_row = msgspec.json.Decoder(Row).decode

_KINDS = {
    ord('"'): "text",
    ord("["): "a list",
    ord("{"): "an object",
    ord("t"): "true",
    ord("f"): "false",
    ord("n"): "null",
}
_SHOWN_CHARACTERS = 40


class BadRow(Exception):
    """A row that cannot become a request: what is wrong with it, and what to do. Never leaves `bydawn.io`."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def raw_text(text: str) -> msgspec.Raw:
    """Return the JSON of a text."""
    return msgspec.Raw(encode_json(text))


def kind_of(value: msgspec.Raw) -> str:
    """Name a JSON value's type as messages do: text, a number, a list, an object, true, false, null."""
    return _KINDS.get(memoryview(value)[0], "a number")


def excerpt(value: msgspec.Raw) -> str:
    """Return the beginning of a JSON value, for a message."""
    text = bytes(value).decode()
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def name_fields(row: Row) -> str:
    """List a row's fields for a message: the first few, in their order."""
    names = [repr(name) for name in list(row)[:12]]
    more = f" and {len(row) - len(names)} more" if len(row) > len(names) else ""
    return (", ".join(names) + more) or "none"
