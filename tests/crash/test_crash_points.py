"""A process may die at any moment: before and after every request, commit and file operation.

One run is watched, and what lies on disk before each of its steps is kept (`support.crashes`). From each of these
states the job is taken up again, and must end as if nothing had happened: the same output, every row executed exactly
as often as its script asks, no batch forgotten.
"""

from __future__ import annotations

import errno
import gc
from typing import TYPE_CHECKING

import pytest

from bydawn.core.settings import EngineSettings
from bydawn.errors import StoreError
from support.checks import (
    BAD,
    LOST_ONCE,
    ONCE_500,
    REFUSED,
    TIMED_OUT_ONCE,
    TWICE_429,
    check_end,
    comparable,
    make_rows,
)
from support.crashes import Crashes, describe
from support.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from support.checks import Records
    from support.steps import Steps

COUNT = 11
SCRIPTS = {1: ONCE_500, 3: BAD, 4: TWICE_429, 7: REFUSED, 8: TIMED_OUT_ONCE, 10: LOST_ONCE}
ROWS = make_rows(COUNT, SCRIPTS)
ENGINE = EngineSettings(poll_min_s=400.0, poll_max_s=1_800.0, max_batch_rows=6, settle_wait_s=60.0)
PARTS = 2
DAY_S = 86_400.0


def watched(folder: Path, *, torn: bool = False) -> tuple[Crashes, Records]:
    """Run the job undisturbed; return every state on its way and its results."""
    (folder / "lab").mkdir()
    lab = Lab(folder / "lab", engine=ENGINE)
    crashes = Crashes(folder / "crashes", torn=torn)
    run = crashes.watch(lab, ROWS)
    check_end(lab, run, COUNT, SCRIPTS)
    return crashes, comparable(run.output)


def go_on(labs: Iterable[tuple[str, Lab]], wanted: Records) -> int:
    """Take up the job from each state; assert that all end well, and return how many they were."""
    failures = []
    points = 0
    for name, lab in labs:
        points += 1
        try:
            run = lab.run(ROWS)
            check_end(lab, run, COUNT, SCRIPTS)
            assert comparable(run.output) == wanted, "the output differs from the undisturbed run's"
        except AssertionError as error:
            failures.append((name, error))
    assert not failures, f"{len(failures)} of {points} crash points:\n{describe(failures)}"
    return points


@pytest.mark.parametrize("part", range(PARTS))
def test_every_crash_point_ends_as_if_nothing_had_happened(folder: Path, part: int) -> None:
    crashes, wanted = watched(folder)

    points = go_on(crashes.sample(part, PARTS), wanted)

    assert crashes.steps > 200, "the harness no longer sees the steps"
    assert points > 30


def test_a_power_cut_tears_files_that_were_not_synced(folder: Path) -> None:
    crashes, wanted = watched(folder, torn=True)

    torn = [(name, lab) for name, lab in crashes.labs if lab.torn]

    assert len(torn) > 20
    go_on(torn[::5], wanted)


def test_a_job_taken_up_days_later_has_lost_nothing(folder: Path) -> None:
    crashes, wanted = watched(folder)

    states = list(crashes.sample(3, 9))
    for _, lab in states:
        lab.now_s += 3 * DAY_S

    go_on(states, wanted)


def test_a_second_crash_while_recovering_from_the_first(folder: Path) -> None:
    crashes, wanted = watched(folder)

    for number, (name, lab) in enumerate(crashes.sample(5, 47)):
        again = Crashes(folder / f"again-{number}")
        check_end(lab, again.watch(lab, ROWS), COUNT, SCRIPTS)
        go_on(((f"{name}; {second}", state) for second, state in again.sample(number % 7, 7)), wanted)


@pytest.mark.slow
def test_every_pair_of_a_third_of_the_crashes(folder: Path) -> None:
    crashes, wanted = watched(folder)

    for number, (name, lab) in enumerate(crashes.sample(0, 3)):
        again = Crashes(folder / f"again-{number}")
        again.watch(lab, ROWS)
        go_on(((f"{name}; {second}", state) for second, state in again.sample(number % 3, 3)), wanted)


def _steps_of(folder: Path) -> list[str]:
    names: list[str] = []
    lab = Lab(_made(folder / "counting"), engine=ENGINE, on_step=lambda name, _: names.append(name))
    lab.run(ROWS)
    return names


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("start", [2, pytest.param(0, marks=pytest.mark.slow)])
def test_an_interrupt_at_any_step_leaves_a_job_that_goes_on(folder: Path, start: int) -> None:
    names = _steps_of(folder)
    failures = []

    for number in range(start, len(names), 13 if start else 1):
        lab = Lab(_made(folder / f"{number}"), engine=ENGINE)
        lab.on_step = _Once(number, lab.interrupt)
        lab.run(ROWS)
        lab.on_step = None
        try:
            check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)
        except AssertionError as error:
            failures.append((f"step {number}, {names[number]}", error))

    assert not failures, describe(failures)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("start", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_full_disk_at_any_file_operation_is_reported_and_got_over(folder: Path, start: int) -> None:
    names = _steps_of(folder)
    on_files = [number for number, name in enumerate(names) if name.startswith(("open", "fsync", "os.rename"))]
    failures: list[tuple[str, BaseException]] = []

    for number in on_files[start :: 5 if start else 1]:
        lab = Lab(_made(folder / f"{number}"), engine=ENGINE)
        lab.on_step = _Once(number, _disk_full)
        first = lab.run(ROWS)
        lab.on_step = None
        where = f"step {number}, {names[number]}"
        if not isinstance(first.error, (StoreError, OSError, type(None))):
            failures.append((where, first.error))
            continue
        try:
            check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)
        except AssertionError as error:
            failures.append((where, error))

    gc.collect()  # files that the failures left open are reported here, where it is expected
    assert not failures, describe(failures)


def _disk_full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class _Once:
    """Does something at one step of a run."""

    def __init__(self, number: int, act: object) -> None:
        self._left = number
        self._act = act

    def __call__(self, name: str, steps: Steps) -> None:
        self._left -= 1
        if self._left == -1:
            self._act()  # type: ignore[operator]
