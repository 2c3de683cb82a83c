"""The ordinals of a batch: saved and loaded alike, found again, and a range wherever they are evenly spaced."""

from __future__ import annotations

import tempfile
from array import array
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.engine.rows import as_range, load_rows, save_rows
from bydawn.errors import StoreDamaged

ASCENDING = st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=60).map(sorted)
CLOSE = st.lists(st.integers(0, 30), unique=True, max_size=12).map(sorted)
EVEN = st.builds(
    lambda first, count, step: list(range(first, first + count * step, step)),
    st.integers(0, 2**40),
    st.integers(0, 40),
    st.integers(1, 9),
)
quick = settings(max_examples=80, deadline=None, derandomize=True)


@quick
@given(ASCENDING | CLOSE | EVEN)
def test_what_is_saved_is_loaded(ordinals: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        save_rows(path, array("Q", ordinals))
        assert path.stat().st_size == 8 * len(ordinals)
        assert list(load_rows(path, len(ordinals))) == ordinals


def test_they_are_little_endian_on_disk(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows", array("Q", [1, 258]))
    assert (tmp_path / "rows").read_bytes() == b"\1" + bytes(7) + b"\2\1" + bytes(6)


@pytest.mark.parametrize("content", [None, b"", b"1234567", b"1" * 8, b"1" * 24, b"1" * 17])
def test_a_file_with_other_than_the_batchs_rows_is_damaged_state(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rows"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreDamaged, match="rows"):
        load_rows(path, 2)


@quick
@given(st.lists(st.integers(0, 30), max_size=6) | EVEN)
def test_a_range_is_the_same_numbers_or_there_is_none(ordinals: list[int]) -> None:
    even = as_range(ordinals)
    gaps = {after - before for before, after in pairwise(ordinals)}
    assert (even is not None) == (len(gaps) <= 1 and all(gap > 0 for gap in gaps))
    if even is not None:
        assert list(even) == ordinals


@pytest.mark.parametrize("ordinals", [[2, 2], [3, 2], [0, 1, 3], [0, 0, 2], [0, 3, 4, 9], [5, 5, 5]])
def test_uneven_rows_are_no_range(ordinals: list[int]) -> None:
    assert as_range(ordinals) is None
