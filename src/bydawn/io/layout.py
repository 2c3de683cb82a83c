"""Reads lines that are laid out like one that was read in full, at a fraction of the cost.

Files are written by programs, so their lines mostly differ in two places: the id and the messages. A layout is the
bytes around these two places, learned from a line that was parsed and checked as a whole. Another line that has the
same bytes there, a plain JSON string for its id and well-formed messages between them can only mean the same kind of
request, so neither its fields nor its parameters need looking at again. Whatever does not fit exactly is read in full,
so that problems are found and worded in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bydawn.core.request import Request
from bydawn.io.messages import check_messages
from bydawn.io.rows import BadRow, encode_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from bydawn.core.request import Fields, Mould

LAYOUTS_MAX = 8
"""How many layouts are tried on each line. A file with more has none worth the name."""

ID_BYTES_MAX = 200

_CONTENT = "messages"
_PROBE_ID = "layout probe"
_PROBE_CONTENT = b'[{"role":"user","content":"layout probe"}]'
_QUOTE = ord('"')


class Layout:
    """The bytes around id and messages, and the request they stand for."""

    __slots__ = ("_after", "_before", "_between", "_fields", "_request")

    def __init__(self, before: bytes, between: bytes | None, after: bytes, request: Request) -> None:
        self._before = before
        self._between = between
        self._after = after
        self._request = request
        self._fields: Fields = dict(request.fields)

    def fill(self, identifier: bytes, content: bytes) -> bytes:
        """Return a line with this id (JSON) and these messages (JSON)."""
        if self._between is None:
            return self._before + content + self._after
        return self._before + identifier + self._between + content + self._after

    def read(self, row: int, number: int, line: bytes) -> Request | None:
        """Return the request of a line laid out like this, None for any other line. Raises what the check raises."""
        before, between, after = self._before, self._between, self._after
        if not line.startswith(before) or not line.endswith(after):
            return None
        start = len(before)
        identifier = None
        if between is not None:
            end = line.find(b'"', start + 1)
            if line[start] != _QUOTE or end < 0 or not line.startswith(between, end + 1):
                return None
            identifier = _plain_text(line[start + 1 : end])
            if identifier is None:
                return None
            start = end + 1 + len(between)
        content = line[start : len(line) - len(after)]
        check_messages(content)
        first = self._request
        fields = self._fields.copy()
        fields[_CONTENT] = msgspec.Raw(content)
        return Request(row, number, identifier, first.form, fields, first.model, first.endpoint, first.mould)


def _plain_text(text: bytes) -> str | None:
    """Return the inside of a JSON string that needs no decoding, None for one that may."""
    if b"\\" in text or not text.isascii() or not 0 < len(text) <= ID_BYTES_MAX:
        return None
    plain = text.decode()
    return plain if plain.isprintable() else None


class Layouts:
    """The layouts of one file. ``make`` reads a line in full: it returns its request, or raises BadRow."""

    __slots__ = ("_layouts", "_make")

    def __init__(self, make: Callable[[int, int, bytes], Request | None]) -> None:
        self._make = make
        self._layouts: list[Layout] = []

    def read(self, row: int, number: int, line: bytes) -> Request | None:
        """Return a line's request, or None for a blank line. Raises BadRow."""
        if self._layouts and (line.isascii() or _is_utf8(line)):
            for layout in self._layouts:
                try:
                    request = layout.read(row, number, line)
                except (BadRow, RecursionError):
                    break
                if request is not None:
                    return request
        request = self._make(row, number, line)
        if request is not None and request.mould is not None and len(self._layouts) < LAYOUTS_MAX:
            self._learn(line, request, request.mould)
        return request

    def _learn(self, line: bytes, request: Request, mould: Mould) -> None:
        """Take a line apart, and keep the pieces if a probe put together of them is read as it should be."""
        layout = _take_apart(line, request) if mould.content == _CONTENT else None
        if layout is None:
            return
        try:
            probe = self._make(0, 0, layout.fill(encode_json(_PROBE_ID), _PROBE_CONTENT))
        except BadRow:
            return
        if (
            probe is not None
            and probe.mould is mould
            and probe.id == (None if request.id is None else _PROBE_ID)
            and bytes(probe.fields[_CONTENT]) == _PROBE_CONTENT
        ):
            self._layouts.append(layout)


def _take_apart(line: bytes, request: Request) -> Layout | None:
    content = bytes(request.fields[_CONTENT])
    if request.id is None:
        before, found, after = line.partition(content)
        return Layout(before, None, after, request) if found else None
    before, found, rest = line.partition(encode_json(request.id))
    between, found_too, after = rest.partition(content)
    return Layout(before, between, after, request) if found and found_too else None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
