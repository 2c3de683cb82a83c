"""Duplicate ids are found exactly, whatever the order and number of ids."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bydawn.io import unique
from bydawn.io.unique import Duplicate, UniqueIds

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class Looks:
    """Ids with line numbers that can be read again; counts how often they were."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self.count = 0

    def __call__(self) -> Generator[tuple[int, str], None, None]:
        self.count += 1
        yield from enumerate(self.ids, 1)


def duplicates_of(ids: list[str]) -> tuple[list[Duplicate], int]:
    looks = Looks(ids)
    with UniqueIds(looks) as checker:
        for key in ids:
            checker.add(key)
        return list(checker.duplicates()), looks.count


def expected(ids: list[str]) -> list[Duplicate]:
    first: dict[str, int] = {}
    return [Duplicate(key, n, first[key]) for n, key in enumerate(ids, 1) if first.setdefault(key, n) != n]


KEYS = st.text(alphabet="01a", max_size=3) | st.integers(0, 30).map(str)


@given(ids=st.lists(KEYS, max_size=60))
def test_agrees_with_a_set(ids: list[str]) -> None:
    assert duplicates_of(ids)[0] == expected(ids)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(KEYS, max_size=60))
def test_agrees_when_spilling_to_disk(monkeypatch: pytest.MonkeyPatch, ids: list[str]) -> None:
    monkeypatch.setattr(unique, "HELD_HASHES", 7)
    assert duplicates_of(ids)[0] == expected(ids)


@pytest.mark.parametrize(
    "ids",
    [
        [str(n) for n in range(5000)],  # shorter first
        [f"{n:06}" for n in range(5000)],  # both orders
        sorted(str(n) for n in range(5000)),  # dictionary order
    ],
)
def test_rising_ids_need_no_second_look(ids: list[str]) -> None:
    assert duplicates_of(ids) == ([], 0)


def test_unordered_ids_without_duplicates_are_not_compared_again() -> None:
    ids = [f"{n * 7919 % 5000:05}" for n in range(5000)]
    assert duplicates_of(ids) == ([], 1)


def test_equal_hashes_of_different_ids_are_no_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique, "hash", len, raising=False)
    assert duplicates_of(["b", "a", "c", "a"])[0] == [Duplicate("a", 4, 2)]


def test_the_number_of_suspects_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique, "SUSPECTS_MAX", 3)
    assert len(duplicates_of([str(n) for n in range(50)] * 2)[0]) == 3


def test_the_temporary_file_is_closed_when_reading_stops_early(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as stack:
        checker = stack.enter_context(UniqueIds(Looks(["b", "a"])))
        checker.add("b")
        checker.add("a")
        hashes = checker._hashes
        assert hashes is not None
    assert hashes._file.closed


def test_duplicates_name_both_lines(read: Callable[..., Any]) -> None:
    got = read('{"id":"b","prompt":"x"}\n\n{"id":"a","prompt":"x"}\n{"id":"b","prompt":"x"}\n{"id":"b","prompt":"x"}\n')
    assert got.lines == [4, 5]
    assert got.messages.count("the id 'b' is on line 1 too") == 2


def test_a_number_and_its_text_are_one_id(read: Callable[..., Any]) -> None:
    assert read('{"id":1,"prompt":"x"}\n{"id":"1","prompt":"x"}\n').lines == [2]


def test_ids_collide_with_the_row_numbers_of_rows_without(read: Callable[..., Any]) -> None:
    content = '{"prompt":"x"}\n{"prompt":"x"}\n{"id":"1","prompt":"x"}\n'
    assert read(content).lines == [3]
    assert not read(content.replace('"1"', '"2"')).problems.total


def test_a_bad_row_keeps_its_number(read: Callable[..., Any]) -> None:
    """Row 1 is bad: row 2 must not slip into its place and collide with the id "1"."""
    got = read('{"id":"1","prompt":"x"}\nnonsense\n{"prompt":"x"}\n')
    assert got.lines == [2]


def test_a_long_id_is_shortened_in_the_message(read: Callable[..., Any]) -> None:
    got = read(f'{{"id":"{"x" * 5000}","prompt":"x"}}\n' * 2)
    assert len(got.messages) < 300
