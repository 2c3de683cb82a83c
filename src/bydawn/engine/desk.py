"""What everyone who works on a job needs within reach: one bundle instead of twelve arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bydawn.engine.packing import lane_limits
from bydawn.engine.route import narrowed
from bydawn.providers.registry import get_provider
from bydawn.store.records import lane_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from bydawn.clock import Clock
    from bydawn.core.batch import Lane, Limits
    from bydawn.core.events import Listener
    from bydawn.core.model import ModelRef
    from bydawn.core.settings import EngineSettings
    from bydawn.ids import IdSource
    from bydawn.pricing import Rates
    from bydawn.providers.base import Provider
    from bydawn.store.files import JobFiles
    from bydawn.store.ledger import Segment
    from bydawn.store.records import BatchRecord
    from bydawn.store.sqlite import Store
    from bydawn.transports.driver import Driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts a job is worked on with: ``driver`` gives the way to a provider, ``rates`` a model's prices today."""

    job_id: str
    job_name: str
    realm: str
    store: Store
    files: JobFiles
    lanes: tuple[Lane, ...]
    driver: Callable[[str], Driver]
    rates: Callable[[ModelRef], Rates | None]
    clock: Clock
    rng: Random
    ids: IdSource
    settings: EngineSettings
    limits: Mapping[str, Any]
    on_event: Listener

    def lane(self, batch: BatchRecord) -> Lane:
        """The batch's lane."""
        return self.lanes[batch.lane]

    def provider(self, batch: BatchRecord) -> Provider:
        """The codec that speaks for the batch."""
        return get_provider(self.lane(batch).model.provider)

    def way(self, batch: BatchRecord) -> Driver:
        """The driver to the batch's provider."""
        return self.driver(self.lane(batch).model.provider)

    def segment(self, number: int) -> Segment:
        """One segment of the job's ledger."""
        return self.store.segment(self.job_id, number)

    def later(self, delay_s: float) -> float:
        """The Unix time that many seconds from now."""
        return self.clock.now() + delay_s

    def lane_limits(self, batch: BatchRecord, *, rows: int | None = None, tokens: int | None = None) -> Limits:
        """The limits for batches made of this one's rows, narrowed further by ``rows`` and ``tokens``."""
        lane = self.lane(batch)
        limits = lane_limits(
            narrowed(self.provider(batch).limits(lane.endpoint), self.limits, lane),
            max_rows=self.settings.max_batch_rows,
            tokens=self.store.quotas(self.realm).get(lane_key(lane)),
        )
        if rows is not None:
            limits = replace(limits, rows=min(limits.rows, rows))
        if tokens is not None:
            known = limits.enqueued_tokens
            limits = replace(limits, enqueued_tokens=tokens if known is None else min(known, tokens))
        return limits
