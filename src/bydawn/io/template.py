"""Prompt templates: text with ``{{ name }}`` places that a row's columns fill.

There are no expressions, filters or calls, so a template can neither run code nor surprise. A place holds a column's
name as it is (spaces and all), or a path into a JSON value: ``{{ author.names.0 }}``. Text values are inserted as they
are, null as nothing, any other value as its JSON, just as it was written. ``{{ '{{' }}`` writes two braces.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from bydawn.errors import ConfigError
from bydawn.io.rows import BadRow, decode_row, decode_text, kind_of, name_fields

if TYPE_CHECKING:
    from bydawn.io.rows import Row

_PLACE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_LITERAL_BRACES = ("'{{'", '"{{"')
_SIGNS_OF_CODE = "|{}"
_INDEX = re.compile(r"[0-9]{1,9}")
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode

_HINT = "Places are written {{ column }} or {{ column.key.0 }}; two literal braces are {{ '{{' }}."


class Template:
    """A parsed template. ``text`` is what it was made of.

    Raises ConfigError when a place is not closed, is empty, or holds what looks like code.
    """

    __slots__ = ("_parts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts = _parse(text)

    def render(self, row: Row) -> str:
        """Fill the places from a row. Raises BadRow for a name the row does not have."""
        return "".join([part if isinstance(part, str) else part.fill(row) for part in self._parts])


class _Place:
    """One ``{{ … }}``: the name as written, and the same as a path."""

    __slots__ = ("_name", "_path")

    def __init__(self, name: str) -> None:
        self._name = name
        self._path = name.split(".")

    def fill(self, row: Row) -> str:
        whole = row.get(self._name)
        if whole is not None:
            return _as_text(whole)
        first, *rest = self._path
        if first not in row:
            raise BadRow(
                f"the template names {self._name!r}, which this row does not have",
                f"columns here: {name_fields(row)}",
            )
        return _as_text(self._walk(row[first], rest))

    def _walk(self, value: msgspec.Raw, keys: list[str]) -> msgspec.Raw:
        for key in keys:
            try:
                value = _step(value, key)
            except (KeyError, IndexError):
                raise BadRow(
                    f"the template names {self._name!r}, and this row has no {key!r} there", f"it has {kind_of(value)}"
                ) from None
        return value


def _step(value: msgspec.Raw, key: str) -> msgspec.Raw:
    """Go one key deeper. Raises KeyError or IndexError where there is no such thing."""
    kind = kind_of(value)
    if kind == "an object":
        return decode_row(value)[key]
    if kind == "a list" and _INDEX.fullmatch(key):
        return _decode_list(value)[int(key)]
    raise KeyError(key)


def _as_text(value: msgspec.Raw) -> str:
    kind = kind_of(value)
    if kind == "text":
        return decode_text(value)
    return "" if kind == "null" else bytes(value).decode()


def _parse(text: str) -> list[str | _Place]:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError("the template is not valid Unicode text", hint="Write it in UTF-8.") from None
    parts: list[str | _Place] = []
    position = 0
    for match in _PLACE.finditer(text):
        parts += [text[position : match.start()], _place(match[1].strip())]
        position = match.end()
    if "{{" in text[position:]:
        where = text.index("{{", position) + 1
        raise ConfigError(f"the template opens {{{{ at character {where} and never closes it", hint=_HINT)
    parts.append(text[position:])
    return [part for part in parts if part != ""]


def _place(name: str) -> str | _Place:
    if name in _LITERAL_BRACES:
        return "{{"
    if not name:
        raise ConfigError("the template has an empty place {{ }}", hint=_HINT)
    if name[0] in "'\"" or any(sign in name for sign in _SIGNS_OF_CODE):
        raise ConfigError(f"the template place {{{{ {name} }}}} is no column name", hint=f"No filters or code. {_HINT}")
    return _Place(name)
