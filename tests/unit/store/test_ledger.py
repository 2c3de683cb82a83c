"""The packed ledger: five bytes a request, whole or not at all."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.core.result import Status
from bydawn.store import ledger
from bydawn.store.ledger import SEGMENT_ROWS, STATUS_CODES, STATUS_NAMES, Segment, by_segment

quick = settings(max_examples=80, deadline=None, derandomize=True)
ENTRIES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2**32 - 1)), max_size=300)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 5 * SEGMENT_ROWS + 5])
def test_bytes_that_are_no_whole_entries_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"ledger segment 7 has {size} bytes"):
        Segment.unpack(7, bytes(size))


@quick
@given(number=st.integers(0, 2**40), entries=ENTRIES)
def test_what_is_packed_is_unpacked(number: int, entries: list[tuple[int, int]]) -> None:
    states, owners = bytearray(state for state, _ in entries), array("I", [owner for _, owner in entries])
    packed = Segment(number, states, owners).pack()
    again = Segment.unpack(number, packed)
    assert len(packed) == 5 * len(entries)
    assert (again.number, again.states, again.owners, len(again)) == (number, states, owners, len(entries))


def test_the_stored_form_is_the_documented_one() -> None:
    """States first, one byte each, then little-endian owners: another machine must read the same."""
    assert Segment(0, bytearray([3, 1]), array("I", [1, 258])).pack() == b"\x03\x01\x01\0\0\0\x02\x01\0\0"


def test_a_full_segment_fits() -> None:
    full = Segment(2, bytearray(SEGMENT_ROWS), array("I", bytes(4 * SEGMENT_ROWS)))
    assert len(Segment.unpack(2, full.pack())) == SEGMENT_ROWS
    assert full.first == 2 * SEGMENT_ROWS


@quick
@given(ordinals=st.lists(st.integers(0, 60), unique=True).map(sorted))
def test_cuts_cover_all_ordinals_once_and_never_cross_a_border(ordinals: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "SEGMENT_ROWS", 8)
        cuts = by_segment(ordinals)
    assert [ordinal for _, start, stop in cuts for ordinal in ordinals[start:stop]] == ordinals
    for number, start, stop in cuts:
        assert {ordinal // 8 for ordinal in ordinals[start:stop]} == {number}
    assert [number for number, _, _ in cuts] == sorted({number for number, _, _ in cuts})


@quick
@given(first=st.integers(0, 20), count=st.integers(0, 40), step=st.integers(1, 9))
def test_a_range_is_cut_like_a_list(first: int, count: int, step: int) -> None:
    ordinals = range(first, first + count * step, step)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "SEGMENT_ROWS", 8)
        assert by_segment(ordinals) == by_segment(list(ordinals))


def test_the_real_border_is_where_the_schema_says() -> None:
    assert by_segment([SEGMENT_ROWS - 1, SEGMENT_ROWS, 3 * SEGMENT_ROWS]) == [(0, 0, 1), (1, 1, 2), (3, 2, 3)]
    assert by_segment([]) == []


def test_every_final_status_has_one_code() -> None:
    assert set(STATUS_NAMES.values()) == set(Status.__args__)
    assert {STATUS_CODES[name]: name for name in STATUS_CODES} == STATUS_NAMES
    codes = [ledger.VOID, ledger.PENDING, ledger.WAITING, *STATUS_NAMES]
    assert len(set(codes)) == len(codes)
