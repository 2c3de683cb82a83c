"""The sandbox's events are accepted by the official SDK's own check of their signature."""

from __future__ import annotations

import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "whsec_dGhpcyBpcyBhIHNlY3JldA=="
CHAT = "/v1/chat/completions"


class Receiver:
    """Refuses the first `refusals` events with 500 and keeps every delivery."""

    def __init__(self, refusals: int) -> None:
        self.deliveries: queue.SimpleQueue[tuple[dict[str, str], bytes]] = queue.SimpleQueue()
        receiver = self
        left = [refusals]

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.deliveries.put((dict(self.headers), body))
                left[0] -= 1
                self.send_response(204 if left[0] < 0 else 500)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"


@pytest.fixture
def receiver(request) -> Iterator[Receiver]:
    receiver = Receiver(getattr(request, "param", 0))
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def test_the_sdk_accepts_the_signature_and_only_the_right_one(make_sandbox, receiver):
    sandbox = make_sandbox(webhook_url=receiver.url, webhook_secret=SECRET)
    with openai.OpenAI(api_key="sk-one", base_url=sandbox.base_url, webhook_secret=SECRET) as client:
        batch = client.batches.create(input_file_id="file-x", endpoint=CHAT, completion_window="24h")
        headers, body = receiver.deliveries.get(timeout=60)
        event = client.webhooks.unwrap(body, headers)
        assert (event.type, event.data.id) == ("batch.failed", batch.id)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(body + b" ", headers)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(body, headers, secret="whsec_b3RoZXI=")


@pytest.mark.parametrize("receiver", [2], indirect=True)
def test_a_refused_event_is_sent_again_under_the_same_id(make_sandbox, receiver):
    sandbox = make_sandbox(webhook_url=receiver.url, webhook_secret="plain text")
    with openai.OpenAI(api_key="sk-one", base_url=sandbox.base_url, webhook_secret="plain text") as client:
        client.batches.create(input_file_id="file-x", endpoint=CHAT, completion_window="24h")
        deliveries = [receiver.deliveries.get(timeout=60) for _ in range(3)]
        assert len({headers["webhook-id"] for headers, _ in deliveries}) == 1
        assert len({client.webhooks.unwrap(body, headers).id for headers, body in deliveries}) == 1
