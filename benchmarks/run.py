"""Measure bydawn beside the hand-written script, on the same rows and the same stub, in turn.

    python benchmarks/run.py --rows 100000 --pairs 5 [--json FILE]

Every program runs as a whole process, with a fresh stub and fresh folders; its output is checked row by row. Processor
time (user and system) and peak memory are what the kernel accounts to that process. See README.md beside this file for
how to read the figures. Nothing here passes or fails by time: the exit code only tells whether all outputs were right.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from check_output import WrongOutput, check_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
POLL_S = "0.2"
"""Both programs look at their batches this often; the stub is done before the first look."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one program. Times in seconds, memory in MB (2**20 bytes)."""

    program: str
    wall_s: float
    cpu_s: float
    peak_mb: float
    stub_cpu_s: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run takes place: the input, the output to write, and a folder for state."""

    rows: Path
    out: Path
    state: Path


def bydawn_command(place: Place) -> list[str]:
    """Return the command line for bydawn; its settings are in the environment."""
    command = ["-m", "bydawn", "run", str(place.rows), "-m", "openai/gpt-4o-mini", "-o", str(place.out), "--quiet"]
    return [sys.executable, *command]


def handwritten_command(place: Place) -> list[str]:
    """Return the command line for the hand-written script."""
    return [sys.executable, str(HERE / "handwritten.py"), str(place.rows), str(place.out), POLL_S]


PROGRAMS: dict[str, Callable[[Place], list[str]]] = {"bydawn": bydawn_command, "handwritten": handwritten_command}


def measure(program: str, rows: Path, count: int, workspace: Path) -> Measurement:
    """Run one program once, check its output, and return what it took. Raises WrongOutput."""
    folder = Path(tempfile.mkdtemp(dir=workspace))
    place = Place(rows, folder / "out.jsonl", folder / "state")
    with stub(folder) as url:
        wall_s, cpu_s, peak_mb = run_child(PROGRAMS[program](place), environment(url, place), folder / "log")
        stub_cpu_s = usage(url)["cpu_s"]
    check_output(place.out, count)
    shutil.rmtree(folder)
    return Measurement(program, wall_s, cpu_s, peak_mb, stub_cpu_s)


@contextmanager
def stub(folder: Path) -> Iterator[str]:
    """Serve a fresh stub while the body runs; give its base URL."""
    held = folder / "stub"
    held.mkdir()
    command = [sys.executable, str(HERE / "stub.py"), str(held)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def environment(url: str, place: Place) -> dict[str, str]:
    """Return the environment of a measured program: the user's, pointed at the stub and at nothing else."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "BYDAWN_"))}
    return inherited | {
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": "sk-benchmark",
        "BYDAWN_HOME": str(place.state),
        "BYDAWN_POLL_MIN": POLL_S,
        "BYDAWN_POLL_MAX": POLL_S,
    }


def run_child(command: list[str], env: dict[str, str], log: Path) -> tuple[float, float, float]:
    """Run a command to its end; return wall seconds, processor seconds and peak memory in MB, by the kernel's account.

    A child's peak cannot come out below this process's own memory, so this process stays small.
    Raises WrongOutput, with the end of what the program wrote, when it fails.
    """
    with log.open("wb") as output:
        began = time.perf_counter()
        child = subprocess.Popen(command, env=env, stdout=output, stderr=output)
        _, status, used = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise WrongOutput(f"{command} ended with {child.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
    return wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def usage(url: str) -> dict[str, float]:
    """Ask the stub what it used itself."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/usage") as answer:
        return msgspec.json.decode(answer.read(), type=dict[str, float])


def medians(measurements: list[Measurement]) -> dict[str, dict[str, float]]:
    """Return program -> median of each figure."""
    figures = ("wall_s", "cpu_s", "peak_mb", "stub_cpu_s")
    programs = dict.fromkeys(measurement.program for measurement in measurements)
    return {
        program: {
            figure: statistics.median(getattr(run, figure) for run in measurements if run.program == program)
            for figure in figures
        }
        for program in programs
    }


def ratios(middle: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return bydawn's medians as multiples of the hand-written script's; empty when one of them did not run."""
    if len(middle) < len(PROGRAMS):
        return {}
    ours, theirs = middle["bydawn"], middle["handwritten"]
    return {figure: ours[figure] / theirs[figure] for figure in ("wall_s", "cpu_s", "peak_mb")}


def table_line(name: str, wall_s: float, cpu_s: float, peak_mb: float, stub_cpu_s: float) -> str:
    """Format one line of the printed table."""
    return f"{name:<20}{wall_s:>9.2f}{cpu_s:>9.2f}{peak_mb:>9.1f}{stub_cpu_s:>12.2f}"


def run_pairs(rows: Path, options: argparse.Namespace, workspace: Path) -> list[Measurement]:
    """Run the programs in turn, changing who begins, and print each measurement as it is made."""
    measurements = []
    for pair in range(options.pairs):
        for program in options.programs if pair % 2 == 0 else options.programs[::-1]:
            measurement = measure(program, rows, options.rows, workspace)
            measurements.append(measurement)
            print(table_line(*asdict(measurement).values()), flush=True)
    return measurements


def report(measurements: list[Measurement], options: argparse.Namespace) -> dict[str, Any]:
    """Print medians and ratios, and return everything as plain data."""
    middle = medians(measurements)
    for program, figures in middle.items():
        print(table_line(f"median {program}", *figures.values()))
    compared = ratios(middle)
    if compared:
        print(
            f"\nbydawn / handwritten:  CPU {compared['cpu_s']:.2f}x   peak memory {compared['peak_mb']:.2f}x   "
            f"wall {compared['wall_s']:.2f}x   (medians of {options.pairs})"
        )
    runs = [asdict(measurement) for measurement in measurements]
    return {"rows": options.rows, "pairs": options.pairs, "runs": runs, "medians": middle, "ratios": compared}


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="bydawn beside a hand-written script, on a local stub")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--programs", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    parser.add_argument("--dir", type=Path, help="work below this folder; it needs about 5 KB of disk a row")
    return parser.parse_args()


def main() -> int:
    """Run the benchmark; return 1 when a program failed or its output was wrong."""
    options = parse_options()
    with tempfile.TemporaryDirectory(prefix="bydawn-bench-", dir=options.dir) as name:
        rows = Path(name) / "rows.jsonl"
        subprocess.run([sys.executable, str(HERE / "make_rows.py"), str(options.rows), str(rows)], check=True)
        print(f"{options.rows} requests, {rows.stat().st_size / 1e6:.0f} MB of rows\n")
        print(f"{'':<20}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'stub CPU s':>12}")
        try:
            measured = report(run_pairs(rows, options, Path(name)), options)
        except WrongOutput as problem:
            print(problem, file=sys.stderr)
            return 1
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(measured)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
