"""Enters planned requests into the ledger, run by run: consecutive requests of one batch cost no more than one."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from bydawn.store.ledger import PENDING, SEGMENT_ROWS, VOID, Segment

if TYPE_CHECKING:
    from collections.abc import Callable


class LedgerWriter:
    """Fills segments in the order of ordinals and hands over each one that is full. Gaps are `VOID`."""

    def __init__(self, put_segment: Callable[[Segment], None]) -> None:
        self._put_segment = put_segment
        self._segment = Segment(0)
        self._owner = 0
        self._start = 0
        self._end = 0

    def enter(self, ordinal: int, owner: int) -> None:
        """Note that a request is in batch ``owner``. Ordinals must rise."""
        if ordinal == self._end and owner == self._owner:
            self._end = ordinal + 1
            return
        self._close_run()
        self._owner = owner
        self._start, self._end = ordinal, ordinal + 1

    def finish(self, end: int) -> None:
        """Hand over what remains, up to ordinal ``end``."""
        self._close_run()
        self._append(VOID, 0, end)
        if len(self._segment):
            self._put_segment(self._segment)

    def _close_run(self) -> None:
        self._append(VOID, 0, self._start)
        self._append(PENDING, self._owner, self._end)

    def _append(self, state: int, owner: int, end: int) -> None:
        """Extend the ledger up to ordinal ``end``."""
        segment = self._segment
        while (missing := end - segment.first - len(segment)) > 0:
            part = min(missing, SEGMENT_ROWS - len(segment))
            segment.states.extend(bytes((state,)) * part)
            segment.owners.extend(array("I", (owner,)) * part)
            if len(segment) == SEGMENT_ROWS:
                self._put_segment(segment)
                segment = self._segment = Segment(segment.number + 1)
