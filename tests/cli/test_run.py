"""``run``, ``submit`` and ``wait`` against a client that does what it is told."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bydawn.core.adjustment import Adjustment
from bydawn.core.events import BatchMoved, Notice, Planning, Progress
from bydawn.core.job import Money
from bydawn.errors import AuthenticationFailed, BudgetExceeded, InvalidInput, Problem, StrictRefusal

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = ("-m", "openai/gpt-4o-mini")
DROPPED = Adjustment("dropped", "temperature", "openai/o3-mini refuses it", "r1")


def records(text: str) -> list[dict[str, Any]]:
    """Decode JSON lines."""
    return [msgspec.json.decode(line) for line in text.strip().split("\n")]


def test_results_go_to_the_file_and_sentences_to_stderr(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    done = cli("run", str(rows), *MODEL, "-o", "out.jsonl")
    assert (done.code, done.out) == (0, "")
    assert Path("out.jsonl").read_bytes().count(b"\n") == 2
    assert "2 succeeded" in done.err
    assert "1,200 in (100 cached), 300 out" in done.err
    assert "$0.0123 at the batch price of openai/gpt-4o-mini; live price $0.0246, saved $0.0123" in done.err
    assert "3 min 12 s" in done.err
    assert "out.jsonl" in done.err
    assert "bydawn failures" not in done.err


def test_results_go_to_stdout_without_an_output(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    done = cli("run", str(rows), *MODEL)
    assert done.code == 0
    assert [record["id"] for record in records(done.out)] == ["a", "b"]


def test_options_reach_the_client(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    Path("p.txt").write_text("Say {{ id }}")
    arguments = ["--prompt-file", "p.txt", "--system", "Be brief", "--param", "temperature=0", "--max-attempts", "5"]
    cli("run", str(rows), *MODEL, "-m", "openai/o3-mini", "--endpoint", "responses", "--strict", "--new", "--name", "N",
        *arguments, "-o", "o.csv", "--raw")  # fmt: skip
    options = fake.opened["options"]
    assert options.models == ("openai/gpt-4o-mini", "openai/o3-mini")
    assert (options.prompt, options.system, options.endpoint) == ("Say {{ id }}", "Be brief", "responses")
    assert (dict(options.params), options.max_attempts) == ({"temperature": 0}, 5)
    assert (fake.opened["strict"], fake.opened["new"], fake.opened["name"]) == (True, True, "N")
    assert fake.the_job.calls == ["wait", "write None partial=False raw=True"]


def test_standard_input_is_an_input(cli: Callable[..., Any], fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": "x"}\n')))
    assert cli("run", "-", *MODEL, "-o", "out.jsonl").code == 0
    assert fake.opened["source"] == b'{"prompt": "x"}\n'


def test_problems_of_standard_input_carry_its_name(
    cli: Callable[..., Any], fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{")))
    fake.planning = [InvalidInput("stdin.jsonl", [Problem(1, "no JSON", "mend it")], 1)]
    done = cli("run", "-", *MODEL)
    assert done.code == 2
    assert "standard input:1: no JSON (mend it)" in done.err


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"succeeded": 1, "failed": 1}, 1),
        ({"succeeded": 1, "expired": 1}, 1),
        ({"state": "cancelled", "succeeded": 0, "cancelled": 2}, 1),
        ({"state": "paused", "reason": "no credit", "succeeded": 0, "pending": 2}, 4),
    ],
)
def test_exit_code_says_how_the_rows_ended(
    cli: Callable[..., Any], fake: Any, rows: Path, changes: dict[str, Any], code: int
) -> None:
    fake.the_job.status_now = replace(fake.the_job.status_now, **changes)
    assert cli("run", str(rows), *MODEL, "-o", "out.jsonl").code == code
    assert Path("out.jsonl").exists() == (code != 4)


def test_failures_are_pointed_to(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    fake.the_job.status_now = replace(fake.the_job.status_now, succeeded=1, failed=1)
    err = cli("run", str(rows), *MODEL, "-o", "out.jsonl").err
    assert "1 succeeded, 1 failed" in err
    assert "bydawn failures job1" in err
    assert "bydawn retry job1" in err


def test_unpriced_answers_are_no_zero_dollars(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    nothing = Money(cost_usd=Decimal(0), live_usd=Decimal(0), unpriced=2)
    fake.the_job.status_now = replace(fake.the_job.status_now, money=nothing)
    err = cli("run", str(rows), *MODEL, "-o", "out.jsonl").err
    assert "2 answers of unknown price" in err
    assert "$0" not in err


def test_adjustments_and_notices_come_before_the_work(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    fake.the_job.status_now = replace(fake.the_job.status_now, adjustments=((DROPPED, 48),), notices=("it ends soon",))
    fake.the_job.events = [BatchMoved(1, "submitting", 48)]
    err = cli("run", str(rows), *MODEL, "-o", "out.jsonl").err
    assert "temperature dropped for 48 rows: openai/o3-mini refuses it" in err
    assert err.index("temperature dropped") < err.index("it ends soon") < err.index("batch 1 (48 rows)")


def test_quiet_says_only_what_needs_an_action(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    fake.the_job.events = [Notice("info", "i"), Notice("warning", "w"), Notice("error", "needs you")]
    done = cli("run", str(rows), *MODEL, "-o", "out.jsonl", "-q")
    assert (done.code, done.err) == (0, "error: needs you\n")


def test_json_prints_events_and_a_summary(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    status = fake.the_job.status_now
    fake.the_job.status_now = replace(status, adjustments=((DROPPED, 48),))
    fake.planning = [Planning(2)]
    fake.the_job.events = [BatchMoved(1, "in_progress", 2, "batch_x"), Progress(status), Notice("info", "hello")]
    done = cli("run", str(rows), *MODEL, "-o", "out.jsonl", "--json")
    assert (done.code, done.err) == (0, "")
    events = records(done.out)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "planning"
    assert kinds[-1] == "summary"
    assert kinds.index("adjustment") < kinds.index("batch") < kinds.index("progress") < kinds.index("summary")
    assert events[kinds.index("adjustment")]["rows"] == 48
    assert events[-1]["exit_code"] == 0
    assert events[-1]["results"] == "out.jsonl"
    assert events[-1]["money"]["cost_usd"] == 0.0123
    assert "batches" not in events[kinds.index("progress")]


def test_json_leaves_stdout_to_results(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    done = cli("run", str(rows), *MODEL, "--json")
    assert [record["id"] for record in records(done.out)] == ["a", "b"]
    assert records(done.err)[-1]["event"] == "summary"


def test_submit_does_not_wait(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    fake.the_job.status_now = replace(fake.the_job.status_now, state="running", succeeded=0, pending=2)
    done = cli("submit", str(rows), *MODEL)
    assert (done.code, done.out, fake.the_job.calls) == (0, "", ["start"])
    assert "bydawn wait job1" in done.err


@pytest.mark.parametrize("name", ["wait", "resume"])
def test_wait_goes_on_with_a_job(cli: Callable[..., Any], fake: Any, name: str) -> None:
    assert cli(name, "last", "-o", "out.jsonl").code == 0
    assert fake.the_job.calls[0] == "wait"


def test_an_error_on_the_way_names_the_job(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    fake.the_job.error = AuthenticationFailed("the key is refused", request_id="req_9", hint="Use another key.")
    done = cli("run", str(rows), *MODEL, "-o", "out.jsonl")
    assert done.code == 4
    assert done.err.startswith("error: the key is refused\n") or "\nerror: the key is refused\n" in done.err
    assert "req_9" in done.err
    assert "hint: Use another key." in done.err
    assert "bydawn wait job1" in done.err
    assert not Path("out.jsonl").exists()


def test_budget_and_strict_have_their_own_codes(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    fake.the_job.error = BudgetExceeded("too dear", spent_usd=Decimal(1), limit_usd=Decimal(2))
    assert cli("run", str(rows), *MODEL).code == 3
    fake.planning = [StrictRefusal("would be adjusted")]
    assert cli("run", str(rows), *MODEL, "--strict").code == 2


def test_an_interrupt_names_the_job(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    fake.the_job.error = KeyboardInterrupt()
    done = cli("run", str(rows), *MODEL, "-o", "out.jsonl")
    assert done.code == 130
    assert "interrupted: job job1 is safe" in done.err
    assert "The same command continues it" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "nowhere/out.jsonl"], "nowhere"),
        (["-o", "."], "folder"),
        (["-o", "out.jsonl.gz"], "gz"),
        (["--prompt", "a", "--prompt-file", "b"], "--prompt"),
        (["--prompt-file", "missing.txt"], "missing.txt"),
        (["--param", "temperature"], "temperature"),
        (["--schema", "missing.json"], "missing.json"),
        (["--speed", "10"], "--sandbox"),
        (["--sandbox-seed", "3"], "--sandbox"),
        (["--endpoint", "chats"], "chats"),
        (["--max-attempts", "0"], "--max-attempts"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_planned(
    cli: Callable[..., Any], fake: Any, rows: Path, arguments: list[str], said: str
) -> None:
    done = cli("run", str(rows), *MODEL, *arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert fake.opened == {}


def test_an_unknown_extension_is_said_before_anything_is_sent(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    err = cli("run", str(rows), *MODEL, "-o", "out.data").err
    assert "warning: out.data: this extension names no format, so jsonl is written" in err
    assert "warning" not in cli("run", str(rows), *MODEL, "-o", "out.data", "--format", "csv").err


@pytest.mark.parametrize("source", ["missing.jsonl", "."])
def test_an_input_must_be_a_file(cli: Callable[..., Any], fake: Any, source: str) -> None:
    done = cli("run", source, *MODEL)
    assert done.code == 2
    assert "INPUT" in done.err
