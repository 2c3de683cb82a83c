"""Creating batches, finding out about creates in doubt, and asking for cancellation.

Theory of operation. `Sending.send` makes the only unsafe call there is: the driver calls ``before_unsafe`` just before
it, which commits ``submitting``. From there on the batch is in doubt until an answer says otherwise; `Sending.settle`
looks for it, and only when the provider's list has kept silent long enough is it taken for never created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bydawn.core.batch import Refusal, Submission
from bydawn.core.events import Notice
from bydawn.engine.policy import poll_delay, retry_delay
from bydawn.errors import InDoubt, NotFound, ProviderError, RateLimited, Rejected, TooLarge, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bydawn.engine.desk import Desk
    from bydawn.store.records import BatchRecord

LOOKS_BEFORE_ABSENT = 3
"""How many times a provider's list must be read in vain, besides the time that must pass, before a create counts as
never done."""

DOUBTED_SINCE = "doubted_since"
"""Fact: when a create came into doubt. Waiting counts from there: the provider may have acted after our time-out."""


class Sending:
    """Sends the batches of one job. ``refuse`` commits that a batch was refused."""

    def __init__(self, desk: Desk, refuse: Callable[[BatchRecord, Refusal], None]) -> None:
        self._desk = desk
        self._refuse = refuse

    async def send(self, batch: BatchRecord) -> None:
        """Create the batch at its provider.

        Raises what keeps all batches from being sent (a refused key, no money, no connection), with this one safe.
        """
        desk, store = self._desk, self._desk.store
        stored = batch

        def checkpoint(facts: Mapping[str, str]) -> None:
            nonlocal stored
            stored = store.update_batch(stored, facts={**stored.facts, **facts})

        def commit_intent() -> None:
            nonlocal stored
            stored = store.move_batch(stored, "send", sent_at_s=desk.clock.now(), looks=0, note=None)

        flow = desk.provider(batch).submit(self._submission(batch), batch.facts)
        try:
            provider_batch_id = await desk.way(batch).run(flow, on_checkpoint=checkpoint, before_unsafe=commit_intent)
        except InDoubt as doubt:
            self._lose(stored, note=str(doubt))
            desk.on_event(Notice("warning", f"batch {batch.number} is in doubt and will be looked for: {doubt}"))
            return
        except (Rejected, NotFound) as error:
            self._refuse_sending(stored, error)
            return
        except RateLimited as error:
            self._take_back(stored, str(error), error.retry_after_s)
            return
        except (ProviderError, TransportError) as error:
            self._take_back(stored, str(error), None)
            raise
        store.move_batch(
            stored,
            "accepted",
            provider_batch_id=provider_batch_id,
            look_at_s=desk.later(poll_delay(0, desk.settings, desk.rng)),
        )

    def _submission(self, batch: BatchRecord) -> Submission:
        return Submission(
            tag=batch.tag,
            lane=self._desk.lane(batch),
            requests=self._desk.files.requests(batch.number),
            rows=batch.rows,
            bytes=batch.bytes,
            job_name=self._desk.job_name,
        )

    def _take_back(self, batch: BatchRecord, why: str, asked_s: float | None) -> None:
        """Note that a batch was surely not created, and when to try again."""
        desk = self._desk
        changes = {
            "looks": batch.looks + 1,
            "look_at_s": desk.later(retry_delay(batch.looks, desk.settings, desk.rng, asked_s)),
            "note": why,
        }
        if batch.state == "submitting":
            desk.store.move_batch(batch, "not_sent", **changes)
        else:
            desk.store.update_batch(batch, **changes)

    def _refuse_sending(self, batch: BatchRecord, error: Rejected | NotFound) -> None:
        kind: Literal["size", "unknown"] = "size" if isinstance(error, TooLarge) else "unknown"
        self._refuse(batch, Refusal(kind, str(error), error.code))

    def _lose(self, batch: BatchRecord, note: str | None) -> BatchRecord:
        """Note that a create is in doubt from now on."""
        desk = self._desk
        return desk.store.move_batch(
            batch,
            "lost",
            facts={**batch.facts, DOUBTED_SINCE: repr(desk.clock.now())},
            looks=0,
            look_at_s=desk.later(poll_delay(0, desk.settings, desk.rng)),
            note=note,
        )

    async def settle(self, batch: BatchRecord) -> None:
        """Look for a batch whose create was in doubt; adopt it, or find it absent after looking long enough."""
        desk, store = self._desk, self._desk.store
        if batch.state == "submitting":  # a process died with the create on its way
            batch = self._lose(batch, note="a process ended while it was being created")
        sent_at_s = batch.sent_at_s or desk.clock.now()
        flow = desk.provider(batch).find(self._submission(batch), batch.facts, sent_at_s)
        provider_batch_id = await desk.way(batch).run(flow)
        now_s = desk.clock.now()
        if provider_batch_id is not None:
            store.move_batch(
                batch, "adopted", provider_batch_id=provider_batch_id, looks=0, look_at_s=now_s, note="found again"
            )
            desk.on_event(Notice("info", f"batch {batch.number} was created after all: {provider_batch_id}"))
            return
        looks = batch.looks + 1
        waited = now_s - float(batch.facts[DOUBTED_SINCE]) >= desk.settings.settle_wait_s
        if waited and looks >= LOOKS_BEFORE_ABSENT:
            store.move_batch(batch, "absent", looks=0, look_at_s=now_s, note="was never created")
            desk.on_event(Notice("info", f"batch {batch.number} was never created: it is sent again"))
            return
        span_s = desk.settings.settle_wait_s / (2 * LOOKS_BEFORE_ABSENT)
        store.update_batch(batch, looks=looks, look_at_s=now_s + span_s)

    async def cancel(self, batch: BatchRecord) -> None:
        """Ask the provider to cancel the batch; what it has finished is still collected."""
        assert batch.provider_batch_id is not None
        try:
            await self._desk.way(batch).run(self._desk.provider(batch).cancel(batch.provider_batch_id))
        except (Rejected, NotFound) as error:  # nothing to cancel: polling finds out why
            self._desk.on_event(Notice("warning", f"batch {batch.number} could not be cancelled: {error}"))
        self._desk.store.move_batch(batch, "cancel", looks=0, look_at_s=0.0)
