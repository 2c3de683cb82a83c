"""A store in a folder of its own, and plans to put into it."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from bydawn.core.batch import Lane
from bydawn.core.model import ModelRef
from bydawn.store.records import NewBatch, Plan
from bydawn.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LANE = Lane(ModelRef("openai", "gpt-4o-mini"), "chat")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    ticks = count(1000)
    store = Store(tmp_path / "bydawn.db", lambda: float(next(ticks)))
    yield store
    store.close()


@pytest.fixture
def new_batch() -> Callable[..., NewBatch]:
    def make(number: int = 1, **changes: Any) -> NewBatch:
        values = {
            "number": number, "lane": 0, "tag": f"tag-{number}", "nonce": "n" * 10, "rows": 2, "bytes": 20,
            "input_tokens": 7, "attempt": 1, "attempts_left": 2,
        }  # fmt: skip
        return NewBatch(**values | changes)

    return make


@pytest.fixture
def add_job(store: Store, new_batch: Callable[..., NewBatch]) -> Callable[..., str]:
    """Put a running job with one lane and the given batches into the store."""

    def add(job_id: str = "job", *batches: NewBatch, realm: str = "live", lane: Lane = LANE) -> str:
        store.create_job(
            job_id=job_id, fingerprint=f"print-{job_id}", name="rows", realm=realm, options="{}", source="rows.jsonl"
        )
        batches = batches or (new_batch(tag=f"tag-{job_id}"),)
        rows = sum(batch.rows for batch in batches)
        store.commit_plan(job_id, Plan(rows=rows, width=1, requests=rows, lanes=(lane,), batches=batches))
        return job_id

    return add
