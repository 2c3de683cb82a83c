"""The packed ledger: where each request of a job stands, and which batch says so. Five bytes a request.

A request is known by its *ordinal*, ``row * width + model index``. A segment covers `SEGMENT_ROWS` consecutive
ordinals: one byte of state each, then one little-endian unsigned 32-bit owner each. The owner is the number of the
batch that carries the request (`PENDING`), carried it last (`WAITING`), or holds its result (all final states).
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SEGMENT_ROWS: Final = 65_536

VOID: Final = 0
"""No such request: the row has fewer models than the job's width."""
PENDING: Final = 1
"""In its owner batch, sent or about to be."""
WAITING: Final = 2
"""Its last batch ended without a final answer: to be planned into a new one."""
SUCCEEDED: Final = 3
FAILED: Final = 4
EXPIRED: Final = 5
CANCELLED: Final = 6

STATUS_NAMES: Final = {SUCCEEDED: "succeeded", FAILED: "failed", EXPIRED: "expired", CANCELLED: "cancelled"}
STATUS_CODES: Final = {name: code for code, name in STATUS_NAMES.items()}


class Segment:
    """The ledger entries of ordinals ``number * SEGMENT_ROWS`` onwards; ``states[i]`` and ``owners[i]``."""

    __slots__ = ("number", "owners", "states")

    def __init__(self, number: int, states: bytearray | None = None, owners: array[int] | None = None) -> None:
        self.number = number
        self.states = bytearray() if states is None else states
        self.owners = array("I") if owners is None else owners

    @property
    def first(self) -> int:
        """The ordinal of entry 0."""
        return self.number * SEGMENT_ROWS

    def __len__(self) -> int:
        return len(self.states)

    def pack(self) -> bytes:
        """Return the stored form."""
        owners = self.owners
        if sys.byteorder == "big":
            owners = array("I", owners)
            owners.byteswap()
        return bytes(self.states) + owners.tobytes()

    @classmethod
    def unpack(cls, number: int, entries: bytes) -> Segment:
        """Read the stored form; raises ValueError when the bytes do not make whole entries."""
        count, rest = divmod(len(entries), 5)
        if rest or count > SEGMENT_ROWS:
            raise ValueError(f"ledger segment {number} has {len(entries)} bytes")
        owners = array("I")
        owners.frombytes(entries[count:])
        if sys.byteorder == "big":
            owners.byteswap()
        return cls(number, bytearray(entries[:count]), owners)


def by_segment(ordinals: Sequence[int]) -> list[tuple[int, int, int]]:
    """Cut sorted ordinals at segment borders: ``(segment, start, stop)``, meaning ``ordinals[start:stop]``."""
    cuts: list[tuple[int, int, int]] = []
    start = 0
    while start < len(ordinals):
        number = ordinals[start] // SEGMENT_ROWS
        stop = bisect_left(ordinals, (number + 1) * SEGMENT_ROWS, start)
        cuts.append((number, start, stop))
        start = stop
    return cuts
