"""Writes results: JSON Lines, CSV or Parquet; to a file atomically, or to an open stream."""

from __future__ import annotations

import csv
import errno
import io
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, get_args

from bydawn.errors import ConfigError, StoreError
from bydawn.io.arrow import import_pyarrow
from bydawn.io.atomic import replacing
from bydawn.io.columns import COLUMNS, Record, decode_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OutputFormat: TypeAlias = Literal["jsonl", "csv", "parquet"]

_DISK_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
_BLOCK_LINES = 500
_GROUP_BYTES = 8 << 20
_GROUP_ROWS = 50_000
"""A Parquet row group is written when it has this many rows, or bytes of JSON: what is held in memory."""


def write_results(
    lines: Iterable[bytes],
    target: Path | BinaryIO,
    *,
    format: OutputFormat | None = None,  # noqa: A002 - the word users know
) -> int:
    """Write result records and return how many.

    ``lines`` are JSON objects as UTF-8, each ending in a newline. A path is replaced only when all is written and on
    disk, whatever ``lines`` raises; a path that is no regular file (``/dev/stdout``, a pipe) and a stream are written
    directly. Without a ``format`` the path's extension says it, else JSON Lines. Raises ConfigError when the target
    cannot be written.
    """
    if not isinstance(target, Path):
        return _WRITERS[format or "jsonl"](lines, target)
    write = _WRITERS[check_target(target, format=format)]
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as stream:
                return write(lines, stream)
        with replacing(target) as file:
            return write(lines, file)
    except OSError as error:
        if error.errno in _DISK_TROUBLE:
            raise StoreError(
                f"cannot write results to {target}: {error.strerror}",
                hint="Free some space, then run the same command again: the results are kept.",
            ) from error
        raise ConfigError(
            f"cannot write results to {target}: {error.strerror or error}",
            hint="The results are kept: bydawn results writes them elsewhere.",
        ) from error


def check_target(target: Path, *, format: OutputFormat | None = None) -> OutputFormat:  # noqa: A002 - as above
    """Return the format a path will be written in; meant to be called before money is spent.

    Raises ConfigError when the folder does not exist, the path is a folder, or the format cannot be written here.
    """
    chosen = format or _format_of(target)
    if chosen not in get_args(OutputFormat):
        raise ConfigError(f"{chosen!r} is no output format", hint="Use jsonl, csv or parquet.")
    if target.is_dir():
        raise ConfigError(f"{target} is a folder", hint="Name a file in it.")
    if not target.parent.is_dir():
        raise ConfigError(f"the folder of {target} does not exist", hint=f"Create {target.parent} first.")
    if chosen == "parquet":
        import_pyarrow("pyarrow.parquet")
    return chosen


def _format_of(target: Path) -> OutputFormat:
    extension = target.suffix.lower()
    if extension == ".gz":
        raise ConfigError(f"{target.name}: compressed results are not written", hint="Leave out .gz, compress later.")
    return "csv" if extension == ".csv" else "parquet" if extension == ".parquet" else "jsonl"


def _write_json_lines(lines: Iterable[bytes], file: BinaryIO) -> int:
    count = 0
    rest = iter(lines)
    while block := list(islice(rest, _BLOCK_LINES)):
        file.write(b"".join(block))
        count += len(block)
    return count


def _write_csv(lines: Iterable[bytes], file: BinaryIO) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        # The line ends of RFC 4180: with them the writer puts every cell that holds a lone \r or \n in quotes.
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow([column.name for column in COLUMNS])
        count = 0
        for line in lines:
            record = decode_record(line)
            writer.writerow([_cell(column.value(record)) for column in COLUMNS])
            count += 1
        return count
    finally:
        text.detach()


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _write_parquet(lines: Iterable[bytes], file: BinaryIO) -> int:
    pyarrow, parquet = import_pyarrow(), import_pyarrow("pyarrow.parquet")
    types = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "boolean": pyarrow.bool_(),
    }
    schema = pyarrow.schema([(column.name, types[column.kind]) for column in COLUMNS])
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for records in _groups(lines):
            arrays = [
                pyarrow.array([column.value(record) for record in records], types[column.kind]) for column in COLUMNS
            ]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            count += len(records)
    return count


def _groups(lines: Iterable[bytes]) -> Iterator[list[Record]]:
    group: list[Record] = []
    size = 0
    for line in lines:
        group.append(decode_record(line))
        size += len(line)
        if size >= _GROUP_BYTES or len(group) >= _GROUP_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group


_WRITERS = {"jsonl": _write_json_lines, "csv": _write_csv, "parquet": _write_parquet}
