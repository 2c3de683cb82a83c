"""Real processes: the command line is killed, interrupted, run twice at once and ten times at once.

The sandbox serves over loopback from the test's own process and is never told; its ledger says what was paid.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from bydawn.sandbox import SandboxConfig, running
from support.checks import (
    BAD,
    ONCE_500,
    check_answers,
    check_batches,
    check_executions,
    check_output,
    check_store,
    comparable,
    make_rows,
    provider_batches,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bydawn.sandbox import RunningSandbox
    from support.checks import Script

COUNT = 60
SCRIPTS = {7: ONCE_500, 23: BAD, 41: ONCE_500}
KEY = "sk-processes-0123456789abcdef"
SPEED = 5_000.0
"""Batches then take up to a second and a half."""


@dataclass
class Site:
    """Folders, the provider's address, and the command line."""

    folder: Path
    server: RunningSandbox

    @property
    def home(self) -> Path:
        """The folder of bydawn's state."""
        return self.folder / "home"

    @property
    def provider(self) -> Path:
        """The folder of the sandbox's state."""
        return self.folder / "provider"

    def rows(self, name: str, scripts: Mapping[int, Script], count: int = COUNT) -> Path:
        """Write the input."""
        path = self.folder / f"{name}.jsonl"
        path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in make_rows(count, scripts)))
        return path

    def start(self, rows: Path, out: str) -> subprocess.Popen[bytes]:
        """Start the command in a process of its own."""
        command = [sys.executable, "-m", "bydawn", "run", rows, "-m", "openai/gpt-4o-mini", "-o", self.folder / out]
        return subprocess.Popen(
            command, env=self.environment(), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def environment(self) -> dict[str, str]:
        """What the command is told."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("BYDAWN", "OPENAI"))},
            "BYDAWN_HOME": str(self.home),
            "BYDAWN_POLL_MIN": "0.05",
            "BYDAWN_POLL_MAX": "0.3",
            "BYDAWN_SETTLE_WAIT": "1",
            "BYDAWN_MAX_BATCH_ROWS": "10",
            "OPENAI_BASE_URL": self.server.base_url,
            "OPENAI_API_KEY": KEY,
        }

    def finish(self, rows: Path, out: str) -> tuple[int, bytes, bytes]:
        """Run the command to its end; return its exit code, stdout and stderr."""
        return ended(self.start(rows, out))


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    """Wait for a process; return its exit code, stdout and stderr. No traceback is ever shown."""
    out, err = process.communicate(timeout=120)
    assert b"Traceback" not in err, err.decode()
    return process.returncode, out, err


@pytest.fixture
def site(folder: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A sandbox server, at the speed that the test asks for, and an empty home."""
    with running(SandboxConfig(home=folder / "provider", speed=getattr(request, "param", SPEED))) as server:
        yield Site(folder, server)


def check_site(site: Site, out: str, scripts: Mapping[int, Script] = SCRIPTS, count: int = COUNT) -> None:
    """Assert every promise about the one job of a site."""
    output = (site.folder / out).read_bytes()
    check_output(output, count, scripts)
    check_answers(site, output)
    check_executions(site, count, scripts)
    check_batches(site)
    check_store(site)


@pytest.mark.parametrize("site", [900.0], indirect=True)
@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 13))])
def test_killed_again_and_again_it_still_ends_right(site: Site, seed: int) -> None:
    draw = Random(seed)
    rows = site.rows("rows", SCRIPTS)
    kills = 0

    for _ in range(8):
        process = site.start(rows, "out.jsonl")
        try:
            process.wait(draw.uniform(0.3, 1.2))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        ended(process)
    code, _, err = site.finish(rows, "out.jsonl")

    assert code == 1, err.decode()
    assert kills >= 3
    check_site(site, "out.jsonl")


@pytest.mark.parametrize(
    ("when", "number"),
    [
        ("starting", signal.SIGINT),
        ("sending", signal.SIGINT),
        ("waiting", signal.SIGINT),
        ("waiting", signal.SIGTERM),
        pytest.param("starting", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("sending", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_it_with_130_and_the_same_command_goes_on(site: Site, when: str, number: int) -> None:
    rows = site.rows("rows", SCRIPTS)
    process = site.start(rows, "out.jsonl")
    _wait_until(site, process, when)

    process.send_signal(number)
    code, _, err = ended(process)

    assert code == 130, err.decode()
    assert site.finish(rows, "out.jsonl")[0] == 1
    check_site(site, "out.jsonl")


def _wait_until(site: Site, process: subprocess.Popen[bytes], when: str) -> None:
    """Wait until the command has come so far."""
    arrived = {
        "starting": lambda: (site.home / "bydawn.db").exists(),
        "sending": lambda: len(provider_batches(site)) >= 2,
        "waiting": lambda: len(provider_batches(site)) >= 6,
    }[when]
    while not arrived():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_two_processes_on_one_job_do_not_harm_each_other(site: Site) -> None:
    rows = site.rows("rows", {7: ONCE_500})

    processes = [site.start(rows, f"out-{number}.jsonl") for number in range(2)]
    codes = [ended(process) for process in processes]

    assert [code for code, _, _ in codes] == [0, 0], codes
    outputs = [(site.folder / f"out-{number}.jsonl").read_bytes() for number in range(2)]
    assert outputs[0] == outputs[1]
    check_site(site, "out-0.jsonl", {7: ONCE_500})


def test_a_process_that_waits_takes_over_from_one_that_is_killed(site: Site) -> None:
    rows = site.rows("rows", SCRIPTS)
    worker = site.start(rows, "out-0.jsonl")
    _wait_until(site, worker, "sending")
    heir = site.start(rows, "out-1.jsonl")
    time.sleep(0.7)

    worker.kill()
    worker.communicate()
    code, _, err = ended(heir)

    assert code == 1, err.decode()
    check_site(site, "out-1.jsonl")


def test_ten_jobs_in_one_home_at_once(site: Site) -> None:
    inputs = [site.rows(f"rows-{number}", {number: ONCE_500}, count=12 + number) for number in range(10)]

    processes = [site.start(path, f"out-{number}.jsonl") for number, path in enumerate(inputs)]
    for number, process in enumerate(processes):
        code, _, err = ended(process)
        assert code == 0, err.decode()
        check_output((site.folder / f"out-{number}.jsonl").read_bytes(), 12 + number, {number: ONCE_500})

    check_batches_of_one_account(site)
    check_store(site)


def check_batches_of_one_account(site: Site) -> None:
    """Every batch is known to the store, though rows of several jobs have the same texts."""
    tags = [batch["metadata"]["bydawn"] for batch in provider_batches(site)]
    assert len(set(tags)) == len(tags)


def test_run_again_after_its_end_it_asks_nobody_and_writes_the_same(site: Site) -> None:
    rows = site.rows("rows", SCRIPTS)
    assert site.finish(rows, "out.jsonl")[0] == 1
    first = comparable((site.folder / "out.jsonl").read_bytes())
    site.server.stop()

    assert site.finish(rows, "again.jsonl")[0] == 1
    assert comparable((site.folder / "again.jsonl").read_bytes()) == first
