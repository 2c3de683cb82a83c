"""Ctrl-C: real signals to real processes, because that is what they are for."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bydawn.cli.interrupts import Interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
import asyncio, sys, time
from bydawn.cli.interrupts import Interrupts

interrupts = Interrupts()

async def waiting():
    print("ready", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("put away", flush=True)

async def stubborn():
    print("ready", flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("not yet", flush=True)

async def blocking():
    with interrupts.blocking():
        print("ready", flush=True)
        while True:
            time.sleep(0.01)

try:
    interrupts.run({work})
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes to be ended after the test, whatever happens."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(processes: list[subprocess.Popen[str]], work: str) -> subprocess.Popen[str]:
    """Start the program and return once its work has begun."""
    command = [sys.executable, "-c", PROGRAM.replace("{work}", work)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_the_work_put_things_away(
    processes: list[subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = start(processes, "waiting")
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "put away\ninterrupted\n")
    assert "Ctrl-C again stops at once" in err


def test_the_second_signal_ends_the_process(processes: list[subprocess.Popen[str]]) -> None:
    process = start(processes, "stubborn")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "not yet\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == 130


def test_blocking_code_is_left_at_once(processes: list[subprocess.Popen[str]]) -> None:
    process = start(processes, "blocking")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "interrupted\n"
    assert process.returncode == 130


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def work() -> str:
        assert signal.getsignal(signal.SIGINT) is not before[0]
        return "done"

    assert Interrupts().run(work) == "done"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
