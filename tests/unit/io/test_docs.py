"""The two pages on formats say what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest

from bydawn.core.result import ErrorKind, Result, RowError, Status, Usage
from bydawn.io.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parents[3] / "docs"
INPUT, OUTPUT = ((DOCS / name).read_text("utf-8") for name in ("input-format.md", "output-format.md"))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("language", "name"), [("jsonl", "in.jsonl"), ("csv", "in.csv")])
def test_every_example_is_accepted(read: Callable[..., Any], language: str, name: str) -> None:
    examples = blocks(INPUT, language)
    assert examples
    for example in examples:
        got = read(example, name)
        assert got.requests
        assert not got.problems.total, got.messages


def test_the_example_record_is_a_result() -> None:
    (example,) = blocks(OUTPUT, "json")
    record = msgspec.json.decode(example, type=Result)
    assert msgspec.json.decode(msgspec.json.encode(record)) == msgspec.json.decode(example)


@pytest.mark.parametrize("kind", [Result, Usage, RowError])
def test_every_field_is_described(kind: type[msgspec.Struct]) -> None:
    for name in kind.__struct_fields__:
        assert f"`{name}`" in OUTPUT


def test_every_status_and_error_kind_has_its_row() -> None:
    for word in (*get_args(Status), *get_args(ErrorKind)):
        assert f"| `{word}` |" in OUTPUT


def test_tables_have_the_columns_listed() -> None:
    listed = re.search(r"fit together:\n\n(.*?)\n\n", OUTPUT, re.DOTALL)
    assert listed is not None
    assert re.findall(r"`([^`]+)`", listed[1]) == [column.name for column in COLUMNS]


def test_a_tables_columns_cover_the_whole_result() -> None:
    assert [column.name.split(".")[0] for column in COLUMNS if "." not in column.name] == [
        name for name in Result.__struct_fields__ if name not in {"usage", "error"}
    ]
