"""What a sandbox remembers when it is stopped, or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import httpx2
import pytest

from bydawn.sandbox import CallFault, FaultPlan

CHILD = """
import sys, threading
from pathlib import Path
from bydawn.sandbox import SandboxConfig, running
with running(SandboxConfig(home=Path(sys.argv[1]), seed=3, instant=True)) as sandbox:
    print(sandbox.root_url, flush=True)
    threading.Event().wait()
"""
HEADERS = {"Authorization": "Bearer sk-one"}


def test_files_batches_and_the_ledger_survive(make_box, row):
    first = make_box()
    batch = first.run(row("a") + row("b"))
    ledger = first.get("/_sandbox/ledger")
    first.close()
    second = make_box()
    assert second.get(f"/v1/batches/{batch['id']}") == batch
    assert len(second.lines(batch["output_file_id"])) == 2
    assert second.get("/_sandbox/ledger") == ledger


def test_a_batch_goes_on_after_a_restart_with_the_same_answers(make_box, row):
    content = b"".join(row(f"id-{n}", f"q {n}") for n in range(20))
    whole = make_box("whole")
    expected = whole.request("GET", f"/v1/files/{whole.run(content)['output_file_id']}/content").content
    first = make_box("parts")
    batch_id = first.batch(content)
    first.advance(40)
    assert first.get(f"/v1/batches/{batch_id}")["status"] == "in_progress"
    first.close()
    second = make_box("parts")
    assert second.get(f"/v1/batches/{batch_id}")["status"] == "in_progress"
    second.advance(3 * 3_600)
    output = second.get(f"/v1/batches/{batch_id}")["output_file_id"]
    assert second.request("GET", f"/v1/files/{output}/content").content == expected


def test_time_goes_on_where_it_stopped(make_box):
    first = make_box()
    first.advance(5_000)
    now = first.world.clock.now()
    first.close()
    assert make_box().world.clock.now() == now


def test_ids_never_repeat(make_box, row):
    first = make_box()
    one = first.upload(row()).json()["id"]
    first.close()
    assert make_box().upload(row()).json()["id"] != one


def test_faults_go_on_counting(make_box):
    plan = FaultPlan(call=(CallFault(on="batches.list", action="status", calls=(2,)),))
    first = make_box(faults=plan)
    assert first.request("GET", "/v1/batches").status_code == 200
    first.close()
    assert make_box(faults=plan).request("GET", "/v1/batches").status_code == 500


def start(home: Any) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize("pause_s", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_a_killed_sandbox_finishes_the_batch_once(tmp_path, row, pause_s):
    """Killed at some moment after the creation: the batch ends with every row once, billed once."""
    count = 600
    content = b"".join(row(f"id-{n}", f"q {n}") for n in range(count))
    process, url = start(tmp_path / "home")
    try:
        form = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", content)}}
        file_id = httpx2.post(f"{url}/v1/files", headers=HEADERS, **form).json()["id"]
        body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch_id = httpx2.post(f"{url}/v1/batches", headers=HEADERS, json=body).json()["id"]
        time.sleep(pause_s)
    finally:
        kill(process)
    process, url = start(tmp_path / "home")
    try:
        with httpx2.Client(base_url=url, headers=HEADERS) as client:
            while (batch := client.get(f"/v1/batches/{batch_id}").json())["status"] != "completed":
                time.sleep(0.01)
            lines = client.get(f"/v1/files/{batch['output_file_id']}/content").content.split(b"\n")
            ledger = client.get("/_sandbox/ledger").json()
    finally:
        kill(process)
    assert len(set(lines)) == count + 1
    assert ledger["distinct_bodies_by_times_billed"] == {"1": count}
