"""The example is real, described, and fit for the command that runs it."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
BANKING = EXAMPLES / "banking"


@pytest.fixture
def rows() -> list[dict[str, str]]:
    with (BANKING / "rows.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def schema() -> dict[str, Any]:
    return msgspec.json.decode((BANKING / "schema.json").read_bytes())


@pytest.fixture
def demo(load_script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """run_demo.py, working in a folder of its own and without a small model."""
    module = load_script("examples/run_demo.py")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "install_model", lambda: "this is a test")
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    return module


def test_rows_are_many_and_different(rows: list[dict[str, str]]) -> None:
    assert len(rows) >= 48
    assert len({row["id"] for row in rows}) == len({row["text"] for row in rows}) == len(rows)


def test_every_label_is_an_answer_the_schema_allows_and_is_in_the_instructions(
    rows: list[dict[str, str]], schema: dict[str, Any]
) -> None:
    allowed = schema["properties"]["intent"]["enum"]
    instructions = (BANKING / "system.txt").read_text(encoding="utf-8")
    assert {row["label"] for row in rows} == set(allowed)
    assert all(f'{{"intent": "{intent}"}}' in instructions for intent in allowed)


def test_schema_is_one_that_openai_takes_in_strict_mode(schema: dict[str, Any]) -> None:
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(schema["properties"])


def test_labels_are_not_sent() -> None:
    templates = (BANKING / "system.txt").read_text() + (BANKING / "prompt.txt").read_text()
    assert "{{ text }}" in templates
    assert "label" not in templates


def test_origin_and_licence_of_every_data_file_are_noted() -> None:
    notes = (EXAMPLES / "DATA.md").read_text(encoding="utf-8")
    for data in [*EXAMPLES.rglob("*.csv"), *EXAMPLES.rglob("*.jsonl")]:
        assert f"`{data.relative_to(EXAMPLES)}`" in notes
    assert "CC BY 4.0" in notes
    assert "https://github.com/PolyAI-LDN/task-specific-datasets" in notes


def test_data_stays_small() -> None:
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file()) < 200_000


def test_the_job_passes_the_check_that_comes_before_sending(demo: ModuleType, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bydawn", "check", *demo.JOB[1:], "--strict"]
    done = subprocess.run(command, cwd=ROOT, env={"BYDAWN_HOME": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "72" in done.stdout + done.stderr


def test_the_demo_runs_without_a_model_and_says_so(
    demo: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert demo.main() == 0
    shown = capfd.readouterr()
    assert "cannot be installed (this is a test). Seeded answers take its place" in shown.out
    assert "Agreement with people" in shown.out
    assert "OPENAI_API_KEY" in shown.out + shown.err, "how to run the same with a key"
    results = [msgspec.json.decode(line) for line in (tmp_path / "out/banking.jsonl").read_bytes().split(b"\n") if line]
    assert [result["row"] for result in results] == list(range(72))
    assert {result["status"] for result in results} == {"succeeded"}


def test_the_demo_reports_a_job_that_could_not_run(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "JOB", [*demo.JOB, "--no-such-option"])
    assert demo.main() == 2


def test_a_model_that_does_not_start_is_replaced_and_its_process_gone(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "install_model", lambda: None)
    monkeypatch.setattr(demo.sys, "executable", "/bin/false")
    (tmp_path / "out").mkdir()
    with demo.small_model() as url:
        assert url is None


def test_the_model_is_stopped_when_the_job_fails(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = tmp_path / "server"
    server.write_text("#!/bin/sh\necho $$\nexec cat\n", encoding="ascii")
    server.chmod(0o700)
    monkeypatch.setattr(demo, "install_model", lambda: None)
    monkeypatch.setattr(demo.sys, "executable", str(server))
    (tmp_path / "out").mkdir()
    with pytest.raises(RuntimeError, match="the job"), demo.small_model() as pid:
        raise RuntimeError("the job")
    assert not Path(f"/proc/{pid}").exists()
