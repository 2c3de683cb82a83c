"""Decisions that need judgement, as pure functions: how long to wait, what may be tried again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bydawn.store.ledger import CANCELLED, EXPIRED, FAILED, SUCCEEDED, WAITING

if TYPE_CHECKING:
    from random import Random

    from bydawn.core.result import Answer
    from bydawn.core.settings import EngineSettings

GROWTH = 1.5
JITTER = 0.2
MAX_REFUSALS = 4
"""How often the same rows may be refused as a batch, with no row named, before they count as failed."""
QUOTA_WAIT_MAX_S = 1800.0
"""Quota is reported to be freed late, up to hours (openai.md §9); half an hour between tries is no storm."""


def poll_delay(looks: int, settings: EngineSettings, rng: Random) -> float:
    """Seconds until the next look at a batch in which ``looks`` looks have shown nothing new."""
    delay = settings.poll_min_s * math.pow(GROWTH, min(looks, 60)) * rng.uniform(1, 1 + JITTER)
    return max(settings.poll_min_s, min(settings.poll_max_s * rng.uniform(1 - JITTER, 1), delay))


def retry_delay(failures: int, settings: EngineSettings, rng: Random, asked_s: float | None = None) -> float:
    """Seconds before a call that failed ``failures`` times running is made again, at least what the provider asked."""
    delay = min(settings.poll_max_s, settings.retry_first_s * math.pow(2, min(failures, 30)))
    return max(asked_s or 0.0, delay * rng.uniform(1 - JITTER, 1 + JITTER))


def quota_delay(refusals: int, settings: EngineSettings, rng: Random) -> float:
    """Seconds before rows that were refused for quota are sent again when nothing ends meanwhile."""
    delay = min(max(QUOTA_WAIT_MAX_S, settings.poll_max_s), settings.poll_max_s * math.pow(2, min(refusals, 10)))
    return delay * rng.uniform(1 - JITTER, 1 + JITTER)


_NEVER_RAN = ("quota", "batch_refused")


def judge(answer: Answer, *, attempts_left: int, may_retry: bool) -> int:
    """Return the ledger state that an attempt's outcome leads to.

    Expired, cancelled and missing rows and retryable errors are tried again while attempts are left; refusals, bad
    requests and answers that fail a check never are. What never ran (no money, the whole batch refused) is tried again
    however few attempts are left, because it did not use one up.
    """
    if answer.outcome == "succeeded":
        return SUCCEEDED
    error = answer.error
    retryable = error is None or error.retryable
    if may_retry and retryable and (attempts_left > 0 or (error is not None and error.kind in _NEVER_RAN)):
        return WAITING
    if answer.outcome == "expired":
        return EXPIRED
    return CANCELLED if answer.outcome == "cancelled" else FAILED
