"""Reading a multipart form while it arrives: fields into memory, the file straight to disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from collections.abc import AsyncIterable
    from pathlib import Path

    from python_multipart.multipart import MultipartCallbacks

_FIELD_BYTES_MAX = 64 * 1024


class FormError(ValueError):
    """The body is no multipart form, or a field of it is too long."""


class UploadForm:
    """A form with at most one file, which is written to `path` as it arrives.

    Holds ``fields`` by name, and of the file part ``file_field``, ``filename`` and ``file_bytes``. More than
    `max_bytes` of a file are read but not kept.
    """

    def __init__(self, content_type: str, path: Path, max_bytes: int) -> None:
        self.fields: dict[str, str] = {}
        self.file_field: str | None = None
        self.filename = ""
        self.file_bytes = 0
        self._path = path
        self._max_bytes = max_bytes
        self._out: BinaryIO | None = None
        self._name = ""
        self._is_file = False
        self._value = bytearray()
        self._header = bytearray()
        self._header_value = bytearray()
        self._disposition = b""
        self._parser = MultipartParser(_boundary(content_type), self._callbacks())

    async def read(self, chunks: AsyncIterable[bytes]) -> None:
        """Take the whole body in. Raises FormError."""
        try:
            async for chunk in chunks:
                self._parser.write(chunk)
            self._parser.finalize()
        except FormParserError as error:
            raise FormError(str(error)) from error
        finally:
            if self._out is not None:
                self._out.close()

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_text,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
        }

    def _part_begin(self) -> None:
        self._disposition = b""
        self._value.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_text(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header.clear()
        self._header_value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise FormError("a part of the form has no name")
        self._name = options[b"name"].decode("utf-8", "replace")
        self._is_file = b"filename" in options and self.file_field is None
        if self._is_file:
            self.file_field = self._name
            self.filename = options[b"filename"].decode("utf-8", "replace")
            self._out = os.fdopen(os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._value += data[start:end]
            if len(self._value) > _FIELD_BYTES_MAX:
                raise FormError(f"the field {self._name!r} is too long")
            return
        assert self._out is not None
        self.file_bytes += end - start
        if self.file_bytes <= self._max_bytes:
            self._out.write(memoryview(data)[start:end])

    def _part_end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._value.decode("utf-8", "replace")


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise FormError("the body is no multipart form")
    return options[b"boundary"]
