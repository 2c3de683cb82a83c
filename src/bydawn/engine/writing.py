"""Writes batch files: the exact bytes that will be uploaded, and beside them which request each line carries."""

from __future__ import annotations

import os
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

from bydawn.engine.packing import Load
from bydawn.engine.rows import save_rows
from bydawn.store.files import create_private, sync_folder
from bydawn.store.records import NewBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from bydawn.core.batch import Limits
    from bydawn.ids import IdSource
    from bydawn.store.files import JobFiles

T = TypeVar("T")

PER_ROW = "per_row"
"""A batch's answer format when its rows ask for different ones."""

TAG_LENGTH = 16
NONCE_LENGTH = 10
"""32**10 nonces: two files of one account do not meet, and a custom_id stays within 32 characters."""


class Shelf(Protocol):
    """Where batch files go."""

    def open(self, number: int) -> BinaryIO:
        """Open the requests file of a batch for writing."""
        ...

    def close(self, number: int, file: BinaryIO, ordinals: array[int]) -> None:
        """Finish a batch file and note its ordinals."""
        ...


class DiskShelf:
    """Batch files in the job's folder, on disk for good before they are planned."""

    def __init__(self, files: JobFiles) -> None:
        self._files = files

    def open(self, number: int) -> BinaryIO:
        """Open ``requests/<number>.jsonl``."""
        return create_private(self._files.requests(number))

    def close(self, number: int, file: BinaryIO, ordinals: array[int]) -> None:
        """Sync the file, then write ``requests/<number>.rows``."""
        with file:
            file.flush()
            os.fsync(file.fileno())
        save_rows(self._files.rows(number), ordinals)
        sync_folder(self._files.rows(number).parent)


class NoShelf:
    """Keeps nothing: for `check`."""

    def open(self, number: int) -> BinaryIO:  # noqa: ARG002 - the shape of Shelf
        """Open the null device."""
        return open(os.devnull, "wb")  # noqa: PTH123 - closed in close()

    def close(self, number: int, file: BinaryIO, ordinals: array[int]) -> None:  # noqa: ARG002 - the shape of Shelf
        """Close the null device."""
        file.close()


class LaneWriter:
    """Fills one lane's batches one after the other. ``finished`` holds those that are closed."""

    def __init__(
        self,
        lane: int,
        limits: Limits,
        shelf: Shelf,
        ids: IdSource,
        next_number: Callable[[], int],
        *,
        attempt: int = 1,
        attempts_left: int = 0,
        refusals: int = 0,
    ) -> None:
        self._lane = lane
        self._limits = limits
        self._shelf = shelf
        self._ids = ids
        self._next_number = next_number
        self._attempt = attempt
        self._attempts_left = attempts_left
        self._refusals = refusals
        self.finished: list[NewBatch] = []
        self._file: BinaryIO | None = None

    def _open(self) -> None:
        self.number = self._next_number()
        self.nonce = self._ids.tag(NONCE_LENGTH)
        self._load = Load(self._limits)
        self._ordinals = array("Q")
        self._formats: set[bytes | None] = set()
        self._file = self._shelf.open(self.number)
        self._write = self._file.write

    def add(
        self,
        ordinal: int,
        encode: Callable[[str, T], bytes],
        what: T,
        *,
        inputs: int = 0,
        answer_format: bytes | None = None,
    ) -> int:
        """Write one request; ``encode`` makes the line of ``what`` for a custom_id. Returns the line's size in bytes.

        A line is encoded a second time only where it starts the next batch.
        """
        if self._file is None:
            self._open()
        line = encode(f"{self.nonce}-{ordinal}", what)
        size = len(line)
        if not self._load.take(size, inputs):
            self.close()
            self._open()
            line = encode(f"{self.nonce}-{ordinal}", what)
            taken = self._load.take(size, inputs)
            assert taken
        self._write(line)
        self._ordinals.append(ordinal)
        if answer_format not in self._formats and len(self._formats) < 2:
            self._formats.add(answer_format)
        return size

    def abandon(self) -> None:
        """Close the open file without keeping its batch."""
        if self._file is not None:
            with suppress(OSError):  # a full disk may refuse what was still to be written
                self._file.close()
            self._file = None

    def close(self) -> None:
        """Finish the open batch, if there is one."""
        if self._file is None:
            return
        self._shelf.close(self.number, self._file, self._ordinals)
        self._file = None
        self.finished.append(
            NewBatch(
                number=self.number,
                lane=self._lane,
                tag=self._ids.tag(TAG_LENGTH),
                nonce=self.nonce,
                rows=self._load.rows,
                bytes=self._load.bytes,
                input_tokens=self._load.tokens,
                attempt=self._attempt,
                attempts_left=self._attempts_left,
                refusals=self._refusals,
                answer_format=_shared(self._formats),
            )
        )


def _shared(formats: set[bytes | None]) -> str | None:
    if len(formats) > 1:
        return PER_ROW
    only = formats.pop() if formats else None
    return None if only is None else only.decode()
