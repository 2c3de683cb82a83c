"""Steering single requests from inside their text: ``[[sandbox: status=429 times=1]]``.

The words are those of a row fault's outcome (``refuse``, ``empty``, ``status=503`` …), with ``code=…`` for the error
code and ``times=N``: only the first N executions of that very body are affected, later ones succeed.
"""

from __future__ import annotations

import re
from typing import NamedTuple, get_args

from bydawn.sandbox.faults import RowOutcome

_MARK = re.compile(rb"\[\[sandbox:([^\]]*)\]\]")


class Directive(NamedTuple):
    """What shall happen to a request."""

    outcome: str
    status: int
    code: str | None
    times: int | None
    """How many executions are affected; None means all."""


def directive_of(body: bytes) -> Directive | None:
    """The directive in a request's text, or None. A marker with unknown words is no directive."""
    if b"[[sandbox:" not in body:
        return None
    found = _MARK.search(body)
    return None if found is None else _parse(found[1].decode("utf-8", "replace"))


def _parse(text: str) -> Directive | None:
    words = dict(word.partition("=")[::2] for word in text.split())
    outcome = next((word for word in words if word in get_args(RowOutcome)), None)
    numbers = {name: words[name] for name in ("status", "times") if words.get(name)}
    if outcome is None or not all(number.isdecimal() for number in numbers.values()):
        return None
    times = int(numbers["times"]) if "times" in numbers else None
    return Directive(outcome, int(numbers.get("status", "500")), words.get("code"), times)
