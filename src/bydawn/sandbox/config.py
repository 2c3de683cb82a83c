"""Every setting of a sandbox, in one frozen value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bydawn.sandbox.faults import NO_FAULTS, FaultPlan

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """What a sandbox is told before it starts. Only `home` has no default."""

    home: Path
    """The state folder (made with mode 0700). The same folder again continues where it stopped."""

    seed: int = 0
    """Everything random is drawn from it: ids, durations, order, answers, faults."""

    speed: float = 1.0
    """Virtual seconds that pass per real second; 0 stands still and moves only by ``POST /_sandbox/clock``."""

    instant: bool = False
    """True: a batch is done as soon as its work is, instead of after drawn durations. The clock keeps its speed."""

    start_at: float | None = None
    """Virtual Unix time of the first start in `home`; None is the real time."""

    faults: FaultPlan = NO_FAULTS
    """What goes wrong, and when."""

    revoked_keys: frozenset[str] = frozenset()
    """Keys that answer 401. Any other key that begins with ``sk-`` is an account of its own."""

    broke_keys: frozenset[str] = frozenset()
    """Keys of accounts without money: what costs something answers 429 ``insufficient_quota``, for ever."""

    unscoped_keys: frozenset[str] = frozenset()
    """Keys that may read but not write: 403."""

    enqueued_tokens_max: int = 1_000_000_000
    """Prompt tokens that one account may have waiting per model, over all its live batches."""

    enqueued_tokens_max_by_model: dict[str, int] = field(default_factory=dict)
    """Exceptions to `enqueued_tokens_max`, by model name as sent."""

    batches_per_hour_max: int = 2_000
    """Batches that one account may create within a virtual hour."""

    requests_per_batch_max: int = 50_000
    """Lines of one batch file."""

    extra_models: tuple[str, ...] = ()
    """Chat models to accept beside the known ones, with no rules of their own."""

    refuse_models_ended_by: date | None = None
    """Models whose shutdown date is on or before this day are refused; None accepts ended models too."""

    upstream_url: str | None = None
    """Base URL (``http://127.0.0.1:8080/v1``): an OpenAI-compatible endpoint that answers in the generator's place."""

    upstream_model: str | None = None
    """Model name to send upstream; None sends the one in the request."""

    upstream_key: str | None = field(default=None, repr=False)
    """Bearer key for the upstream, when it wants one."""

    upstream_concurrency: int = 2
    """Requests under way at the upstream at once, per batch."""

    upstream_timeout_s: float = 300.0
    """Real seconds before an upstream request becomes a failed row."""

    webhook_url: str | None = None
    """Where ``batch.completed`` and the other events are posted; None sends none."""

    webhook_secret: str = field(default="whsec_c2FuZGJveA==", repr=False)
    """What events are signed with."""

    def __post_init__(self) -> None:
        if not 0 <= self.speed < math.inf:
            raise ValueError(f"speed must be a number from 0 on, got {self.speed!r}")
