"""The published record: one shape, whoever writes it."""

from __future__ import annotations

import msgspec

from bydawn.core.result import Result
from bydawn.engine.decode import Tail


def test_the_collector_writes_the_published_fields_in_their_order() -> None:
    """Records are spliced from bytes: only the order of both structs makes them the documented ones."""
    assert ("id", "row", *Tail.__struct_fields__, "raw") == Result.__struct_fields__


def test_what_does_not_apply_is_null_and_what_was_not_asked_for_is_absent() -> None:
    result = Result(
        id="a", row=0, status="failed", model="openai/m", text=None, parsed=None, tool_calls=None, finish_reason=None,
        usage=None, cost_usd=None, error=None, attempts=1, provider_batch_id=None,
    )  # fmt: skip
    written = msgspec.json.decode(msgspec.json.encode(result))
    assert list(written) == [name for name in Result.__struct_fields__ if name not in ("embedding", "raw")]
    assert written["cost_usd"] is None
