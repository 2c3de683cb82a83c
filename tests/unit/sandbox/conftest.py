"""A sandbox in process, with a clock that stands still until it is pushed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
import pytest

from bydawn.sandbox import SandboxConfig, create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START = 1_800_000_000
CHAT = "/v1/chat/completions"


class Box:
    """A sandbox and a client of it. Requests carry a key unless they say otherwise."""

    def __init__(self, config: SandboxConfig) -> None:
        self.app = create_app(config)
        self.world = self.app.state.world

    def close(self) -> None:
        self.world.close()

    def request(self, method: str, path: str, *, key: str | None = "sk-one", **options: Any) -> httpx2.Response:
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"

        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(app=self.app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as client:
                return await client.request(method, path, headers=headers, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> Any:
        return self.request("GET", path, **options).json()

    def advance(self, seconds: float) -> None:
        assert self.request("POST", "/_sandbox/clock", json={"advance_s": seconds}).status_code == 200

    def upload(
        self, content: bytes, *, name: str = "in.jsonl", data: dict[str, str] | None = None, key: str = "sk-one"
    ) -> httpx2.Response:
        fields = {"purpose": "batch"} if data is None else data
        return self.request("POST", "/v1/files", data=fields, files={"file": (name, content)}, key=key)

    def create(self, file_id: str, endpoint: str = CHAT, *, key: str = "sk-one", **extra: Any) -> httpx2.Response:
        body = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h", **extra}
        return self.request("POST", "/v1/batches", json=body, key=key)

    def batch(self, content: bytes, endpoint: str = CHAT) -> str:
        """Upload and create; returns the batch's id."""
        created = self.create(self.upload(content).json()["id"], endpoint)
        return str(created.json()["id"])

    def run(self, content: bytes, endpoint: str = CHAT) -> dict[str, Any]:
        """Upload, create, and let three hours pass: long enough for any batch that is not held up."""
        batch_id = self.batch(content, endpoint)
        self.advance(3 * 3_600)
        return dict(self.get(f"/v1/batches/{batch_id}"))

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """The rows of a result file; none when there is no file."""
        if not file_id:
            return []
        content = self.request("GET", f"/v1/files/{file_id}/content").content
        return [msgspec.json.decode(line) for line in content.split(b"\n") if line.strip()]


def line(custom_id: str = "a", text: str = "Hello", *, url: str = CHAT, **body: Any) -> bytes:
    """One line of a batch file."""
    fields = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **body}
    return msgspec.json.encode({"custom_id": custom_id, "method": "POST", "url": url, "body": fields}) + b"\n"


@pytest.fixture
def make_box(tmp_path: Path) -> Iterator[Callable[..., Box]]:
    """Makes sandboxes in one home (or others, by name), with a clock that stands still."""
    boxes: list[Box] = []

    def make(home: str = "home", **settings: Any) -> Box:
        settings = {"speed": 0, "start_at": START, **settings}
        boxes.append(Box(SandboxConfig(home=tmp_path / home, **settings)))
        return boxes[-1]

    yield make
    for box in boxes:
        box.close()


@pytest.fixture
def box(make_box: Callable[..., Box]) -> Box:
    return make_box()


@pytest.fixture
def row() -> Callable[..., bytes]:
    """One line of a batch file: ``row(custom_id, text, url=..., **body fields)``."""
    return line
