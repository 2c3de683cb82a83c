"""Checks that ids are unique, in memory that does not grow with their number.

Theory of operation. Most files number their rows, so ids rise: in dictionary order, or shorter ones first. While they
do, the last id is all that must be kept. The first one out of order starts a second way, for all ids: 64-bit hashes in
256 partitions, written to a temporary file a million at a time. At the end each partition is searched for hashes that
occur twice, and only when there are some is the input read again to compare the ids themselves.
"""

from __future__ import annotations

import tempfile
from array import array
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

_PARTITIONS = 256
HELD_HASHES = 1 << 20
"""How many hashes are held before they go to disk: 8 MB."""
SUSPECTS_MAX = 100_000
"""How many repeated hashes are followed up; a file with more is reported by these."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An id that was given before, with both 1-based lines."""

    id: str
    line: int
    first_line: int


class UniqueIds:
    """Takes ids one by one and tells the duplicates at the end.

    ``again`` reads the input once more from its start and yields each id with its line, as they were added. Use it
    as a context manager: it may hold a temporary file.
    """

    def __init__(self, again: Callable[[], Generator[tuple[int, str], None, None]]) -> None:
        self._again = again
        self._added = 0
        self._last = ""
        self._rises_by_text = True
        self._rises_by_length = True
        self._hashes: _HashPartitions | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._hashes is not None:
            self._hashes.close()

    def add(self, key: str) -> None:
        """Take the next id."""
        if self._hashes is not None:
            self._hashes.add(hash(key))
            return
        last = self._last
        if key > last:
            self._rises_by_length = self._rises_by_length and len(key) >= len(last)
        else:
            self._rises_by_text = False
            self._rises_by_length = self._rises_by_length and len(key) > len(last)
        if self._rises_by_text or self._rises_by_length:
            self._last = key
            self._added += 1
        else:
            self._hashes = self._hash_from_the_start()
            self._hashes.add(hash(key))

    def _hash_from_the_start(self) -> _HashPartitions:
        hashes = _HashPartitions()
        with closing(self._again()) as earlier:
            for _, key in islice(earlier, self._added):
                hashes.add(hash(key))
        return hashes

    def duplicates(self) -> Iterator[Duplicate]:
        """Yield every id that was given before, in the order of the input."""
        if self._hashes is None:
            return
        suspects = set(islice(self._hashes.repeated(), SUSPECTS_MAX))
        if not suspects:
            return
        first_lines: dict[str, int] = {}
        with closing(self._again()) as pairs:
            for line, key in pairs:
                if hash(key) in suspects and (first := first_lines.setdefault(key, line)) != line:
                    yield Duplicate(key, line, first)


class _HashPartitions:
    """Hashes by their low byte, so that equal ones meet; on disk once there are many."""

    def __init__(self) -> None:
        self._held = [array("q") for _ in range(_PARTITIONS)]
        self._count = 0
        self._file = tempfile.TemporaryFile(prefix="bydawn-")  # noqa: SIM115 - closed in close()
        self._segments: list[list[tuple[int, int]]] = [[] for _ in range(_PARTITIONS)]

    def close(self) -> None:
        self._file.close()

    def add(self, value: int) -> None:
        self._held[value & (_PARTITIONS - 1)].append(value)
        self._count += 1
        if self._count == HELD_HASHES:
            self._spill()

    def _spill(self) -> None:
        for number, values in enumerate(self._held):
            self._segments[number].append((self._file.tell(), len(values)))
            values.tofile(self._file)
            self._held[number] = array("q")
        self._count = 0

    def repeated(self) -> Iterator[int]:
        """Yield each hash that occurs more than once."""
        for number in range(_PARTITIONS):
            values = self._partition(number)
            if len(set(values)) < len(values):
                seen: set[int] = set()
                again: set[int] = set()
                for value in values:
                    (again if value in seen else seen).add(value)
                yield from again

    def _partition(self, number: int) -> array[int]:
        values = array("q")
        for offset, length in self._segments[number]:
            self._file.seek(offset)
            values.fromfile(self._file, length)
        values.extend(self._held[number])
        return values
