"""The record of one change that adaptation makes to requests (promise 3: nothing changed silently)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["dropped", "renamed", "clamped", "replaced", "moved", "added", "rerouted"]


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What was done to a request, and on whose word.

    ``parameter`` is the field in the user's words; ``detail`` completes the sentence ("temperature dropped for 48 rows:
    <detail>"); ``rule`` names the rule in the facts; ``source`` and ``certainty`` say where the fact comes from.
    Rules make each adjustment once, so that counting rows by adjustment is counting by identity.
    """

    action: Action
    parameter: str
    detail: str
    rule: str
    source: str = ""
    certainty: str = ""
