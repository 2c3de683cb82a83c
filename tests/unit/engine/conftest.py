"""Records as the store gives them, a job's files, and a provider of ten lines to decode with."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bydawn.core.batch import Lane
from bydawn.core.model import ModelRef
from bydawn.core.result import Answer, RowError, Usage
from bydawn.errors import UnexpectedAnswer
from bydawn.ids import IdSource
from bydawn.store.files import JobFiles
from bydawn.store.records import BatchRecord, JobRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Any]

LANE = Lane(ModelRef("openai", "gpt-4o-mini"), "chat")


def make_batch(number: int = 1, **changes: Any) -> BatchRecord:
    """A batch as it is stored, its columns changed."""
    values = {
        "job_id": "job", "number": number, "lane": 0, "state": "in_progress", "end_reason": None, "tag": f"tag{number}",
        "nonce": "nonce", "rows": 1, "bytes": 10, "input_tokens": 5, "attempt": 1, "attempts_left": 2, "refusals": 0,
        "answer_format": None, "provider_batch_id": f"batch_{number}", "provider_status": None, "facts": {},
        "counts": None, "tally": None, "waiting": 0, "looks": 0, "look_at_s": 0.0, "sent_at_s": None,
        "ended_at_s": None, "expires_at_s": None, "note": None,
    }  # fmt: skip
    return BatchRecord(**values | changes)


@pytest.fixture(scope="session")
def batch() -> Make:
    return make_batch


@pytest.fixture(scope="session")
def job() -> Make:
    def make(state: str = "running", **changes: Any) -> JobRecord:
        values = {
            "job_id": "job", "fingerprint": "print", "name": "rows", "realm": "live", "state": state, "reason": None,
            "options": "{}", "source": "rows.jsonl", "rows": 1, "width": 1, "requests": 1, "adjustments": (),
            "notices": (), "created_at_s": 0.0, "updated_at_s": 0.0,
        }  # fmt: skip
        return JobRecord(**values | changes)

    return make


@pytest.fixture(scope="session")
def lane() -> Lane:
    return LANE


@pytest.fixture
def ids() -> IdSource:
    return IdSource(Random(1))


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    files = JobFiles(tmp_path, "job")
    files.create()
    return files


class PlainProvider:
    """Lines of ``{"id": custom_id, "outcome", "text", "usage": [in, out, cached, reasoning], "retry", "kind"}``."""

    name = "plain"

    def decode(self, line: bytes, endpoint: str) -> Answer:
        try:
            read = msgspec.json.decode(line)
            custom_id = read["id"]
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise UnexpectedAnswer("no line of ours") from error
        outcome = read.get("outcome", "succeeded")
        error = None
        if outcome != "succeeded":
            error = RowError(read.get("kind", "server_error"), "code", "it failed", retryable=read.get("retry", False))
        usage = Usage(*read["usage"]) if "usage" in read else None
        return Answer(custom_id, outcome, text=read.get("text"), usage=usage, error=error)

    def readdress(self, line: bytes, custom_id: str) -> bytes:
        return msgspec.json.encode(msgspec.json.decode(line) | {"id": custom_id}) + b"\n"

    def inputs_of(self, line: bytes, endpoint: str) -> int:
        return msgspec.json.decode(line).get("inputs", 0)


@pytest.fixture(scope="session")
def plain() -> PlainProvider:
    return PlainProvider()
