"""The engine's dials, with the reasons for their defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Dials of the engine; times in seconds.

    ``poll_min_s`` and ``poll_max_s`` bound the backoff between two looks at a batch: small batches finish within a
    minute, large ones take hours. ``max_batch_rows`` caps batches below the provider's own limit. ``settle_wait_s`` is
    how long the provider's list must keep not showing a batch before its create counts as never done (lists may lag;
    no provider states by how much). ``uploads`` bounds how many batches are sent at once.
    """

    poll_min_s: float = 5.0
    poll_max_s: float = 300.0
    max_batch_rows: int | None = None
    settle_wait_s: float = 60.0
    uploads: int = 2
    call_attempts: int = 6
    retry_first_s: float = 1.0
    retry_max_s: float = 60.0
