"""Reads files line by line: bytes split on the newline byte only, compressed or not, and JSON lines on top of that.

Text inside JSON may hold characters that ``str.splitlines`` takes for line ends (U+2028, U+0085, form feeds); bytes
have no such trap. Nothing here raises for what a file contains: whatever is wrong with it becomes a recorded problem.
"""

from __future__ import annotations

import gzip
import re
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec

from bydawn.errors import ConfigError
from bydawn.io.keys import repeated_key
from bydawn.io.rows import BadRow, decode_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bydawn.core.problems import Problems
    from bydawn.io.rows import Row

_BUFFER_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SAVE_AS_UTF8 = "save the file as UTF-8"
_ONE_OBJECT = "write one JSON object per line"

_ERROR_BYTE = re.compile(r" ?\(byte (\d+)\)$")
_PAIR_OF_SURROGATES = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def numbered_lines(path: Path, problems: Problems) -> Iterator[tuple[int, bytes]]:
    """Yield every line of a file with its 1-based number and its line end; a leading byte-order mark is taken off.

    A file that is damaged (gzip) or UTF-16 becomes a problem. Raises ConfigError when the file cannot be read at all.
    """
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    if line.startswith(_UTF16_MARKS):
                        problems.add(1, "the file is UTF-16, not UTF-8", _SAVE_AS_UTF8)
                        return
                    line = line.removeprefix(_BOM)  # noqa: PLW2901 - the first line only
                yield number, line
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        problems.add(None, f"the gzip data is damaged: {error}", "compress the file again")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def _open(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb", buffering=_BUFFER_BYTES)


def parse_json_line(line: bytes) -> Row | None:
    """Return the JSON object of a line, None for a blank one. Raises BadRow."""
    try:
        if not line.isascii():
            line.decode()  # the decoder does not look into values that stay JSON
        row = decode_row(line)
        repeated = repeated_key(line, row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not line or line.isspace():
            return None
        raise _explain(line, error) from None
    if repeated is not None:
        raise BadRow(f"the field {repeated!r} is given twice", "keep one of the two")
    return row


def _explain(line: bytes, error: Exception) -> BadRow:
    """Say what a decoder's error means for the person who wrote the line."""
    if isinstance(error, RecursionError):
        return BadRow("the JSON is nested too deeply", "flatten it")
    if isinstance(error, UnicodeDecodeError):
        return BadRow(f"not UTF-8 at byte {error.start + 1} of the line", _SAVE_AS_UTF8)
    if b"\0" in line:
        return BadRow("the line holds a NUL byte", f"if the file is UTF-16, {_SAVE_AS_UTF8}; otherwise it is damaged")
    if isinstance(error, msgspec.ValidationError):
        got = str(error).rpartition("got ")[2].strip("`") or "something else"
        return BadRow(f"not a JSON object but {got}", _ONE_OBJECT)
    if line.rstrip().endswith(b"}") and _SURROGATE.search(_PAIR_OF_SURROGATES.sub(b"", line)):
        return BadRow(
            "an escape \\ud800–\\udfff stands alone: half a character, which no provider accepts",
            "write both halves, or remove it",
        )
    return BadRow(f"not valid JSON: {_reason(str(error))}", _ONE_OBJECT)


def _reason(message: str) -> str:
    """Reword the decoder's message: its byte positions count from 0, ours from 1 like line numbers."""
    if "truncated" in message:
        return "the line ends too early"
    return _ERROR_BYTE.sub(
        lambda match: f" at byte {int(match[1]) + 1} of the line", message.removeprefix("JSON is malformed: ")
    )
