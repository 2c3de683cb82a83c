"""Every way to fail: what is printed where, and the exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec
import pytest

from bydawn.cli import errors
from bydawn.errors import ConfigError, InvalidInput, JobBusy, NotSent, Problem, RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def many_problems(total: int) -> InvalidInput:
    """Problems on lines 1 to 20, and a total."""
    return InvalidInput("in.jsonl", [Problem(n, f"wrong {n}", "mend it") for n in range(1, 21)], total)


def test_invalid_input_shows_lines_remedies_and_the_count() -> None:
    lines = errors.lines(many_problems(1_500))
    assert lines[0] == "error: in.jsonl: 1,500 problems, nothing was submitted"
    assert lines[1] == "  in.jsonl:1: wrong 1 (mend it)"
    assert lines[20] == "  in.jsonl:20: wrong 20 (mend it)"
    assert lines[21] == "  and 1,480 more"
    assert lines[22].startswith("hint: ")


def test_a_problem_of_the_whole_input_has_no_line() -> None:
    lines = errors.lines(InvalidInput("in.jsonl", [Problem(None, "the input has no rows")], 1))
    assert lines[1] == "  in.jsonl: the input has no rows"
    assert not any("more" in line for line in lines)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("c"), 2),
        (many_problems(20), 2),
        (click.UsageError("u"), 2),
        (JobBusy("b"), 4),
        (NotSent("n"), 4),
        (RateLimited("r", provider="openai", status=429, code="slow"), 4),
        (OSError(28, "No space left on device", "file"), 4),
        (KeyboardInterrupt(), 130),
        (errors.Interrupted("job1"), 130),
        (RuntimeError("boom"), 70),
    ],
)
def test_each_error_has_its_code(error: BaseException, code: int) -> None:
    record = errors.record(error)
    assert record["exit_code"] == code
    assert record["type"] == type(error).__name__
    assert record["message"]
    assert errors.lines(error)[0].startswith("interrupted: " if code == 130 else "error: ")


def test_json_record_carries_the_details() -> None:
    record = errors.record(many_problems(1_500))
    assert (record["source"], record["problems_total"], len(record["problems"])) == ("in.jsonl", 1_500, 20)
    assert record["problems"][0] == {"line": 1, "message": "wrong 1", "remedy": "mend it"}
    limited = errors.record(RateLimited("r", provider="openai", status=429, code="slow", request_id="req_1"))
    assert (limited["provider"], limited["status"], limited["code"]) == ("openai", 429, "slow")
    assert limited["request_id"] == "req_1"


def test_json_errors_are_one_object_on_stdout(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    fake.planning = [many_problems(21)]
    done = cli("run", str(rows), "-o", "out.jsonl", "--json")
    assert (done.code, done.err) == (2, "")
    assert msgspec.json.decode(done.out)["event"] == "error"


def test_usage_errors_are_json_too(cli: Callable[..., Any]) -> None:
    done = cli("run", "--json")
    assert (done.code, done.err) == (2, "")
    record = msgspec.json.decode(done.out)
    assert "INPUT" in record["message"]
    assert "bydawn run --help" in record["hint"]


def test_usage_errors_say_where_help_is(cli: Callable[..., Any]) -> None:
    done = cli("run", "x", "--nonsense")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert "hint: `bydawn run --help`" in done.err
    assert cli("nonsense").code == 2


def test_bugs_show_no_traceback_unless_asked(
    cli: Callable[..., Any], fake: Any, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.planning = [RuntimeError("boom")]
    done = cli("run", str(rows), "-o", "out.jsonl")
    assert done.code == 70
    assert "unexpected RuntimeError: boom" in done.err
    assert "BYDAWN_DEBUG=1" in done.err
    assert "Traceback" not in done.err
    monkeypatch.setenv("BYDAWN_DEBUG", "1")
    with pytest.raises(RuntimeError, match="boom"):
        cli("run", str(rows), "-o", "out.jsonl")


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    """Standard output is a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "bydawn", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (errors.BROKEN_PIPE, "")
