"""Takes the waiting rows of one batch into new ones. Their lines are copied from its requests file, not made again."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from bydawn.engine.rows import load_rows
from bydawn.engine.writing import LaneWriter
from bydawn.errors import StoreDamaged
from bydawn.store.ledger import PENDING, WAITING, by_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bydawn.core.batch import Lane, Limits
    from bydawn.engine.writing import Shelf
    from bydawn.ids import IdSource
    from bydawn.providers.base import Provider
    from bydawn.store.files import JobFiles
    from bydawn.store.ledger import Segment
    from bydawn.store.records import BatchRecord, NewBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Replanned:
    """New batches, and the ledger segments that name them as owners."""

    segments: list[Segment]
    batches: list[NewBatch]


def replan(
    batch: BatchRecord,
    lane: Lane,
    *,
    files: JobFiles,
    shelf: Shelf,
    ids: IdSource,
    provider: Provider,
    limits: Limits,
    first_number: int,
    segment: Callable[[int], Segment],
) -> Replanned:
    """Write the waiting rows of ``batch`` into new batch files numbered from ``first_number``.

    A refused batch never ran: its rows keep their attempts and count one refusal more. ``segment`` loads one ledger
    segment by number.
    """
    ordinals = load_rows(files.rows(batch.number), batch.rows)
    segments = [segment(number) for number, _, _ in by_segment(ordinals)]
    ran = batch.state == "collected"
    writer = LaneWriter(
        batch.lane,
        limits,
        shelf,
        ids,
        count(first_number).__next__,
        attempt=batch.attempt + ran,
        attempts_left=max(0, batch.attempts_left - ran),
        refusals=0 if ran else batch.refusals + (batch.state == "refused"),
    )
    answer_format = None if batch.answer_format is None else batch.answer_format.encode()
    for place, ordinal, line in _waiting_lines(batch, files, ordinals, segments):
        owner, position = place
        writer.add(
            ordinal,
            lambda custom_id, sent: provider.readdress(sent, custom_id),
            line,
            inputs=provider.inputs_of(line, lane.endpoint),
            answer_format=answer_format,
        )
        owner.states[position] = PENDING
        owner.owners[position] = writer.number
    writer.close()
    return Replanned(segments=segments, batches=writer.finished)


def _waiting_lines(
    batch: BatchRecord, files: JobFiles, ordinals: Sequence[int], segments: list[Segment]
) -> Iterator[tuple[tuple[Segment, int], int, bytes]]:
    by_number = {segment.number: segment for segment in segments}
    path = files.requests(batch.number)
    try:
        requests = path.open("rb", buffering=1 << 20)
    except OSError as error:
        raise StoreDamaged(f"{path} cannot be read: {error.strerror}") from error
    with requests as lines:
        for number, start, stop in by_segment(ordinals):
            segment = by_number[number]
            for ordinal in ordinals[start:stop]:
                line = lines.readline()
                position = ordinal - segment.first
                if segment.states[position] == WAITING and segment.owners[position] == batch.number:
                    if not line.endswith(b"\n"):
                        raise StoreDamaged(f"the requests of batch {batch.number} are cut off")
                    yield (segment, position), ordinal, line


def settle_rows(
    batch: BatchRecord,
    ordinals: Sequence[int],
    states: bytearray,
    segment: Callable[[int], Segment],
    *,
    standing: int = PENDING,
) -> list[Segment]:
    """Return the ledger segments with the new states of a batch's rows.

    Only rows that the batch still owns and that stand as ``standing`` change.
    """
    changed = []
    for number, start, stop in by_segment(ordinals):
        part = segment(number)
        first, owners, old = part.first, part.owners, part.states
        for index in range(start, stop):
            position = ordinals[index] - first
            if old[position] == standing and owners[position] == batch.number:
                old[position] = states[index]
        changed.append(part)
    return changed


def wait_again(segment: Segment, wanted: frozenset[int]) -> array[int]:
    """Turn the entries of a segment whose state is wanted into waiting ones; return their owners."""
    owners = array("I")
    for position, state in enumerate(segment.states):
        if state in wanted:
            segment.states[position] = WAITING
            owners.append(segment.owners[position])
    return owners
