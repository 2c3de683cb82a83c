"""Recognises rows that differ only in their id and content, so that the rest is checked and adapted once for all.

Most inputs have one mould, or a handful. An input whose every row has parameters of its own gains nothing: after
`MOULDS_MAX` different ones nobody looks any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from bydawn.core.request import Mould

if TYPE_CHECKING:
    from bydawn.core.request import Endpoint, Fields

Key: TypeAlias = "tuple[tuple[str, ...], bytes, str | None, Endpoint | None]"
"""Field names in order, the JSON of all but the content, the row's model, a native line's endpoint."""

MOULDS_MAX = 1_000

_CONTENT = ("messages", "input", "prompt")


class Moulds:
    """The moulds seen so far."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[Key, Mould] | None = {}

    def find(
        self, fields: Fields, model: str | None, endpoint: Endpoint | None = None
    ) -> tuple[Mould | None, Key | None]:
        """Return the mould of a row's fields, or else the key under which `learn` is to remember it.

        Neither is returned for fields that cannot be compared as bytes, or when there are too many moulds.
        """
        known = self._known
        if known is None:
            return None, None
        try:
            values = list(fields.values())
            names = tuple(fields)
            for name in _CONTENT:
                if name in fields:
                    del values[names.index(name)]
                    break
            else:
                return None, None
            key = (names, b"\0".join(values), model, endpoint)
        except TypeError:  # a plain value among the JSON
            return None, None
        found = known.get(key)
        return (found, None) if found is not None else (None, key)

    def learn(self, key: Key | None) -> Mould | None:
        """Remember a mould whose first row proved good."""
        if key is None or self._known is None:
            return None
        mould = self._known[key] = Mould(next(name for name in _CONTENT if name in key[0]))
        if len(self._known) > MOULDS_MAX:
            self._known = None
        return mould
