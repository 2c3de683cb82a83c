"""What the validation errors of an OpenAI-style batch mean for its rows.

The codes are those of OpenAI and of Azure, which names some differently (protocol sheet openai.md §2.3 and §8, read
2026-11-22). An unknown code with a line is that row's own problem; without a line it is worth another try.
"""

from __future__ import annotations

import re

from bydawn.core.batch import BatchProblem, Refusal
from bydawn.providers._openai_errors import QUOTA_WORDS

_QUOTA = frozenset({"token_limit_exceeded"})
_LANE = frozenset({"model_not_found"})
"""Codes that speak of what all rows of a batch share."""

_SIZE = frozenset({"too_many_tasks"})
"""Codes that say that there are more rows than one batch may have, whatever we took the limit to be."""

_LIMIT = re.compile(r"[Ll]imit(?: of)?:?\s*(\d[\d,]*(?:\.\d+)?)\s*([KkMm])?\b")


def read_refusal(problems: tuple[BatchProblem, ...]) -> Refusal:
    """Make sense of a batch's validation errors; the list may be empty or incomplete."""
    for problem in problems:
        if problem.code in _QUOTA:
            return Refusal("quota", problem.message, problem.code, limit=_limit(problem.message))
        if problem.code in QUOTA_WORDS:
            return Refusal("money", problem.message, problem.code)
    for problem in problems:
        if problem.code in _LANE:
            return Refusal("lane", problem.message, problem.code)
        if problem.code in _SIZE:
            return Refusal("size", problem.message, problem.code)
    bad = tuple((problem.line, problem) for problem in problems if problem.line is not None)
    if bad:
        return Refusal("rows", bad[0][1].message, bad[0][1].code, bad=bad)
    if problems:
        return Refusal("unknown", problems[0].message, problems[0].code)
    return Refusal("unknown", "the provider gave no reason")


def _limit(message: str) -> int | None:
    """Read the limit a message names ("Limit: 2,000,000 enqueued tokens", "limit of 30K"); None if it names none."""
    found = _LIMIT.search(message)
    if not found:
        return None
    unit = {"K": 1_000, "M": 1_000_000}.get((found.group(2) or "").upper(), 1)
    return int(float(found.group(1).replace(",", "")) * unit) or None
