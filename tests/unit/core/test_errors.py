"""The tree of errors is what its docstring draws, and every error has a documented exit code."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from bydawn import errors
from bydawn.errors import BODY_LIMIT, BudgetExceeded, BydawnError, InvalidInput, Problem, ProviderError, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

_DRAWN = re.compile(r"^ {4}([│ ]*)(?:├── |└── )?(\w+)\b.*?(?:exit (\d))?$")


def drawn() -> Iterator[tuple[int, str, int | None]]:
    """Depth, name and exit code of each line of the drawn tree."""
    for line in (errors.__doc__ or "").split("\n"):
        found = _DRAWN.match(line)
        if found and found[2] in vars(errors):
            depth = len(found[1]) // 4 + ("── " in line)
            yield depth, found[2], int(found[3]) if found[3] else None


def all_errors(base: type[BydawnError] = BydawnError) -> set[type[BydawnError]]:
    return {base}.union(*(all_errors(below) for below in base.__subclasses__()))


def test_the_drawing_shows_every_error_under_its_parent() -> None:
    path: list[str] = []
    parents = {}
    for depth, name, _ in drawn():
        path[depth:] = [name]
        parents[name] = path[depth - 1] if depth else "Exception"
    assert parents == {kind.__name__: kind.__bases__[0].__name__ for kind in all_errors()}


def test_the_drawing_states_the_exit_codes() -> None:
    stated = {name: code for _, name, code in drawn() if code is not None}
    assert stated
    assert {name: getattr(errors, name).exit_code for name in stated} == stated
    assert {kind.exit_code for kind in all_errors()} == {1, 2, 3, 4}


def test_a_provider_error_keeps_no_more_of_an_answer_than_it_says() -> None:
    assert len(Rejected("no", body=b"x" * (BODY_LIMIT + 1)).body) == BODY_LIMIT


@pytest.mark.parametrize("kind", sorted(all_errors(ProviderError), key=lambda kind: kind.__name__))
def test_only_what_may_pass_by_itself_may_be_repeated_later(kind: type[ProviderError]) -> None:
    assert (kind.retry == "later") == (kind.__name__ in {"RateLimited", "Unavailable"})


def test_errors_say_what_to_do() -> None:
    budget = BudgetExceeded("over", spent_usd=Decimal("1.5"), limit_usd=Decimal(1), hint="raise it")
    assert (budget.hint, budget.spent_usd, budget.limit_usd) == ("raise it", Decimal("1.5"), Decimal(1))
    invalid = InvalidInput("a.csv", [Problem(3, "bad")], 1)
    assert str(invalid) == "a.csv: 1 problem, nothing was submitted"
    assert invalid.hint
