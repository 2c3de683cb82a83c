"""Entries of the ledger, run by run: the same as one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.engine import entering
from bydawn.engine.entering import LedgerWriter
from bydawn.store import ledger
from bydawn.store.ledger import PENDING, SEGMENT_ROWS, VOID, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable

ENTRIES = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), max_size=40)


def written(entries: Iterable[tuple[int, int]], end: int) -> list[Segment]:
    segments: list[Segment] = []
    writer = LedgerWriter(segments.append)
    for ordinal, owner in entries:
        writer.enter(ordinal, owner)
    writer.finish(end)
    return segments


@settings(max_examples=150, deadline=None, derandomize=True)
@given(gaps=ENTRIES, more=st.integers(0, 20))
def test_every_entry_is_where_it_belongs_and_gaps_are_void(gaps: list[tuple[int, int]], more: int) -> None:
    entries, ordinal = {}, -1
    for gap, owner in gaps:
        ordinal += gap
        entries[ordinal] = owner
    end = ordinal + 1 + more
    with pytest.MonkeyPatch.context() as patch:
        for module in (ledger, entering):
            patch.setattr(module, "SEGMENT_ROWS", 8)
        segments = written(entries.items(), end)
        assert [segment.number for segment in segments] == list(range(-(-end // 8)))
        assert [len(segment) for segment in segments] == [min(8, end - first) for first in range(0, end, 8)]
    found = [entry for segment in segments for entry in zip(segment.states, segment.owners, strict=True)]
    assert found == [(PENDING, entries[n]) if n in entries else (VOID, 0) for n in range(end)]


@pytest.mark.parametrize("end", [0, 1, SEGMENT_ROWS - 1, SEGMENT_ROWS, SEGMENT_ROWS + 1, 2 * SEGMENT_ROWS])
def test_segments_are_cut_at_the_real_border(end: int) -> None:
    segments = written(((ordinal, 1 + (ordinal >= SEGMENT_ROWS)) for ordinal in range(end)), end)
    assert sum(len(segment) for segment in segments) == end
    assert all(segment.states.count(PENDING) == len(segment) for segment in segments)
    assert [set(segment.owners) for segment in segments] == [{number + 1} for number in range(len(segments))]


def test_a_full_segment_is_handed_over_once_it_is_full() -> None:
    """Memory holds one segment, however large the job."""
    segments: list[Segment] = []
    writer = LedgerWriter(segments.append)
    writer.enter(0, 1)
    writer.enter(SEGMENT_ROWS + 5, 2)
    writer.enter(SEGMENT_ROWS + 6, 3)
    assert [(segment.number, len(segment)) for segment in segments] == [(0, SEGMENT_ROWS)]
    writer.finish(SEGMENT_ROWS + 7)
    assert [(segment.number, len(segment)) for segment in segments] == [(0, SEGMENT_ROWS), (1, 7)]
