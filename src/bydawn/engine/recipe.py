"""What planning found out about a row, kept for all rows of the same mould.

A row is planned the long way once: routed, shaped, adapted, encoded. When that left its content alone, every other row
of its mould comes out the same but for custom_id and content, so its line is cut at these two places and put together
again with others'. Most jobs plan nearly all of their rows so; tests hold the two ways to the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.engine.route import json_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bydawn.core.adjustment import Adjustment
    from bydawn.core.request import Fields
    from bydawn.engine.route import Route

_OUTPUT_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")

_CUSTOM_ID_MARK = "custom-id-goes-here"
_CONTENT_MARK = "\x01content goes here\x01"
_CONTENT_JSON = msgspec.json.encode(_CONTENT_MARK)


class Recipe:
    """How one kind of request is written. ``rows`` counts its uses: what each adds to sums is multiplied in the end.

    ``answer_format`` is the JSON of what the request says of its answer's form; ``output_bound`` the tokens it allows
    for the answer, None when it leaves them open.
    """

    __slots__ = ("_parts", "adjustments", "answer_format", "output_bound", "route", "rows")

    def __init__(self, route: Route, asked: Fields, body: Fields, adjustments: tuple[Adjustment, ...]) -> None:
        """``asked`` are the fields before adaptation: a form the model cannot be told of is still checked."""
        self.route = route
        self.adjustments = adjustments
        self.answer_format = _answer_format(asked)
        self.output_bound = _output_bound(body)
        self.rows = 0
        self._parts: tuple[bytes, bytes, bytes] | None = None

    def keep(self, body: Fields, content: str, given: Fields) -> bool:
        """Make ready for other rows of the mould; False when this body's content is not as it was given."""
        if body.get(content) is not given[content]:
            return False
        self._parts = _cut(self.route.encode(_CUSTOM_ID_MARK, {**body, content: msgspec.Raw(_CONTENT_JSON)}))
        return self._parts is not None

    def line(self, custom_id: str, content: bytes) -> bytes:
        """Return the line of a row with this content (JSON), after `keep`."""
        assert self._parts is not None
        head, middle, tail = self._parts
        return b"".join((head, custom_id.encode(), middle, content, tail))


def _cut(line: bytes) -> tuple[bytes, bytes, bytes] | None:
    head, found, rest = line.partition(_CUSTOM_ID_MARK.encode())
    middle, found_too, tail = rest.partition(_CONTENT_JSON)
    if not found or not found_too or _CONTENT_JSON in tail:
        return None
    return head, middle, tail


def _answer_format(body: Mapping[str, Any]) -> bytes | None:
    """Chat's field or responses' field."""
    wanted = body.get("response_format")
    return json_of(body.get("text") if wanted is None else wanted)


def _output_bound(body: Mapping[str, Any]) -> int | None:
    for name in _OUTPUT_BOUNDS:
        bound = json_of(body.get(name))
        if bound is not None and bound.isdigit():
            return int(bound)
    return None
