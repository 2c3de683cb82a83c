"""Rows from Python, written so that they can be read again."""

from __future__ import annotations

import stat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bydawn.core.problems import Problems
from bydawn.errors import ConfigError, InvalidInput
from bydawn.io import RowShape, Template, open_source, spool_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
JSON = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
PARAMETER = TEXT.map(lambda name: f"x-{name}")


def spooled(path: Path) -> list[Any]:
    return [msgspec.json.decode(line) for line in path.read_bytes().split(b"\n") if line]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.dictionaries(PARAMETER, JSON, max_size=4), min_size=1, max_size=5))
def test_rows_are_read_back_equal(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """What a caller gives is what every request holds, through the file and the reader."""
    path = tmp_path / "rows.jsonl"
    spool_rows(({"input": "x", **row} for row in rows), path)
    source = open_source(path, shape=RowShape())
    problems = Problems(source.name)
    requests = list(source.requests(problems))
    assert not problems.total
    assert [msgspec.json.decode(msgspec.json.encode(request.fields)) for request in requests] == [
        {"input": "x", **row} for row in rows
    ]


def test_texts_become_prompts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    spool_rows(["a", {"prompt": "b"}, MappingProxyType({"prompt": "c", "m": MappingProxyType({"k": 1})})], path)
    assert spooled(path) == [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "c", "m": {"k": 1}}]


def test_the_file_is_private_even_where_an_open_one_was(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("old")
    path.chmod(0o644)
    spool_rows(["a"], path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_values_of_common_libraries_are_converted(tmp_path: Path) -> None:
    class Scalar:
        def tolist(self) -> int:
            return 3

    class Model:
        def model_dump(self, **options: Any) -> dict[str, Any]:
            assert options == {"mode": "json", "exclude_none": True}
            return {"role": "user"}

    path = tmp_path / "rows.jsonl"
    spool_rows([{"n": Scalar(), "messages": [Model()], "t": float("nan")}], path)
    assert spooled(path) == [{"n": 3, "messages": [{"role": "user"}], "t": None}]


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (5, "the row is int"),
        (None, "the row is NoneType"),
        (["x"], "the row is list"),
        (b"x", "the row is bytes"),
        ({"prompt": b"x"}, "'prompt' holds bytes"),
        ({"prompt": object()}, "type object"),
        ({"prompt": "\ud800"}, "surrogates"),
        ({("a", 1): "x"}, "cannot be written as JSON"),
        ({"prompt": nested(5000)}, "nested too deeply"),
    ],
)
def test_rows_that_are_none_are_named_by_number(tmp_path: Path, row: Any, complaint: str) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(InvalidInput) as caught:
        spool_rows(["good", row, "good", row], path)
    assert [problem.line for problem in caught.value.problems] == [2, 4]
    assert complaint in str(caught.value.problems[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", ["text", b"bytes", {"prompt": "x"}, 5, None])
def test_what_is_no_collection_of_rows_is_refused(tmp_path: Path, rows: Any) -> None:
    with pytest.raises(ConfigError, match="rows cannot be read from"):
        spool_rows(rows, tmp_path / "rows.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_generator_leaves_nothing(tmp_path: Path) -> None:
    def rows() -> Iterator[str]:
        yield "a"
        raise LookupError("theirs")

    with pytest.raises(LookupError, match="theirs"):
        spool_rows(rows(), tmp_path / "rows.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_an_arrow_table_gives_its_rows(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "t": ["a", None], "m": [[{"role": "user", "name": None}], None]})
    path = tmp_path / "rows.jsonl"
    spool_rows(table, path)
    assert spooled(path) == [{"id": 1, "t": "a", "m": [{"role": "user"}]}, {"id": 2, "t": None, "m": None}]


def test_a_table_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        spool_rows(pa.table({"t": pa.array([1], pa.timestamp("ns"))}), tmp_path / "rows.jsonl")
    assert "Nanosecond" in str(caught.value.problems[0])
    assert list(tmp_path.iterdir()) == []


def test_only_the_arrow_stream_is_asked_for(tmp_path: Path) -> None:
    class Frame:
        """A data frame of any library: iterating over it would give columns."""

        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return pa.table({"t": ["a"]}).__arrow_c_stream__(requested_schema)

        def __iter__(self) -> Iterator[str]:
            raise AssertionError("iterated")

    path = tmp_path / "rows.jsonl"
    spool_rows(Frame(), path)  # type: ignore[arg-type]
    source = open_source(path, shape=RowShape(prompt=Template("<{{ t }}>")))
    assert [bytes(request.fields["messages"]) for request in source.requests(Problems("x"))] == [
        b'[{"role":"user","content":"<a>"}]'
    ]
