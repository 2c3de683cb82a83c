"""CSV, TSV and Parquet: cells become fields or template variables, and broken tables become problems."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bydawn.errors import ConfigError
from bydawn.io import RowShape, Template, open_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USER = [{"role": "user", "content": "hi"}]


def table(path: Path, columns: dict[str, Any]) -> bytes:
    pq.write_table(pa.table(columns), path)
    return path.read_bytes()


# --- CSV


def test_columns_become_fields(read: Callable[..., Any]) -> None:
    got = read(
        "id,prompt,temperature,stop,user,logprobs,reasoning_effort,seed\n"
        '7,"Say ""hi"", twice",0.2,"[""x""]",42,TRUE,low,\n'
        "8,12,,END,,,,5\n",
        "in.csv",
    )
    assert [request.id for request in got.requests] == ["7", "8"]
    assert got.fields(0) == {
        "messages": [{"role": "user", "content": 'Say "hi", twice'}],
        "temperature": 0.2,
        "stop": ["x"],
        "user": "42",
        "logprobs": True,
        "reasoning_effort": "low",
    }
    assert got.fields(1) == {"messages": [{"role": "user", "content": "12"}], "stop": "END", "seed": 5}


def test_messages_come_as_json(read: Callable[..., Any]) -> None:
    got = read('id,messages\na,"[{""role"":""user"",""content"":""hi""}]"\nb,hi\n', "in.csv")
    assert got.fields() == {"messages": USER}
    assert got.lines == [3]
    assert "Expected `array`" in got.messages


def test_input_stays_text(read: Callable[..., Any]) -> None:
    assert read('input\n"[1,2]"\n', "in.csv").fields() == {"input": "[1,2]"}


def test_tabs_separate_tsv(read: Callable[..., Any]) -> None:
    assert read("id\tprompt\na\tx, y\n", "in.tsv").fields()["messages"][0]["content"] == "x, y"


def test_a_template_sees_every_cell_as_text(read: Callable[..., Any]) -> None:
    got = read(
        "id, Product name ,n,empty,\n,Chair,007,,x\nb,[1],1e3,,y\n",
        "in.csv",
        prompt=Template("{{ Product name }}/{{ n }}/{{ empty }}/"),
    )
    assert [got.fields(n)["messages"][0]["content"] for n in (0, 1)] == ["Chair/007//", "[1]/1e3//"]
    assert [request.id for request in got.requests] == [None, "b"]


def test_lines_are_where_rows_begin(read: Callable[..., Any]) -> None:
    got = read('\nprompt,n\n"a\nb\r\nc",1\n\n"d",x\n"e\u2028f",2\n', "in.csv")
    assert [request.line for request in got.requests] == [3, 8]
    assert got.lines == [7]
    assert got.fields()["messages"][0]["content"] == "a\nb\r\nc"


def test_a_byte_order_mark_is_no_part_of_the_header(read: Callable[..., Any]) -> None:
    assert read("\ufeffprompt\nhi\n", "in.csv").fields() == {"messages": USER}


def test_windows_line_ends(read: Callable[..., Any]) -> None:
    assert read("id,prompt\r\na,hi\r\n\r\nb,hi\r\n", "in.csv").fields(1) == {"messages": USER}


def test_compressed_csv(read: Callable[..., Any]) -> None:
    assert read(gzip.compress(b"prompt\nhi\n"), "in.csv.gz").fields() == {"messages": USER}


def test_long_cells_are_read(read: Callable[..., Any]) -> None:
    text = "x" * 1_000_000
    assert read(f"prompt\n{text}\n", "in.csv").fields()["messages"][0]["content"] == text


@pytest.mark.parametrize(
    ("content", "line", "complaint"),
    [
        ("", None, "no rows"),
        ("id,prompt\n", None, "no rows"),
        ("id,prompt\na,x,y\n", 2, "3 cells under 2 columns"),
        ("id,prompt\na\n", 2, "1 cells under 2 columns"),
        ("id,id\na,b\n", 1, "'id' appears twice"),
        ("prompt,\na,b\n", 1, "column 2 has no name"),
        ('prompt\n"a"b\n', 2, "malformed CSV"),
        ('prompt\nok\n"never closed\n', 3, "malformed CSV"),
        ("prompt\ra\rb\r", 1, "malformed CSV"),
        (b"prompt\n\xe9t\xe9\n", 2, "not UTF-8 at byte 1"),
        (b"prompt\na\x00b\n", 2, "NUL byte"),
        ("text,label\na,b\n", 2, "no request to be seen in the fields 'text', 'label'"),
        ("prompt,temperature\nx,warm\n", 2, 'temperature is "warm"'),
        ('prompt,temperature\nx,"0,2"\n', 2, 'temperature is "0,2"'),
        ("id,prompt\na,x\na,y\n", 3, "is on line 2 too"),
        ("id,prompt\na,\n", 2, "no request to be seen"),
    ],
)
def test_broken_tables_are_problems(
    read: Callable[..., Any], content: str | bytes, line: int | None, complaint: str
) -> None:
    got = read(content, "in.csv")
    assert got.lines[0] == line
    assert complaint in got.messages


def test_rows_after_a_malformed_one_are_read(read: Callable[..., Any]) -> None:
    got = read('prompt\n"a"b\nc\n"d"e\n', "in.csv")
    assert got.lines == [2, 4]
    assert [request.row for request in got.requests] == [1]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_cells_arrive_as_they_were_written(read: Callable[..., Any], rows: list[tuple[str, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("a", "b"), *rows])
    got = read(text.getvalue(), "in.csv", prompt=Template("{{ a }}|{{ b }}"))
    assert not got.problems.total
    assert [got.fields(n)["messages"][0]["content"] for n in range(len(rows))] == [f"{a}|{b}" for a, b in rows]


# --- Parquet


def test_parquet_columns_become_fields(read: Callable[..., Any], tmp_path: Path) -> None:
    content = table(
        tmp_path / "t.parquet",
        {
            "id": [1, 2],
            "messages": [
                [{"role": "user", "content": "hi", "name": None}],
                [{"role": "user", "content": "ho", "name": "ann"}],
            ],
            "temperature": [0.5, None],
            "tools": ['[{"type":"function"}]', None],
            "reasoning_effort": ["low", None],
        },
    )
    got = read(content, "in.parquet")
    assert not got.problems.total
    assert [(request.id, request.line) for request in got.requests] == [("1", 1), ("2", 2)]
    assert got.fields(0) == {
        "messages": USER,
        "temperature": 0.5,
        "tools": [{"type": "function"}],
        "reasoning_effort": "low",
    }
    assert got.fields(1) == {"messages": [{"role": "user", "content": "ho", "name": "ann"}]}


def test_a_parquet_template_inserts_values_as_json(read: Callable[..., Any], tmp_path: Path) -> None:
    content = table(
        tmp_path / "t.parquet",
        {
            "text": ["[not json", None],
            "n": [1.5, None],
            "day": [datetime.date(2026, 11, 22), None],
            "time": [datetime.datetime(2026, 11, 22, 5, 30), None],  # noqa: DTZ001 - a table's own local time
            "price": [decimal.Decimal("1.20"), None],
            "bytes": [b"\xc3\xa9", None],
            "tags": [["a", "b"], None],
        },
    )
    template = Template("{{text}}|{{n}}|{{day}}|{{time}}|{{price}}|{{bytes}}|{{tags}}|{{tags.1}}")
    got = read(content, "in.parquet", prompt=template)
    assert got.fields(0)["messages"][0]["content"] == '[not json|1.5|2026-11-22|2026-11-22T05:30:00|1.20|é|["a","b"]|b'
    assert got.lines == [2]  # null has no member 1


def test_parquet_is_read_in_slices(read: Callable[..., Any], tmp_path: Path) -> None:
    content = table(tmp_path / "t.parquet", {"prompt": [str(n) for n in range(3000)]})
    got = read(content, "in.parquet")
    assert [request.row for request in got.requests] == list(range(3000))


def test_binary_that_is_no_text_is_a_problem(read: Callable[..., Any], tmp_path: Path) -> None:
    content = table(tmp_path / "t.parquet", {"prompt": [b"ok", b"\xff"]})
    assert "can't decode byte 0xff" in read(content, "in.parquet").messages


@pytest.mark.parametrize("number", [0, 1])
def test_nanoseconds_that_python_cannot_hold_are_a_problem(
    read: Callable[..., Any], tmp_path: Path, number: int
) -> None:
    times = pa.array([1000] * number + [1], pa.timestamp("ns"))
    got = read(table(tmp_path / "t.parquet", {"prompt": ["x"] * (number + 1), "t": times}), "in.parquet")
    assert got.lines == [1]
    assert "cast odd columns to text" in got.messages


def test_a_value_that_is_no_json_is_a_problem(
    read: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pandas installed, durations come as its own type, which no encoder knows; here any type stands for it."""
    monkeypatch.setattr("bydawn.io.arrow._plain", lambda _: object())
    got = read(table(tmp_path / "t.parquet", {"prompt": ["x"]}), "in.parquet")
    assert "the column 'prompt' holds a value that is no JSON" in got.messages


def test_an_empty_parquet_file_has_no_rows(read: Callable[..., Any], tmp_path: Path) -> None:
    content = table(tmp_path / "t.parquet", {"prompt": pa.array([], pa.string())})
    assert "no rows" in read(content, "in.parquet").messages


def test_a_repeated_parquet_column_is_a_problem(read: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["prompt", "prompt"]), path)
    assert "'prompt' appears twice" in read(path.read_bytes(), "in.parquet").messages


def test_a_damaged_page_is_a_problem(read: Callable[..., Any], tmp_path: Path) -> None:
    content = bytearray(table(tmp_path / "t.parquet", {"prompt": [f"{n:0200}" for n in range(100)]}))
    content[4:200] = bytes(196)
    assert "cannot be read from here on" in read(bytes(content), "in.parquet").messages


def test_a_file_that_is_no_parquet_is_a_configuration_error(read: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="as Parquet"):
        read(b"not parquet at all", "in.parquet")


def test_without_pyarrow_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.parquet"
    table(path, {"prompt": ["x"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="pyarrow") as caught:
        open_source(path, shape=RowShape())
    assert "pip install 'bydawn[parquet]'" in str(caught.value.hint)
