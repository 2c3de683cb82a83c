"""The command line from end to end, through the sandbox: real client, real HTTP on loopback, no key."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bydawn.cli import sandboxed
from bydawn.cli.options import SandboxArgs
from bydawn.config import Settings
from bydawn.core.settings import EngineSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SANDBOX = SandboxArgs(
    sandbox=True, sandbox_upstream=None, sandbox_model=None, sandbox_faults=None, sandbox_seed=0, speed=None
)
RUN = ("-m", "openai/gpt-4o-mini", "--sandbox")


def results(path: Path) -> list[dict[str, Any]]:
    """Read a results file."""
    return [msgspec.json.decode(line) for line in path.read_bytes().split(b"\n") if line]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where results go."""
    return tmp_path / "out.jsonl"


def test_a_job_needs_no_key(cli: Callable[..., Any], rows: Path, out: Path) -> None:
    """One result per row in order, counted and priced, with the way to do it for real."""
    done = cli("run", str(rows), *RUN, "-o", str(out))
    assert done.code == 0, done.err
    found = results(out)
    assert [(result["id"], result["status"]) for result in found] == [("a", "succeeded"), ("b", "succeeded")]
    assert all(result["usage"]["input_tokens"] > 0 and result["cost_usd"] > 0 for result in found)
    assert "nothing was spent" in done.err
    assert f"bydawn run {rows} -m openai/gpt-4o-mini -o {out}" in done.err
    assert "sk-" not in done.err


def test_the_same_command_is_the_same_job(cli: Callable[..., Any], rows: Path, out: Path) -> None:
    cli("run", str(rows), *RUN, "-o", str(out))
    first = out.read_bytes()
    again = cli("run", str(rows), *RUN, "-o", str(out))
    assert again.code == 0
    assert "was finished before: nothing is sent" in again.err
    assert out.read_bytes() == first
    assert len(msgspec.json.decode(cli("jobs", "--json").out)["jobs"]) == 1
    cli("run", str(rows), *RUN, "-o", str(out), "--new")
    assert len(msgspec.json.decode(cli("jobs", "--json").out)["jobs"]) == 2


def test_a_sandbox_job_never_goes_to_the_real_provider(
    cli: Callable[..., Any], rows: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wait` on it starts the sandbox by itself, although a key and an address of a provider are set."""
    assert cli("submit", str(rows), *RUN).code == 0
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    done = cli("wait", "last", "-o", str(out))
    assert done.code == 0, done.err
    assert len(results(out)) == 2


def test_failed_rows_are_shown_and_sent_again(cli: Callable[..., Any], rows: Path, out: Path, tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[row]]\noutcome = "flagged"\nrows = [1]\n')
    arguments = ("run", str(rows), *RUN, "-o", str(out), "--sandbox-faults", str(faults))
    done = cli(*arguments)
    assert done.code == 1, done.err
    assert [result["status"] for result in results(out)] == ["succeeded", "failed"]
    [group] = msgspec.json.decode(cli("failures", "last", "--json").out)["failures"]
    assert (group["count"], group["example_id"]) == (1, "b")
    again = cli("retry", "last", "-o", str(out))
    assert again.code == 0, again.err
    assert [result["status"] for result in results(out)] == ["succeeded", "succeeded"]


def test_a_wrong_fault_plan_is_a_usage_error(cli: Callable[..., Any], rows: Path, tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[row]]\noutcome = "nonsense"\n')
    done = cli("run", str(rows), *RUN, "--sandbox-faults", str(faults))
    assert done.code == 2
    assert "nonsense" in done.err
    assert cli("run", str(rows), *RUN, "--sandbox-faults", "missing.toml").code == 2


def test_an_upstream_that_is_not_there_is_said_and_replaced(cli: Callable[..., Any], rows: Path, out: Path) -> None:
    done = cli("run", str(rows), *RUN, "-o", str(out), "--sandbox-upstream", "http://127.0.0.1:9/v1")
    assert done.code == 0, done.err
    assert "seeded" in done.err
    assert all(result["text"] for result in results(out))


def test_a_missing_extra_is_named(cli: Callable[..., Any], rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("bydawn.sandbox")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("bydawn.sandbox", raising=False)
    monkeypatch.setitem(sys.modules, "starlette", None)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    done = cli("run", str(rows), *RUN)
    assert done.code == 2
    assert "pip install 'bydawn[sandbox]'" in done.err


def test_invalid_rows_are_all_shown_and_nothing_is_sent(cli: Callable[..., Any], tmp_path: Path, out: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text("".join('{"prompt": \n' for _ in range(25)) + '{"prompt": "fine"}\n')
    done = cli("run", str(bad), *RUN, "-o", str(out))
    assert done.code == 2
    assert f"{bad.name}:1: " in done.err
    assert f"{bad.name}:20: " in done.err
    assert f"{bad.name}:21: " not in done.err
    assert "and 5 more" in done.err
    assert msgspec.json.decode(cli("jobs", "--json").out)["jobs"] == []


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables for processes of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "BYDAWN_"))}
    return kept | {"BYDAWN_HOME": str(tmp_path / "home")}


@pytest.fixture
def slow_run(rows: Path, out: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A run whose batch is at the provider and will stay there: virtual time goes as slowly as real time."""
    command = [sys.executable, "-m", "bydawn", "run", str(rows), *RUN, "-o", str(out), "--speed", "1", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        event = msgspec.json.decode(line)
        if event["event"] == "batch" and event["state"] == "in_progress":
            break
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_continues_with_the_same_command(
    slow_run: subprocess.Popen[str], number: signal.Signals, cli: Callable[..., Any], rows: Path, out: Path
) -> None:
    """The batch is still at the sandbox afterwards, and it is the only one that was ever made."""
    slow_run.send_signal(number)
    last = slow_run.communicate(timeout=30)[0].strip().split("\n")[-1]
    if number == signal.SIGINT:
        assert slow_run.returncode == 130
        assert msgspec.json.decode(last)["type"] == "Interrupted"
    assert not out.exists()
    done = cli("run", str(rows), *RUN, "-o", str(out), "--speed", "100000")
    assert done.code == 0, done.err
    assert len(results(out)) == 2
    [job] = msgspec.json.decode(cli("jobs", "--json").out)["jobs"]
    assert len(job["batches"]) == 1


def test_the_sandbox_serves_other_clients(environment: dict[str, str]) -> None:
    """As a process of its own, on a free port, until it is interrupted."""
    command = [sys.executable, "-m", "bydawn", "sandbox", "--port", "0", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            base_url = msgspec.json.decode(server.stdout.readline())["base_url"]
            answer = probe(base_url, environment)
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=20) == 0
        finally:
            server.kill()
    assert "ok" in answer["openai"]


def probe(base_url: str, environment: dict[str, str]) -> dict[str, str]:
    """Let the doctor look at it: check name -> state."""
    env = environment | {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "sk-any"}
    command = [sys.executable, "-m", "bydawn", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    return {check["name"]: check["state"] for check in msgspec.json.decode(done.stdout)["checks"]}


def test_a_second_process_waits_for_the_sandbox(tmp_path: Path) -> None:
    """Two servers of one state folder would not know of each other's batches. The lock is let go when told of it."""
    home = tmp_path / "home" / "sandbox"
    config = sandboxed.sandbox_config(home, SANDBOX)
    home.mkdir(parents=True)
    other = (home / "in-use").open("w")
    fcntl.flock(other, fcntl.LOCK_EX)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        other.close()

    with sandboxed.serving(config, say) as base_url:
        assert base_url.startswith("http://127.0.0.1:")
    assert said == ["another process uses this sandbox; waiting for it to end"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (0.1, 1.0, 2.0)),
        ({"poll_min_s": 3.0}, (3.0, 3.0, 2.0)),
        ({"poll_max_s": 60.0, "settle_wait_s": 9.0}, (0.1, 60.0, 9.0)),
    ],
)
def test_polling_is_quick_unless_the_user_said_otherwise(
    tmp_path: Path, given: dict[str, float], expected: tuple[float, ...]
) -> None:
    engine = EngineSettings(**given)  # type: ignore[arg-type]
    settings = Settings(home=tmp_path, engine=engine, environment={"OPENAI_API_KEY": "sk-real", "OPENAI_BASE_URL": "x"})
    with sandboxed.in_sandbox(settings, SANDBOX, lambda _: None) as found:
        assert (found.engine.poll_min_s, found.engine.poll_max_s, found.engine.settle_wait_s) == expected
        assert (found.realm, dict(found.environment)) == ("sandbox", {"OPENAI_API_KEY": "sk-sandbox"})
        assert found.base_urls["openai"].startswith("http://127.0.0.1:")
