"""Limits are never crossed, and no row is lost, doubled or moved, whatever comes in whatever order."""

from __future__ import annotations

from io import BytesIO
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.core.batch import Limits
from bydawn.engine.packing import Load, lane_limits
from bydawn.engine.writing import NONCE_LENGTH, PER_ROW, LaneWriter
from bydawn.ids import IdSource
from bydawn.pricing import estimate_tokens

if TYPE_CHECKING:
    from array import array
    from typing import BinaryIO

maybe = st.none() | st.integers(1, 40)
LIMITS = st.builds(
    Limits,
    rows=st.integers(1, 6),
    bytes=st.integers(1, 200),
    row_bytes=st.just(10**9),
    inputs=maybe,
    enqueued_tokens=maybe,
)
ROWS = st.lists(
    st.tuples(st.integers(1, 5), st.integers(0, 120), st.integers(0, 12), st.sampled_from([None, b'"a"', b'"b"'])),
    max_size=40,
)
"""Gap to the last ordinal, bytes besides the custom_id, inputs, answer format."""


class MemoryShelf:
    """Batch files in memory: bytes and ordinals by number."""

    def __init__(self) -> None:
        self.open_files: dict[int, BytesIO] = {}
        self.closed: dict[int, tuple[bytes, list[int]]] = {}

    def open(self, number: int) -> BinaryIO:
        assert number not in self.open_files | self.closed
        self.open_files[number] = BytesIO()
        return self.open_files[number]

    def close(self, number: int, file: BinaryIO, ordinals: array[int]) -> None:
        assert self.open_files.pop(number) is file
        self.closed[number] = (file.getvalue(), list(ordinals))  # type: ignore[attr-defined]


def line_of(custom_id: str, size: int) -> bytes:
    return b"%b %b\n" % (custom_id.encode(), b"x" * size)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(limits=LIMITS, rows=ROWS, first=st.integers(0, 2**63))
def test_batches_keep_within_limits_and_hold_every_row_once_in_order(
    limits: Limits, rows: list[tuple[int, int, int, bytes | None]], first: int
) -> None:
    shelf = MemoryShelf()
    writer = LaneWriter(
        3, limits, shelf, IdSource(Random(5)), count(7).__next__, attempt=2, attempts_left=1, refusals=1
    )
    ordinal, written = first, {}
    for gap, size, inputs, answer_format in rows:
        ordinal += gap
        sized = writer.add(ordinal, line_of, size, inputs=inputs, answer_format=answer_format)
        written[ordinal] = (writer.number, sized, inputs, answer_format)
    writer.close()
    writer.close()

    assert not shelf.open_files
    assert [batch.number for batch in writer.finished] == sorted(shelf.closed)
    assert len({batch.nonce for batch in writer.finished} | {batch.tag for batch in writer.finished}) == 2 * len(
        writer.finished
    )
    assert [number for batch in writer.finished for number in shelf.closed[batch.number][1]] == list(written)
    for batch in writer.finished:
        content, ordinals = shelf.closed[batch.number]
        lines = content.split(b"\n")[:-1]
        mine = [written[number] for number in ordinals]
        assert [number for number, *_ in mine] == [batch.number] * len(ordinals)
        assert [line.split(b" ")[0].decode() for line in lines] == [f"{batch.nonce}-{number}" for number in ordinals]
        assert [len(line) + 1 for line in lines] == [size for _, size, *_ in mine]
        assert (batch.rows, batch.bytes) == (len(lines), len(content))
        assert batch.input_tokens == sum(estimate_tokens(size) for _, size, *_ in mine)
        assert (batch.lane, batch.attempt, batch.attempts_left, batch.refusals) == (3, 2, 1, 1)
        formats = {answer_format for *_, answer_format in mine}
        only = next(iter(formats))
        assert batch.answer_format == (PER_ROW if len(formats) > 1 else None if only is None else only.decode())
        if batch.rows > 1:
            assert batch.rows <= limits.rows
            assert batch.bytes <= limits.bytes
            assert limits.inputs is None or sum(inputs for *_, inputs, _ in mine) <= limits.inputs
            assert limits.enqueued_tokens is None or batch.input_tokens <= limits.enqueued_tokens


@settings(max_examples=100, deadline=None, derandomize=True)
@given(limits=LIMITS, rows=ROWS)
def test_a_batch_is_closed_only_when_the_next_row_does_not_fit(
    limits: Limits, rows: list[tuple[int, int, int, bytes | None]]
) -> None:
    """Each batch is a creation that is limited, too, and a poll each time."""
    load = Load(limits)
    for _, size, inputs, _ in rows:
        crossed = (
            load.rows + 1 > limits.rows
            or load.bytes + size > limits.bytes
            or (limits.inputs is not None and load.inputs + inputs > limits.inputs)
            or (limits.enqueued_tokens is not None and load.tokens + estimate_tokens(size) > limits.enqueued_tokens)
        )
        before = (load.rows, load.bytes, load.inputs, load.tokens)
        fits = load.rows == 0 or not crossed
        assert load.take(size, inputs) == fits
        if not fits:
            assert (load.rows, load.bytes, load.inputs, load.tokens) == before
            load = Load(limits)
            assert load.take(size, inputs)


def test_a_custom_id_is_short_and_portable() -> None:
    """64 characters of letters, digits, '-' and '_' is the strictest rule of any provider."""
    seen: list[str] = []

    def encode(custom_id: str, _: None) -> bytes:
        seen.append(custom_id)
        return b"x\n"

    writer = LaneWriter(0, Limits(rows=1, bytes=1, row_bytes=1), MemoryShelf(), IdSource(Random(1)), count(1).__next__)
    writer.add(2**64 - 1, encode, None)
    assert len(seen[0]) == NONCE_LENGTH + 1 + 20
    assert set(seen[0]) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    writer.close()


def test_a_writer_that_got_nothing_writes_nothing() -> None:
    shelf = MemoryShelf()
    writer = LaneWriter(0, Limits(rows=1, bytes=1, row_bytes=1), shelf, IdSource(Random(1)), count(1).__next__)
    writer.close()
    assert (writer.finished, shelf.closed, shelf.open_files) == ([], {}, {})


@pytest.mark.parametrize(
    ("own", "learned", "max_rows", "expected"),
    [
        (None, None, None, (100, None)),
        (None, 50, None, (100, 50)),
        (40, 50, None, (100, 40)),
        (60, 50, 10, (10, 50)),
        (60, None, 1000, (100, 60)),
    ],
)
def test_limits_are_only_ever_narrowed(
    own: int | None, learned: int | None, max_rows: int | None, expected: tuple[int, int | None]
) -> None:
    limits = Limits(rows=100, bytes=10, row_bytes=5, inputs=3, enqueued_tokens=own)
    narrow = lane_limits(limits, max_rows=max_rows, tokens=learned)
    assert (narrow.rows, narrow.enqueued_tokens) == expected
    assert (narrow.bytes, narrow.row_bytes, narrow.inputs) == (10, 5, 3)
