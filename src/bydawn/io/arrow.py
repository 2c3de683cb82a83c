"""The one door to pyarrow, which is imported only when a Parquet file or a data frame is really there."""

from __future__ import annotations

import importlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bydawn.errors import ConfigError
from bydawn.io.rows import BadRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROWS_AT_A_TIME = 1024
"""How many rows of a table are turned into Python objects at once."""


def import_pyarrow(module: str = "pyarrow") -> Any:
    """Return pyarrow or one of its modules. Raises ConfigError when it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(
            "Parquet files and data frames need pyarrow", hint="Install it: pip install 'bydawn[parquet]'"
        ) from None


def stream_batches(table: Any) -> Any:
    """Return the record batches of any object with ``__arrow_c_stream__`` (polars, pandas, DuckDB, pyarrow)."""
    return import_pyarrow().RecordBatchReader.from_stream(table)


def batch_rows(batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Arrow record batches as plain values, a few at a time.

    Raises BadRow where they end because the data is damaged or has no Python value (nanoseconds, binary that is no
    text).
    """
    try:
        for batch in batches:
            for start in range(0, batch.num_rows, ROWS_AT_A_TIME):
                for row in batch.slice(start, ROWS_AT_A_TIME).to_pylist():
                    yield {name: _plain(value) for name, value in row.items()}
    except (import_pyarrow().ArrowException, OSError, ValueError) as error:
        raise BadRow(f"the table cannot be read from here on: {error}", "cast odd columns to text") from error


def _plain(value: Any) -> Any:
    """Make an Arrow value JSON's: a struct's null members are left out, for Arrow cannot tell null from absent."""
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if isinstance(value, datetime):  # where pandas is installed, a subclass that the encoder does not know
        return value.isoformat()
    return value.decode() if isinstance(value, bytes) else value
