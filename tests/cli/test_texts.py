"""How numbers are written for people."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bydawn.cli import texts


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (2_000, "row", "2,000 rows"),
        (2, "batch", "2 batches"),
        (2, "entry", "2 entries"),
    ],
)
def test_count(number: int, noun: str, text: str) -> None:
    assert texts.count(number, noun) == text


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        ("0", "$0"),
        ("0E-12", "$0"),
        ("1234.567", "$1,234.57"),
        ("1", "$1.00"),
        ("0.5", "$0.5000"),
        ("0.0123", "$0.0123"),
        ("0.00001234", "$0.000012"),
        ("-0.25", "$-0.2500"),
    ],
)
def test_money_never_rounds_a_cost_to_nothing(usd: str, text: str) -> None:
    assert texts.money(Decimal(usd)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (3_600, "1 h"),
        (7_800, "2 h 10 min"),
        (97_200, "1 d 3 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert texts.duration(seconds) == text


@pytest.mark.parametrize(
    ("eta_s", "text"),
    [
        (None, "not known yet"),
        (20, "less than a minute, from what was seen"),
        (2_410, "about 40 min, from what was seen"),
        (7_000, "about 2 h, from what was seen"),
    ],
)
def test_time_left_admits_that_it_is_a_guess(eta_s: float | None, text: str) -> None:
    assert texts.time_left(eta_s) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1 byte"), (999, "999 bytes"), (1_000, "1.0 kB"), (200_000_000, "200.0 MB"), (5 * 10**9, "5.0 GB")],
)
def test_size(number: int, text: str) -> None:
    assert texts.size(number) == text


def test_table_sets_columns_and_leaves_no_blanks_at_the_end() -> None:
    lines = texts.table(["a", "number", "note"], [["xyz", "1", ""], ["x", "1,000", "n"]], right=(1,))
    assert lines == ["a    number  note", "xyz       1", "x     1,000  n"]
