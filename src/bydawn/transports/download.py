"""The part of a download that is on disk already, and how to go on from there.

Bytes are written to ``<name>.part`` beside the target and renamed when all of them are there and safe on disk: a target
file that exists is whole. Nothing here speaks to the network.
"""

from __future__ import annotations

import os
import re
import zlib
from typing import TYPE_CHECKING

from bydawn.errors import AnswerLost, StoreError, UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from io import BufferedWriter
    from pathlib import Path

MAX_FILE_BYTES = 20_000_000_000
"""Where a runaway answer is stopped: far above the results of any batch of text (our own bound)."""

INFLATE_BYTES = 1_000_000
"""How much of a compressed answer is unpacked at once."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def part_path(target: Path) -> Path:
    """Return where the bytes of an unfinished download to ``target`` are kept."""
    return target.with_name(target.name + ".part")


def saved_bytes(target: Path) -> int:
    """Return how many bytes of an unfinished download to ``target`` are kept; 0 when there is none."""
    try:
        return part_path(target).stat().st_size
    except FileNotFoundError:
        return 0


class PartialFile:
    """One download, over as many answers as it takes.

    For each answer: send `range_headers`, then `save` it. `save` raises AnswerLost when the answer does not fit to
    what is there (which is then thrown away) or ends early (which is kept), so that the next request goes on.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._part = part_path(target)
        self._etag: str | None = None
        self._total: int | None = None
        self._discard()

    @property
    def range_headers(self) -> Mapping[str, str]:
        """Headers that ask for the missing bytes only, and for all of them should the file have changed."""
        if not (size := saved_bytes(self._target)):
            return {}
        condition = {"If-Range": self._etag} if self._etag else {}
        return {"Range": f"bytes={size}-", **condition}

    async def save(self, status: int, headers: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
        """Write one successful answer, and move the file to its place when it is complete.

        ``chunks`` are the bytes as they were sent. Raises AnswerLost as told above, UnexpectedAnswer for an encoding
        nobody asked for, StoreError when the disk refuses.
        """
        self._begin(status, headers)
        packed = headers.get("content-encoding", "identity").lower()
        try:
            if packed == "identity":
                await self._append(chunks)
            elif packed in {"gzip", "x-gzip"}:
                await self._append_unpacked(chunks)
            else:
                raise UnexpectedAnswer(f"the file came encoded as {packed!r}, which was not asked for", status=status)
        except OSError as error:
            raise self._unwritable(error) from error
        self._finish()

    def reject(self) -> None:
        """Throw away what is there: the provider says that it cannot go on from it."""
        self._discard()

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Find out where the answer starts and how long the file is."""
        if status == 206:
            start, total = self._announced_range(headers)
            other_file = total is not None and self._total is not None and total != self._total
            if start != saved_bytes(self._target) or other_file:
                self._discard()
                raise AnswerLost("the provider sent another part of the file than was asked for")
            self._total = total if total is not None else self._total
            return
        self._discard()
        etag = headers.get("etag", "")
        # A weak tag promises the same meaning, not the same bytes: bytes cannot be joined on it (RFC 9110, 13.1.5).
        self._etag = etag if etag.startswith('"') else None
        length = headers.get("content-length", "")
        self._total = int(length) if length.isdecimal() and "content-encoding" not in headers else None

    def _announced_range(self, headers: Mapping[str, str]) -> tuple[int | None, int | None]:
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if not found or headers.get("content-encoding", "identity").lower() != "identity":
            return None, None
        start, total = found.groups()
        return int(start), None if total == "*" else int(total)

    async def _append(self, chunks: AsyncIterator[bytes]) -> None:
        with self._open() as file:
            room = MAX_FILE_BYTES - file.tell()
            async for chunk in chunks:
                room = _take(room, chunk)
                file.write(chunk)

    async def _append_unpacked(self, chunks: AsyncIterator[bytes]) -> None:
        """Unpack gzip. What is on disk then says nothing about what was sent, so a break starts over."""
        unpacker = zlib.decompressobj(wbits=31)
        try:
            with self._open() as file:
                room = MAX_FILE_BYTES
                async for chunk in chunks:
                    for piece in _inflated(unpacker, chunk):
                        room = _take(room, piece)
                        file.write(piece)
            if not unpacker.eof:
                raise AnswerLost("the compressed file ended early")
        except zlib.error as error:
            self._discard()
            raise AnswerLost("the compressed file is damaged") from error
        except BaseException:
            self._discard()
            raise

    def _finish(self) -> None:
        size = saved_bytes(self._target)
        if self._total is not None and size != self._total:
            if size > self._total:
                self._discard()
            raise AnswerLost(f"the file ended after {size} of {self._total} bytes")
        try:
            _sync(self._part)
            self._part.replace(self._target)
            _sync(self._target.parent)
        except OSError as error:
            raise self._unwritable(error) from error

    def _open(self) -> BufferedWriter:
        """Open the part for appending; only the user may read it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.fdopen(os.open(self._part, flags, 0o600), "ab")

    def _discard(self) -> None:
        self._etag = self._total = None
        try:
            self._part.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(f"cannot write {self._target}: {error.strerror}")


def _take(room: int, chunk: bytes) -> int:
    """Return the room that is left after ``chunk``. Raises UnexpectedAnswer when there is none."""
    if len(chunk) > room:
        raise UnexpectedAnswer(f"the file is larger than {MAX_FILE_BYTES:,} bytes")
    return room - len(chunk)


def _inflated(unpacker: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
    """Unpack a chunk in pieces of bounded size: a few packed bytes can hold gigabytes."""
    while chunk and not unpacker.eof:
        yield unpacker.decompress(chunk, INFLATE_BYTES)
        chunk = unpacker.unconsumed_tail


def _sync(path: Path) -> None:
    """Make sure that the file, or the folder's list of names, survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
