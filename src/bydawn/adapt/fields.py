"""Reading and changing single parameters of a request body, decoding no more than that takes.

A body's values are the user's own JSON bytes (``msgspec.Raw``) or plain values. What nobody looks at stays the bytes
it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from bydawn.core.request import Fields

ABSENT = msgspec.UNSET
"""What reading gives where there is nothing; a JSON null is None."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def plain(value: Any) -> Any:
    """The value itself, decoded if it is still JSON bytes."""
    return msgspec.json.decode(value) if type(value) is msgspec.Raw else value


def raw(value: Any) -> msgspec.Raw:
    """The value as JSON bytes; members that are already bytes are copied as they are."""
    return value if type(value) is msgspec.Raw else msgspec.Raw(msgspec.json.encode(value))


@dataclass(frozen=True, slots=True)
class Parameter:
    """Where a parameter sits in a body: ``temperature``, or one level down, ``reasoning.effort``.

    The methods that change take a body that may be changed; objects inside it are replaced, never altered.
    """

    path: str
    head: str = field(init=False)
    tail: str = field(init=False)

    def __post_init__(self) -> None:
        head, _, tail = self.path.partition(".")
        object.__setattr__(self, "head", head)
        object.__setattr__(self, "tail", tail)

    def read(self, body: Fields) -> Any:
        """The plain value, or ABSENT."""
        if self.head not in body:
            return ABSENT
        value = plain(body[self.head])
        if not self.tail:
            return value
        return plain(value.get(self.tail, ABSENT)) if isinstance(value, dict) else ABSENT

    def remove(self, body: Fields) -> None:
        """Take the parameter out, and its object with it once that is empty. It must be there."""
        if not self.tail:
            del body[self.head]
            return
        members = _members(body[self.head])
        del members[self.tail]
        if members:
            body[self.head] = raw(members)
        else:
            del body[self.head]

    def write(self, body: Fields, value: Any) -> None:
        """Set the parameter, beside what its object holds already."""
        if self.tail:
            members = _members(body.get(self.head))
            members[self.tail] = value
            body[self.head] = raw(members)
        else:
            body[self.head] = value


def _members(value: Any) -> dict[str, Any]:
    """A copy of an object's members, each still in its bytes; empty for anything that is no object."""
    if isinstance(value, dict):
        return dict(value)
    if type(value) is not msgspec.Raw:
        return {}
    try:
        return _MEMBERS.decode(value)
    except msgspec.ValidationError:
        return {}
