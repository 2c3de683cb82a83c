"""Token estimates from sizes: ordered, rounded up, and bounded by one token per byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bydawn.pricing import at_most_tokens, estimate_tokens, likely_tokens


@given(st.integers(0, 10**9))
def test_likely_is_below_safe_and_safe_below_the_bound(n_bytes: int) -> None:
    assert likely_tokens(n_bytes) <= estimate_tokens(n_bytes) <= estimate_tokens(n_bytes, ascii_only=False)
    assert estimate_tokens(n_bytes, ascii_only=False) <= at_most_tokens(n_bytes)


@pytest.mark.parametrize(
    ("n_bytes", "ascii_only", "tokens"),
    [(0, None, 0), (1, None, 1), (3, None, 1), (4, True, 2), (300, True, 100), (300, False, 150), (3, False, 2)],
)
def test_estimates_round_up(n_bytes: int, ascii_only: bool | None, tokens: int) -> None:
    assert estimate_tokens(n_bytes, ascii_only) == tokens
