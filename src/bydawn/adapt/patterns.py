"""How facts name models: shell-style patterns, in which a fine-tuned model counts as its base."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_WILD = frozenset("*?[")


def is_exact(pattern: str) -> bool:
    """Whether the pattern names one model only."""
    return _WILD.isdisjoint(pattern)


def base_model(name: str) -> str:
    """The model whose rules hold: ``ft:gpt-4o-mini-2024-07-18:org::id`` behaves as ``gpt-4o-mini-2024-07-18``."""
    if not name.startswith("ft:"):
        return name
    return name.split(":", 2)[1]


def first_match(patterns: Iterable[str], name: str) -> str | None:
    """The first pattern that fits the model's name or its base, or None."""
    base = base_model(name)
    for pattern in patterns:
        if fnmatchcase(name, pattern) or fnmatchcase(base, pattern):
            return pattern
    return None
