"""How full a batch may get. Pure: a limit is never crossed, because it is looked at before a row goes in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bydawn.pricing import SAFE_BYTES_PER_TOKEN

if TYPE_CHECKING:
    from bydawn.core.batch import Limits


class Load:
    """What a batch holds so far, against its lane's limits."""

    __slots__ = ("_limits", "bytes", "inputs", "rows", "tokens")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.rows = 0
        self.bytes = 0
        self.inputs = 0
        self.tokens = 0

    def take(self, size: int, inputs: int) -> bool:
        """Count one more row of ``size`` bytes in, if it fits. An empty batch takes any row."""
        limits = self._limits
        tokens = self.tokens + -(-size // SAFE_BYTES_PER_TOKEN)
        if self.rows and (
            self.rows >= limits.rows
            or self.bytes + size > limits.bytes
            or (limits.inputs is not None and self.inputs + inputs > limits.inputs)
            or (limits.enqueued_tokens is not None and tokens > limits.enqueued_tokens)
        ):
            return False
        self.rows += 1
        self.bytes += size
        self.inputs += inputs
        self.tokens = tokens
        return True


def lane_limits(limits: Limits, *, max_rows: int | None = None, tokens: int | None = None) -> Limits:
    """Narrow a provider's limits by the user's cap on rows and by a known enqueued-token quota."""
    rows = limits.rows if max_rows is None else min(limits.rows, max_rows)
    known = [value for value in (limits.enqueued_tokens, tokens) if value is not None]
    return replace(limits, rows=rows, enqueued_tokens=min(known) if known else None)
