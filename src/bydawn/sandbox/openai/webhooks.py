"""Telling a receiver that a batch has ended: signed as Standard Webhooks are.

A hint, not a guarantee: an event that is under way when the sandbox is killed is lost, and after a few refusals it is
given up. The real service tries for 72 hours.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import queue
import threading
from typing import TYPE_CHECKING

import httpx2
import msgspec

if TYPE_CHECKING:
    from bydawn.sandbox.openai.records import StoredBatch
    from bydawn.sandbox.world import World

TRIES_MAX = 4
_PAUSE_S = 0.5
"""Real seconds before the second try; doubled each time."""
_TIMEOUT_S = 10.0
_USER_AGENT = "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)"


class Webhooks:
    """Sends events to the configured receiver, one after the other, from a thread of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._events: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        if world.config.webhook_url is not None:
            self._thread.start()

    def batch_ended(self, batch: StoredBatch) -> None:
        """Have ``batch.<status>`` sent; nothing happens without a receiver."""
        if self._world.config.webhook_url is None:
            return
        event = {
            "id": f"evt_{self._world.new_id('event', 32, '0123456789abcdef')}",
            "object": "event",
            "created_at": int(self._world.clock.now()),
            "type": f"batch.{batch.status}",
            "data": {"id": batch.id},
        }
        self._events.put(msgspec.json.encode(event))

    def close(self) -> None:
        """Stop sending."""
        self._closing.set()
        self._events.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        with httpx2.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            while (event := self._events.get()) is not None and not self._closing.is_set():
                self._deliver(client, event)

    def _deliver(self, client: httpx2.Client, event: bytes) -> None:
        webhook_id = f"wh_{self._world.new_id('webhook', 32, '0123456789abcdef')}"
        for attempt in range(TRIES_MAX):
            if self._send(client, webhook_id, event) or self._closing.wait(_PAUSE_S * 2**attempt):
                return

    def _send(self, client: httpx2.Client, webhook_id: str, event: bytes) -> bool:
        """Try once; any answer but 2xx is a refusal."""
        config = self._world.config
        assert config.webhook_url is not None
        timestamp = int(self._world.clock.now())
        headers = {
            "content-type": "application/json",
            "user-agent": _USER_AGENT,
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(config.webhook_secret, webhook_id, timestamp, event),
        }
        try:
            return client.post(config.webhook_url, content=event, headers=headers).is_success
        except httpx2.HTTPError:
            return False


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """``v1,<base64>`` over id, timestamp and body; the key is what follows ``whsec_`` in base64, or the plain text."""
    encoded = secret.removeprefix("whsec_")
    key = secret.encode() if encoded == secret else base64.b64decode(encoded)
    digest = hmac.digest(key, b"%s.%d.%s" % (webhook_id.encode(), timestamp, body), hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"
