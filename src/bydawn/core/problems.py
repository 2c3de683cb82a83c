"""Collects what is wrong with an input: all of it counted, the first few kept."""

from __future__ import annotations

from bydawn.errors import InvalidInput, Problem

SHOWN = 20
"""How many problems are kept to be shown; the rest are only counted."""


class Problems:
    """The problems of one input, in the order they were found. ``name`` is the input's name in messages."""

    __slots__ = ("kept", "name", "total")

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept: list[Problem] = []
        self.total = 0

    def add(self, line: int | None, message: str, remedy: str = "") -> None:
        """Record one problem; ``line`` is 1-based, None where the whole input is meant."""
        self.total += 1
        if len(self.kept) < SHOWN:
            self.kept.append(Problem(line, message, remedy))

    def raise_if_any(self) -> None:
        """Raise InvalidInput when something was recorded."""
        if self.total:
            raise InvalidInput(self.name, self.kept, self.total)
