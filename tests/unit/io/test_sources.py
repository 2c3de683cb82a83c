"""Opening input files: which are accepted, and what identifies their content."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from bydawn.core.problems import Problems
from bydawn.errors import ConfigError, InvalidInput
from bydawn.io import RowShape, open_source

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = RowShape()


def test_the_fingerprint_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "tickets.jsonl"
    path.write_bytes(os.urandom(3_000_000))
    source = open_source(str(path), shape=SHAPE)
    assert source.fingerprint() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.name == "tickets.jsonl"


def test_a_source_is_read_any_number_of_times(tmp_path: Path) -> None:
    path = tmp_path / "in.JSONL"
    path.write_text('{"id":"b","prompt":"x"}\n{"id":"a","prompt":"x"}\n')
    source = open_source(path, shape=SHAPE)
    for _ in range(2):
        problems = Problems(source.name)
        assert [request.id for request in source.requests(problems)] == ["b", "a"]
        assert not problems.total


def test_all_problems_are_counted_and_the_first_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "in.ndjson"
    path.write_text("nonsense\n" * 1000)
    problems = Problems("in.ndjson")
    assert not list(open_source(path, shape=SHAPE).requests(problems))
    with pytest.raises(InvalidInput, match="1,000 problems") as caught:
        problems.raise_if_any()
    assert [problem.line for problem in caught.value.problems] == list(range(1, 21))


def test_reading_may_stop_early(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f'{{"id":"{n * 7 % 10}","prompt":"x"}}\n' for n in range(10)))
    requests = open_source(path, shape=SHAPE).requests(Problems("x"))
    assert [next(requests).id for _ in range(4)] == ["0", "7", "4", "1"]
    requests.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["in.txt", "in", "in.xlsx", "in.parquet.gz", ".jsonl.gz.bak", "in.gz"])
def test_other_extensions_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(ConfigError, match="extension"):
        open_source(tmp_path / name, shape=SHAPE)


def test_what_is_no_readable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        open_source(tmp_path, shape=SHAPE)
    with pytest.raises(ConfigError, match="does not exist"):
        open_source(tmp_path / "gone.jsonl", shape=SHAPE)
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(ConfigError, match="not a regular file"):
        open_source(tmp_path / "pipe.jsonl", shape=SHAPE)
    (tmp_path / "in.jsonl").write_text("{}")
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may read everything
    with pytest.raises(ConfigError, match="may not be read"):
        open_source(tmp_path / "in.jsonl", shape=SHAPE)


def test_a_file_deleted_meanwhile_is_a_configuration_error(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.touch()
    source = open_source(path, shape=SHAPE)
    path.unlink()
    with pytest.raises(ConfigError, match="cannot read"):
        source.fingerprint()
    with pytest.raises(ConfigError, match="cannot read"):
        list(source.requests(Problems("x")))
