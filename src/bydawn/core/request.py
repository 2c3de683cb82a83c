"""One logical model call, as the source read it.

Values inside `fields` are usually ``msgspec.Raw``: the user's own JSON bytes, which are spliced into the line that is
uploaded and never decoded unless a rule has to look at them.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Endpoint = Literal["chat", "responses", "embeddings", "completions", "moderations"]
"""The operation that is batched. Providers map it to their own path."""

ENDPOINTS: tuple[Endpoint, ...] = ("chat", "responses", "embeddings", "completions", "moderations")

Form = Literal["messages", "input", "native"]
"""How the row was written: in chat vocabulary (``prompt`` too), as an ``input``, or as a provider's own line."""

Fields = dict[str, Any]
"""Body fields by name; each value a ``msgspec.Raw`` of JSON or a plain JSON value."""


class Mould:
    """What many rows have in common: everything but their id and one field, `content`.

    Requests with the same mould (the same object) have the same model, form, endpoint and fields in the same order,
    byte for byte, so what was found out about one holds for all of them.
    """

    __slots__ = ("content",)

    def __init__(self, content: str) -> None:
        self.content = content


class Request(msgspec.Struct, gc=False):
    """One input row.

    ``row`` is its 0-based position among the rows; ``line`` its 1-based line in the file (for messages about it);
    ``id`` the user's id, or None where the row number serves; ``model`` the row's own model as written, if any;
    ``endpoint`` is set for native lines only; ``fields`` the body without id and model; ``mould`` is None where nobody
    looked for one.
    """

    row: int
    line: int
    id: str | None
    form: Form
    fields: Fields
    model: str | None = None
    endpoint: Endpoint | None = None
    mould: Mould | None = None
