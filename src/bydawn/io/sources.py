"""Input files as sources of requests: what a file is, how it is read, and that its ids are unique."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from bydawn.core.problems import Problems
from bydawn.errors import ConfigError
from bydawn.io.arrow import import_pyarrow
from bydawn.io.forms import RequestMaker, RowShape
from bydawn.io.layout import Layouts
from bydawn.io.lines import numbered_lines, parse_json_line
from bydawn.io.rows import BadRow
from bydawn.io.tables import read_csv, read_parquet
from bydawn.io.unique import UniqueIds

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from bydawn.core.request import Request
    from bydawn.io.rows import Numbered

    Reader: TypeAlias = Callable[[Path, Problems, RequestMaker], Iterator[Request]]
    TableReader: TypeAlias = Callable[[Path, Problems], Iterator[Numbered]]

_SHOWN_ID_CHARACTERS = 60


class Source(Protocol):
    """Where a job's requests come from. It can be read any number of times."""

    @property
    def name(self) -> str:
        """As shown in messages."""
        ...

    def fingerprint(self) -> str:
        """Return the SHA-256 of the content, in hex."""
        ...

    def requests(self, problems: Problems) -> Iterator[Request]:
        """Read the content once and yield the good rows; whatever is wrong with others is recorded in ``problems``.

        When the iteration ends, ``problems`` is complete: duplicate ids come last. Never raises for content.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file on disk, read in one shape."""

    path: Path
    name: str
    read: Reader
    maker: RequestMaker

    def fingerprint(self) -> str:
        """Return the SHA-256 of the file's bytes, in hex. Raises ConfigError when it cannot be read."""
        try:
            with self.path.open("rb", buffering=0) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"cannot read {self.path}: {error.strerror or error}") from error

    def requests(self, problems: Problems) -> Iterator[Request]:
        """See `Source.requests`. Raises ConfigError when the file cannot be read."""
        empty = True
        with UniqueIds(self._ids) as ids:
            for request in self._requests(problems):
                empty = False
                ids.add(request.id or str(request.row))
                yield request
            if empty and not problems.total:
                problems.add(None, "the input has no rows", "give it at least one")
            for duplicate in ids.duplicates():
                problems.add(
                    duplicate.line,
                    f"the id {_shorten(duplicate.id)!r} is on line {duplicate.first_line} too",
                    "ids must be unique; a row without one has its row number, counted from 0",
                )

    def _requests(self, problems: Problems) -> Iterator[Request]:
        return self.read(self.path, problems, self.maker)

    def _ids(self) -> Generator[tuple[int, str], None, None]:
        """Read the ids again. Problems are recorded by the reading that counts."""
        for request in self._requests(Problems(self.name)):
            yield request.line, request.id or str(request.row)


def _read_json_lines(path: Path, problems: Problems, maker: RequestMaker) -> Iterator[Request]:
    def make(row: int, number: int, line: bytes) -> Request | None:
        fields = parse_json_line(line)
        return None if fields is None else maker.make(row, number, fields)

    read = Layouts(make).read
    row = 0
    for number, line in numbered_lines(path, problems):
        try:
            request = read(row, number, line)
        except BadRow as bad:
            problems.add(number, bad.message, bad.remedy)
        except RecursionError:
            problems.add(number, *_TOO_DEEP)
        else:
            if request is None:
                continue  # a blank line
            yield request
        row += 1


def _read_table(read: TableReader, path: Path, problems: Problems, maker: RequestMaker) -> Iterator[Request]:
    for row, (number, fields) in enumerate(read(path, problems)):
        if fields is None:
            continue
        try:
            yield maker.make(row, number, fields)
        except BadRow as bad:
            problems.add(number, bad.message, bad.remedy)
        except RecursionError:
            problems.add(number, *_TOO_DEEP)


_TOO_DEEP = ("the JSON is nested too deeply", "flatten it")


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_ID_CHARACTERS else text[:_SHOWN_ID_CHARACTERS] + "…"


def open_source(path: str | Path, *, shape: RowShape) -> FileSource:
    """Return the source of an input file, read by its extension.

    ``.jsonl``, ``.ndjson``, ``.json`` (one object a line), ``.csv`` and ``.tsv``, each also with ``.gz``; ``.parquet``.
    Raises ConfigError for a file that is missing, unreadable, not a regular file or of another kind.
    """
    file = Path(path)
    if file.is_dir():
        raise ConfigError(f"{file} is a folder", hint="Name one input file.")
    if not file.exists():
        raise ConfigError(f"{file} does not exist")
    if not file.is_file():
        raise ConfigError(f"{file} is not a regular file", hint="Inputs are read more than once: save it to a file.")
    if not os.access(file, os.R_OK):
        raise ConfigError(f"{file} may not be read", hint="Look at its permissions.")
    reader = _reader(file, as_text=shape.prompt is not None)
    return FileSource(file, file.name, reader, RequestMaker(shape))


def _reader(file: Path, *, as_text: bool) -> Reader:
    extensions = [extension.lower() for extension in file.suffixes]
    compressed = extensions[-1:] == [".gz"]
    extension = (extensions[:-1] if compressed else extensions)[-1:]
    match extension:
        case [".jsonl" | ".ndjson" | ".json"]:
            return _read_json_lines
        case [".csv"]:
            return partial(_read_table, partial(read_csv, delimiter=",", as_text=as_text))
        case [".tsv"]:
            return partial(_read_table, partial(read_csv, delimiter="\t", as_text=as_text))
        case [".parquet"] if not compressed:
            import_pyarrow()  # so that its absence is told before anything is read
            return partial(_read_table, partial(read_parquet, as_text=as_text))
    raise ConfigError(
        f"{file.name}: no input format has this extension",
        hint="Use .jsonl (or .ndjson), .csv, .tsv or .parquet; the first three also with .gz.",
    )
