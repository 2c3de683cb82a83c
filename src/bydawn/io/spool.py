"""Writes rows from Python to a JSON Lines file, so that a generator or a data frame can be read again.

Planning, resuming and checking for duplicates each read the input, and a job outlives the process that had the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.core.problems import Problems
from bydawn.errors import ConfigError
from bydawn.io.arrow import batch_rows, stream_batches
from bydawn.io.atomic import PRIVATE, replacing
from bydawn.io.rows import BadRow

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "rows"
_SHAPE = "a row is a mapping of fields, or the text of a prompt"


def spool_rows(rows: Iterable[Mapping[str, Any] | str], path: Path) -> None:
    """Write rows as JSON objects, one a line, to a file private to the user (0600); a text becomes ``{"prompt": …}``.

    ``rows`` may also be anything with ``__arrow_c_stream__``: a polars, pandas, DuckDB or pyarrow table. NaN is
    written as null. Raises InvalidInput with the 1-based numbers of rows that cannot be written, ConfigError where
    ``rows`` is no collection of rows; then no file is left.
    """
    problems = Problems(_NAME)
    with replacing(path, mode=PRIVATE) as file:
        try:
            for number, row in enumerate(_iterate(rows), 1):
                try:
                    file.write(_encode(row) + b"\n")
                except BadRow as bad:
                    problems.add(number, bad.message, bad.remedy)
        except BadRow as bad:  # of the table itself
            problems.add(None, bad.message, bad.remedy)
        problems.raise_if_any()


def _iterate(rows: Any) -> Iterable[Any]:
    if hasattr(rows, "__arrow_c_stream__"):
        return batch_rows(stream_batches(rows))
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise ConfigError(
            f"rows cannot be read from {type(rows).__name__}", hint=f"Give a list or another iterable: {_SHAPE}."
        )
    return rows


def _encode(row: Any) -> bytes:
    """Return a row as a JSON object. Raises BadRow."""
    try:
        return _encoder.encode(_fields(row))
    except RecursionError:
        raise BadRow("the row is nested too deeply", "flatten it") from None
    except (TypeError, ValueError) as error:
        raise BadRow(f"the row cannot be written as JSON: {error}", "convert it to plain values") from error


def _fields(row: Any) -> dict[str, Any]:
    if isinstance(row, str):
        return {"prompt": row}
    if not isinstance(row, Mapping):
        raise BadRow(f"the row is {type(row).__name__}", _SHAPE)
    for name, value in row.items():
        if isinstance(value, bytes | bytearray | memoryview):  # the encoder would write base64 and say nothing
            raise BadRow(f"the field {name!r} holds bytes", "decode them to text")
    return dict(row)


def _plain(value: Any) -> Any:
    """Convert what the encoder does not know: other mappings, pydantic models, numpy scalars and arrays."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"objects of type {type(value).__name__} are not JSON")


_encoder = msgspec.json.Encoder(enc_hook=_plain)
