"""Results read with ``for`` and with ``async for``."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from bydawn.client.job import RESULTS_BETWEEN_PAUSES, Results
from bydawn.core.result import Result


def lines(count: int) -> list[bytes]:
    blank = {name: None for name in Result.__struct_fields__ if name not in ("embedding", "raw")}
    rows = (
        {**blank, "id": str(row), "row": row, "status": "succeeded", "model": "m", "attempts": 1}
        for row in range(count)
    )
    return [msgspec.json.encode(row) + b"\n" for row in rows]


def test_results_are_read_in_order_either_way() -> None:
    async def read() -> list[int]:
        return [result.row async for result in Results(iter(lines(3)))]

    assert asyncio.run(read()) == [0, 1, 2]
    assert [result.row for result in Results(iter(lines(3)))] == [0, 1, 2]


def test_reading_with_async_for_lets_other_tasks_run() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def read() -> None:
        other = asyncio.create_task(count())
        async for _ in Results(iter(lines(RESULTS_BETWEEN_PAUSES * 3))):
            pass
        other.cancel()

    asyncio.run(read())
    assert turns >= 3


def test_a_damaged_line_is_an_error_and_not_skipped() -> None:
    with pytest.raises(msgspec.DecodeError):
        list(Results(iter([lines(1)[0], b"{"])))
