"""Results as JSON Lines, CSV and Parquet, written whole."""

from __future__ import annotations

import csv
import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bydawn.core.result import Result, RowError, Usage
from bydawn.errors import ConfigError, StoreError
from bydawn.io import check_target, sinks, write_results
from bydawn.io.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator


def result(row: int = 0, **values: Any) -> Result:
    fields: dict[str, Any] = {
        "id": f"r{row}", "row": row, "status": "succeeded", "model": "openai/m", "text": "hi", "parsed": None,
        "tool_calls": None, "finish_reason": "stop", "usage": Usage(3, 2, 1, 0), "cost_usd": 0.00015, "error": None,
        "attempts": 1, "provider_batch_id": "batch_1",
    }  # fmt: skip
    return Result(**(fields | values))


FAILED = result(
    1,
    id='a,"b"\n',
    status="failed",
    text=None,
    finish_reason=None,
    usage=None,
    cost_usd=None,
    error=RowError("invalid_request", "unsupported_value", "No, not\rthat", retryable=False, provider="openai"),
)
RICH = result(
    2,
    parsed={"label": "é", "n": [1, 2]},
    tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    embedding=[0.1, -2e-05],
    raw={"id": "chatcmpl"},
)


def encode(*results: Result) -> list[bytes]:
    return [msgspec.json.encode(one) + b"\n" for one in results]


def test_json_lines_are_the_very_bytes(tmp_path: Path) -> None:
    lines = encode(result(), FAILED, RICH)
    assert write_results(iter(lines), tmp_path / "out.jsonl") == 3
    assert (tmp_path / "out.jsonl").read_bytes() == b"".join(lines)


def test_csv_is_flat(tmp_path: Path) -> None:
    assert write_results(encode(result(), FAILED, RICH), tmp_path / "out.csv") == 3
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        good, failed, rich = csv.DictReader(file)
    assert list(good) == [column.name for column in COLUMNS]
    assert (good["id"], good["text"], good["usage.input_tokens"], good["cost_usd"]) == ("r0", "hi", "3", "0.00015")
    assert (good["error.kind"], good["parsed"], good["raw"]) == ("", "", "")
    assert (failed["id"], failed["error.message"], failed["error.retryable"]) == ('a,"b"\n', "No, not\rthat", "false")
    assert (failed["usage.input_tokens"], failed["cost_usd"]) == ("", "")
    assert msgspec.json.decode(rich["parsed"]) == RICH.parsed
    assert msgspec.json.decode(rich["tool_calls"]) == RICH.tool_calls
    assert (rich["embedding"], rich["raw"]) == ("[0.1,-0.00002]", '{"id":"chatcmpl"}')


def test_parquet_has_the_same_columns_with_types(tmp_path: Path) -> None:
    assert write_results(encode(result(), FAILED, RICH), tmp_path / "out.parquet") == 3
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == [column.name for column in COLUMNS]
    good, failed, rich = table.to_pylist()
    assert (good["row"], good["usage.input_tokens"], good["cost_usd"], good["error.kind"]) == (0, 3, 0.00015, None)
    assert (failed["usage.input_tokens"], failed["error.retryable"], failed["text"]) == (None, False, None)
    assert msgspec.json.decode(rich["parsed"]) == RICH.parsed


def test_parquet_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_GROUP_ROWS", 4)
    write_results(encode(*[result(n) for n in range(10)]), tmp_path / "out.parquet")
    file = pq.ParquetFile(tmp_path / "out.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [4, 4, 2]
    monkeypatch.setattr(sinks, "_GROUP_BYTES", 10)
    write_results(encode(result(), result(1)), tmp_path / "out.parquet")
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == 2


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet"])
def test_no_results_make_an_empty_table(tmp_path: Path, name: str) -> None:
    assert write_results([], tmp_path / name) == 0
    assert (tmp_path / name).exists()


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@given(texts=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
def test_any_text_survives_csv(texts: list[tuple[str, str]]) -> None:
    target = io.BytesIO()
    rows = [result(n, text=text, parsed={"t": parsed}) for n, (text, parsed) in enumerate(texts)]
    write_results(encode(*rows), target, format="csv")
    read = list(csv.DictReader(io.StringIO(target.getvalue().decode(), newline="")))
    assert [(row["text"], msgspec.json.decode(row["parsed"])["t"]) for row in read] == texts


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet"])
def test_lines_that_fail_leave_the_old_file(tmp_path: Path, name: str) -> None:
    def lines() -> Iterator[bytes]:
        yield from encode(result())
        raise LookupError("state is damaged")

    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(LookupError):
        write_results(lines(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_no_mistake_of_the_user_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "out.jsonl"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write_results(encode(result()), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_is_written_and_not_replaced() -> None:
    assert write_results(encode(result()), Path("/dev/null")) == 1
    assert Path("/dev/null").is_char_device()


def test_a_stream_is_left_open() -> None:
    for chosen in ("jsonl", "csv"):
        stream = io.BytesIO()
        assert write_results(encode(result()), stream, format=chosen) == 1  # type: ignore[arg-type]
        assert not stream.closed
        assert b"r0" in stream.getvalue()


def test_the_format_can_be_named(tmp_path: Path) -> None:
    write_results(encode(result()), tmp_path / "out.dat", format="csv")
    assert (tmp_path / "out.dat").read_bytes().startswith(b"id,row,status")


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("a.jsonl", "jsonl"), ("a.CSV", "csv"), ("a.parquet", "parquet"), ("a", "jsonl"), ("a.ndjson", "jsonl")],
)
def test_extensions_choose_the_format(tmp_path: Path, name: str, chosen: str) -> None:
    assert check_target(tmp_path / name) == chosen


def test_targets_that_cannot_be_written_are_refused_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        check_target(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        check_target(tmp_path / "gone" / "out.jsonl")
    with pytest.raises(ConfigError, match="compressed"):
        check_target(tmp_path / "out.jsonl.gz")
    with pytest.raises(ConfigError, match="no output format"):
        check_target(tmp_path / "out", format="xml")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match="pyarrow"):
        check_target(tmp_path / "out.parquet")
