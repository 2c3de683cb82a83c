"""The ordinals of a batch: which requests its lines carry, in the order of the lines.

Most batches hold consecutive requests, so they are a `range` in memory; only batches of retried rows need an array.
"""

from __future__ import annotations

import os
import sys
from array import array
from typing import TYPE_CHECKING

from bydawn.errors import StoreDamaged
from bydawn.store.files import create_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def save_rows(path: Path, ordinals: array[int]) -> None:
    """Write ordinals (ascending) as little-endian unsigned 64-bit numbers."""
    with create_private(path) as file:
        file.write(_little(ordinals).tobytes())
        file.flush()
        os.fsync(file.fileno())


def load_rows(path: Path, count: int) -> Sequence[int]:
    """Read what `save_rows` wrote; raises StoreDamaged unless there are ``count`` of them."""
    ordinals = array("Q")
    try:
        ordinals.frombytes(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreDamaged(f"{path} cannot be read: {error}") from error
    ordinals = _little(ordinals)
    if len(ordinals) != count:
        raise StoreDamaged(f"{path} names {len(ordinals)} rows, the batch has {count}")
    return as_range(ordinals) or ordinals


def as_range(ordinals: Sequence[int]) -> range | None:
    """Return ascending ordinals as a range when they are evenly spaced, else None."""
    if not ordinals:
        return range(0)
    first, last, count = ordinals[0], ordinals[-1], len(ordinals)
    step = (last - first) // (count - 1) if count > 1 else 1
    if step < 1 or first + step * (count - 1) != last:
        return None
    even = range(first, last + 1, step)
    return even if all(map(int.__eq__, even, ordinals)) else None


def _little(ordinals: array[int]) -> array[int]:
    if sys.byteorder == "big":
        ordinals = array("Q", ordinals)
        ordinals.byteswap()
    return ordinals
