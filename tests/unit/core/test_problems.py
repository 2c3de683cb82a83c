"""All problems are counted, the first are kept, and the error says both."""

from __future__ import annotations

import pytest

from bydawn.core.problems import SHOWN, Problems
from bydawn.errors import InvalidInput


def test_no_problem_raises_nothing() -> None:
    Problems("rows.jsonl").raise_if_any()


def test_the_first_problems_are_kept_and_all_are_counted() -> None:
    problems = Problems("rows.jsonl")
    for line in range(1, SHOWN + 6):
        problems.add(line, "is wrong", "mend it")
    with pytest.raises(InvalidInput, match=r"^rows\.jsonl: 25 problems, nothing was submitted$") as caught:
        problems.raise_if_any()
    assert caught.value.total == SHOWN + 5
    assert [problem.line for problem in caught.value.problems] == list(range(1, SHOWN + 1))
    assert str(caught.value.problems[0]) == "line 1: is wrong (mend it)"


def test_a_problem_of_the_whole_input_has_no_line() -> None:
    problems = Problems("rows.jsonl")
    problems.add(None, "the input has no rows")
    with pytest.raises(InvalidInput, match="1 problem, nothing") as caught:
        problems.raise_if_any()
    assert str(caught.value.problems[0]) == "the input has no rows"
