"""Checks a program's results line by line: every row there, once, in order, with the very text the stub answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from texts import TICKET_DIGITS, answer_text

if TYPE_CHECKING:
    from pathlib import Path

_CUSTOM_ID = re.compile(rf"Ticket #\d{{{TICKET_DIGITS}}} as ([^:]+): ")


class WrongOutput(Exception):
    """A program failed, or its output is not what the stub answered."""


class Line(msgspec.Struct):
    """What is checked of a result; both programs write these fields."""

    id: str
    row: int
    status: str
    text: str


def check_output(path: Path, count: int) -> None:
    """Check that ``path`` holds ``count`` right results. Raises WrongOutput with the first line that is not."""
    decode = msgspec.json.Decoder(Line).decode
    custom_ids: set[str] = set()
    rows = 0
    with path.open("rb") as file:
        for rows, raw in enumerate(file, start=1):
            custom_ids.add(_check_line(decode(raw), rows - 1))
    if rows != count:
        raise WrongOutput(f"{path.name} has {rows} lines, and {count} rows were asked for")
    if len(custom_ids) != count:
        raise WrongOutput(f"{count} rows went under {len(custom_ids)} different custom_ids")


def _check_line(line: Line, row: int) -> str:
    """Check one result and return the custom_id it was answered under."""
    named = _CUSTOM_ID.match(line.text)
    custom_id = named[1] if named else ""
    expected = Line(id=f"mail-{row}", row=row, status="succeeded", text=answer_text(row, custom_id))
    if line != expected:
        raise WrongOutput(f"line {row + 1} is not the answer to row {row}:\n  got      {line}\n  expected {expected}")
    return custom_id
