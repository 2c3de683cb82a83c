"""Reads tables: CSV, TSV and Parquet, row by row.

With ``as_text`` (a template will read the row) every cell of a CSV is text as it stands. Without, cells are fields of a
request: an empty cell is an absent field, and a parameter is JSON where it parses as such, else text.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.errors import ConfigError
from bydawn.io.arrow import ROWS_AT_A_TIME, batch_rows, import_pyarrow
from bydawn.io.lines import numbered_lines
from bydawn.io.parameters import TEXT_PARAMETERS
from bydawn.io.rows import BadRow, encode_json, raw_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bydawn.core.problems import Problems
    from bydawn.io.rows import Numbered

_CELL_CHARACTERS_MAX = 1 << 26
"""Longest cell. Python's own limit of 131,072 is too short for documents; without one a quote left open would swallow
a whole file."""

_TEXT_COLUMNS = frozenset({"id", "custom_id", "model", "prompt", "input"}) | TEXT_PARAMETERS

_parse = msgspec.json.Decoder(msgspec.Raw).decode


def read_csv(path: Path, problems: Problems, *, delimiter: str, as_text: bool) -> Iterator[Numbered]:
    """Yield the rows of a CSV file under its header's names; the line is where the row begins."""
    csv.field_size_limit(max(csv.field_size_limit(), _CELL_CHARACTERS_MAX))
    records = _records(path, problems, delimiter)
    line, header = next(records, (0, None))
    if header is None or not _accept_header(header, line, problems, as_text=as_text):
        return
    for line, cells in records:
        if cells is None:
            yield line, None
        elif len(cells) != len(header):
            problems.add(
                line,
                f"{len(cells)} cells under {len(header)} columns",
                "a cell with a comma, a quote or a line break must stand in quotes",
            )
            yield line, None
        elif as_text:
            yield line, dict(zip(header, map(raw_text, cells), strict=True))
        else:
            yield line, {name: _field(name, cell) for name, cell in zip(header, cells, strict=True) if cell}


def _records(path: Path, problems: Problems, delimiter: str) -> Iterator[tuple[int, list[str] | None]]:
    """Yield the non-empty records of a file; None for one that cannot be read, whose problem is recorded."""
    reader = csv.reader(_decoded_lines(path, problems), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(line, f"malformed CSV: {error}", "check the quotes from this line on")
            yield line, None
        else:
            if cells:
                yield line, cells


def _decoded_lines(path: Path, problems: Problems) -> Iterator[str]:
    for number, line in numbered_lines(path, problems):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            problems.add(number, f"not UTF-8 at byte {error.start + 1} of the line", "save the file as UTF-8")
            text = line.decode(errors="replace")
        if "\0" in text:
            problems.add(number, "the line holds a NUL byte", "the file is damaged, or no CSV")
        yield text


def _accept_header(header: list[str], line: int, problems: Problems, *, as_text: bool) -> bool:
    header[:] = [name.strip() for name in header]
    repeated = next((name for name in header if name and header.count(name) > 1), None)
    if repeated is not None:
        problems.add(line, f"the column {repeated!r} appears twice", "rename one of the two")
        return False
    if "" in header and not as_text:
        problems.add(line, f"column {header.index('') + 1} has no name", "name it, or remove it")
        return False
    return True


def _field(name: str, cell: str) -> msgspec.Raw:
    return raw_text(cell) if name in _TEXT_COLUMNS else _json_or_text(cell)


def _json_or_text(cell: str) -> msgspec.Raw:
    lowered = cell.strip().lower()
    if lowered in {"true", "false"}:  # spreadsheets write them in capitals
        return msgspec.Raw(lowered.encode())
    try:
        return _parse(cell.encode())
    except (msgspec.DecodeError, RecursionError):
        return raw_text(cell)


def read_parquet(path: Path, problems: Problems, *, as_text: bool) -> Iterator[Numbered]:
    """Yield the rows of a Parquet file; the line is the 1-based row number."""
    pyarrow, parquet = import_pyarrow(), import_pyarrow("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ConfigError(f"cannot read {path} as Parquet: {error}") from error
    with file:
        if not _accept_header(file.schema_arrow.names, 1, problems, as_text=as_text):
            return
        number = 0
        try:
            for number, values in enumerate(batch_rows(file.iter_batches(ROWS_AT_A_TIME)), 1):
                yield number, {name: _parquet_field(name, value, as_text=as_text) for name, value in values.items()}
        except BadRow as bad:
            problems.add(number + 1, bad.message, bad.remedy)


def _parquet_field(name: str, value: Any, *, as_text: bool) -> msgspec.Raw:
    """Return a value's JSON; lists and objects may also come as text that holds their JSON.

    Raises BadRow for the few Python values that have none (a pandas Timedelta).
    """
    if isinstance(value, str) and not as_text and name not in _TEXT_COLUMNS and value[:1] in {"[", "{"}:
        return _json_or_text(value)
    try:
        return msgspec.Raw(encode_json(value))
    except TypeError as error:
        raise BadRow(f"the column {name!r} holds a value that is no JSON: {error}", "cast it to text") from None
