"""Commands that look: status, jobs, failures, results, check, models, doctor; and those that change a job."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bydawn.cli.summary import without_sandbox
from bydawn.core.adjustment import Adjustment
from bydawn.core.batch import Counts, Lane
from bydawn.core.job import BatchStatus, FailureGroup, LanePlan, PlanReport
from bydawn.core.model import ModelRef
from bydawn.store.files import JobFiles
from bydawn.store.lock import JobLock

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = BatchStatus(
    number=1,
    lane="openai/gpt-4o-mini (chat)",
    state="in_progress",
    end_reason=None,
    rows=2,
    provider_batch_id="batch_x",
    provider_status="finalizing",
    counts=Counts(2, 1, 0),
    submitted_at_s=1.0,
    ended_at_s=None,
    note="late",
)


@pytest.fixture
def running(fake: Any, tmp_path: Path) -> Any:
    """The fake's job, half way, with its folder."""
    job = fake.the_job
    job.status_now = replace(job.status_now, state="running", succeeded=1, pending=1, batches=(BATCH,))
    JobFiles(tmp_path / "home", "job1").create()
    return job


def test_status_shows_batches_and_that_nobody_works(cli: Callable[..., Any], running: Any) -> None:
    done = cli("status", "job1")
    assert (done.code, done.out) == (0, "")
    assert "running; nobody works on it now; `bydawn wait job1` goes on" in done.err
    assert "1 of 2 done" in done.err
    assert "finalizing 1+0/2" in done.err
    assert "batch_x" in done.err


def test_status_sees_who_works(cli: Callable[..., Any], running: Any, tmp_path: Path) -> None:
    with JobLock(JobFiles(tmp_path / "home", "job1").lock, "job1"):
        assert "another process (pid " in cli("status").err
        assert msgspec.json.decode(cli("status", "--json").out)["worked_on"] is True
    assert msgspec.json.decode(cli("status", "--json").out)["worked_on"] is False


def test_watching_ends_with_the_job(cli: Callable[..., Any], running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look that differs is shown once, and looking works on nothing."""
    ended = replace(running.status_now, state="done", succeeded=2, pending=0)
    looks = iter([running.status_now, running.status_now, ended])
    monkeypatch.setattr(type(running), "status", lambda job: next(looks))
    monkeypatch.setattr("bydawn.cli.commands.status.WATCH_EVERY_S", 0.0)
    seen = [msgspec.json.decode(line) for line in cli("status", "--watch", "--json").out.strip().split("\n")]
    assert [record["state"] for record in seen] == ["running", "done"]
    assert running.calls == []


def test_an_unknown_job_is_a_usage_error(cli: Callable[..., Any], fake: Any) -> None:
    for command in ("status", "wait", "results", "failures", "retry", "cancel", "clean"):
        done = cli(command, "nope")
        assert done.code == 2
        assert "'nope'" in done.err


def test_jobs_is_a_table(cli: Callable[..., Any], running: Any) -> None:
    err = cli("jobs").err
    assert err.split("\n")[0].split() == ["job", "begun", "state", "done", "not", "ok", "cost", "models", "name"]
    assert "1/2" in err
    [record] = msgspec.json.decode(cli("jobs", "--json").out)["jobs"]
    assert (record["job_id"], record["batches"][0]["counts"]["succeeded"]) == ("job1", 1)


def test_a_new_home_has_no_jobs(cli: Callable[..., Any]) -> None:
    for command in ("status", "jobs"):
        done = cli(command)
        assert (done.code, done.err) == (0, "no jobs yet; begin with `bydawn run`\n")
        assert msgspec.json.decode(cli(command, "--json").out) == {"jobs": []}


def test_failures_show_cause_example_and_remedy(cli: Callable[..., Any], fake: Any) -> None:
    fake.the_job.groups = [
        FailureGroup(
            status="failed", kind="content_filter", code="policy", model="openai/m", message="no", count=3,
            example_row=7, example_id="t7", retryable=True, remedy="Change the prompt.",
        )
    ]  # fmt: skip
    err = cli("failures", "last").err
    for text in ("3 rows failed: content_filter (policy)", "row 7, id t7", "Change the prompt.", "bydawn retry job1"):
        assert text in err
    [record] = msgspec.json.decode(cli("failures", "last", "--json").out)["failures"]
    assert (record["count"], record["example_id"]) == (3, "t7")


def test_no_failures_is_said(cli: Callable[..., Any], fake: Any) -> None:
    assert cli("failures", "last").err == "job job1: no failures\n"


def test_results_of_an_unfinished_job_need_partial(cli: Callable[..., Any], running: Any) -> None:
    refused = cli("results", "last", "-o", "out.jsonl")
    assert refused.code == 2
    assert "--partial" in refused.err
    assert not Path("out.jsonl").exists()
    done = cli("results", "last", "-o", "out.jsonl", "--partial")
    assert done.code == 1
    assert "2 results written to out.jsonl; 1 request without a result yet" in done.err
    assert running.calls == ["write None partial=True raw=False"]


def test_results_default_to_stdout(cli: Callable[..., Any], fake: Any) -> None:
    done = cli("results", "last", "--format", "csv")
    assert done.code == 0
    assert done.out.startswith('{"id":"a"')
    assert done.err == ""
    assert fake.the_job.calls == ["write csv partial=False raw=False"]


def test_retry_puts_back_and_then_works(cli: Callable[..., Any], fake: Any) -> None:
    fake.the_job.status_now = replace(fake.the_job.status_now, succeeded=1, failed=1)
    done = cli("retry", "last", "-o", "out.jsonl")
    assert "1 request will be sent again" in done.err
    assert fake.the_job.calls[:2] == ["retry", "wait"]


def test_retry_can_only_send(cli: Callable[..., Any], fake: Any) -> None:
    assert cli("retry", "last", "--no-wait").code == 0
    assert fake.the_job.calls == ["retry", "start"]


def test_cancel_reports_what_was_kept(cli: Callable[..., Any], fake: Any) -> None:
    fake.the_job.status_now = replace(fake.the_job.status_now, state="cancelled", succeeded=1, cancelled=1)
    done = cli("cancel", "last")
    assert (done.code, fake.the_job.calls) == (0, ["cancel"])
    assert "1 succeeded, 1 cancelled" in done.err


def test_clean_deletes_what_was_asked(cli: Callable[..., Any], fake: Any) -> None:
    assert cli("clean", "last").err == "deleted 3 files at the provider and 12.0 kB here\n"
    cli("clean", "last", "--keep-remote")
    cli("clean", "last", "--keep-local")
    assert cli("clean", "last", "--keep-local", "--keep-remote").code == 2
    asked = ["remote=True local=True", "remote=False local=True", "remote=True local=False"]
    assert fake.the_job.calls == [f"clean {words}" for words in asked]


def plan(**changes: Any) -> PlanReport:
    """A plan of one lane."""
    lane = LanePlan(
        lane=Lane(ModelRef("openai", "o3-mini"), "chat"), requests=48, batches=1, bytes=12_300, input_tokens=1_234,
        max_output_tokens=None, cost_least_usd=Decimal("0.01"), cost_most_usd=None, live_least_usd=Decimal("0.02"),
        price_source="genai-prices", price_note=None,
    )  # fmt: skip
    dropped = Adjustment("dropped", "temperature", "openai/o3-mini refuses it", "r1")
    values: dict[str, Any] = {"source": "t.jsonl", "rows": 48, "requests": 48, "notices": ("it ends soon",)}
    return PlanReport(**(values | {"lanes": (lane,), "adjustments": ((dropped, 48),)} | changes))


def test_check_shows_adjustments_batches_and_cost(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    fake.plan = plan()
    done = cli("check", str(rows), "-m", "openai/o3-mini")
    assert (done.code, done.out) == (0, "")
    for text in (
        "temperature dropped for 48 rows: openai/o3-mini refuses it",
        "openai/o3-mini (chat): 48 requests in 1 batch, 12.3 kB",
        "about 1,234 in, unbounded output",
        "$0.0100 for the input, no upper bound",
        "it ends soon",
        "nothing was sent",
    ):
        assert text in done.err
    assert fake.the_job.calls == []


def test_check_admits_an_unknown_price(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    unpriced = replace(plan().lanes[0], cost_least_usd=None, live_least_usd=None, price_source=None)
    fake.plan = plan(lanes=(unpriced,))
    err = cli("check", str(rows), "-m", "openai/o3-mini").err
    assert "no price is known" in err
    assert "$" not in err
    record = msgspec.json.decode(cli("check", str(rows), "-m", "openai/o3-mini", "--json").out)
    assert record["lanes"][0]["cost_least_usd"] is None
    assert (record["lanes"][0]["model"], record["adjustments"][0]["rows"]) == ("openai/o3-mini", 48)


def test_strict_check_refuses_adjustments(cli: Callable[..., Any], fake: Any, rows: Path) -> None:
    fake.plan = plan()
    assert cli("check", str(rows), "-m", "openai/o3-mini", "--strict").code == 2
    fake.plan = plan(adjustments=())
    assert cli("check", str(rows), "-m", "openai/o3-mini", "--strict").code == 0


def test_models_shows_rules_with_their_source(cli: Callable[..., Any]) -> None:
    done = cli("models", "openai/o3-mini")
    assert (done.code, done.out) == (0, "")
    assert "temperature dropped" in done.err
    assert "checked 20" in done.err
    [record] = msgspec.json.decode(cli("models", "o3-mini", "--json").out)["models"]
    assert record["model"] == "openai/o3-mini"
    assert record["price"]["input_usd_per_mtok"] < record["price"]["live_input_usd_per_mtok"]
    assert {"parameter", "effect", "source", "certainty"} <= set(record["rules"][0])


def test_models_lists_by_pattern(cli: Callable[..., Any]) -> None:
    found = msgspec.json.decode(cli("models", "openai/gpt-4o*", "--json").out)["models"]
    assert len(found) > 1
    assert all(record["model"].startswith("openai/gpt-4o") for record in found)
    assert cli("models", "openai/nonsense*").code == 2


def test_models_admits_what_it_does_not_know(cli: Callable[..., Any]) -> None:
    assert "nothing is known of it" in cli("models", "openai/my-own").err
    [record] = msgspec.json.decode(cli("models", "openai/my-own", "--json").out)["models"]
    assert (record["known"], record["price"]) == (False, None)


def test_doctor_names_missing_keys_and_shows_none(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("doctor")
    assert (done.code, done.out) == (0, "")
    assert "OPENAI_API_KEY is missing" in done.err
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr("bydawn.cli.commands.doctor.PROBE_TIMEOUT_S", 0.5)
    refused = cli("doctor", "--json")
    assert refused.code == 4
    report = msgspec.json.decode(refused.out)
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert (report["healthy"], states["openai key"], states["openai"]) == (False, "ok", "fail")
    assert "very-secret" not in refused.out + refused.err


def test_doctor_sees_an_open_state_folder(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home").chmod(0o755)
    err = cli("doctor").err
    assert "warn  state folder" in err
    assert "chmod 700" in err


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["run", "in", "--sandbox", "-m", "x"], ["run", "in", "-m", "x"]),
        (["run", "--speed", "60", "in", "--sandbox", "--sandbox-seed=3"], ["run", "in"]),
        (["run", "in", "--sandbox-faults", "f.toml", "--sandbox", "-o", "o"], ["run", "in", "-o", "o"]),
    ],
)
def test_the_same_command_without_the_sandbox(arguments: list[str], kept: list[str]) -> None:
    assert without_sandbox(arguments) == kept
