"""A multipart/form-data body of known length, whose file is read piece by piece while it is sent."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from bydawn.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from bydawn.core.wire import FilePart

CHUNK_BYTES = 1_000_000
"""How much of the file is in memory at once."""


class Multipart:
    """Form fields in the order given, then one file (RFC 7578).

    Raises StoreError when the file cannot be read.
    """

    def __init__(self, form: Sequence[tuple[str, str]], file: FilePart) -> None:
        boundary = secrets.token_hex(16)
        fields = "".join(_field(boundary, name, value) for name, value in form)
        self._head = (fields + _file_header(boundary, file)).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._path = file.path
        self.content_type = f"multipart/form-data; boundary={boundary}"
        try:
            self.length = len(self._head) + file.path.stat().st_size + len(self._tail)
        except OSError as error:
            raise self._unreadable(error) from error

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body. Disk reads are short enough to be done in place, without a thread."""
        yield self._head
        for chunk in self._chunks():
            yield chunk
        yield self._tail

    def _chunks(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> StoreError:
        return StoreError(f"cannot read {self._path}: {error.strerror}")


def _field(boundary: str, name: str, value: str) -> str:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'


def _file_header(boundary: str, file: FilePart) -> str:
    return (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{_quoted(file.name)}"; filename="{_quoted(file.filename)}"\r\n'
        f"Content-Type: {file.content_type}\r\n\r\n"
    )


def _quoted(text: str) -> str:
    """Escape what would end a quoted name, in the way of HTML's form encoding."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
