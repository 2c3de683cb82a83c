"""What is shown while a job runs."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bydawn.cli.display import choose_display, words
from bydawn.cli.display.live import LiveDisplay, shares, split
from bydawn.cli.display.plain import PROGRESS_EVERY_S, PlainDisplay
from bydawn.cli.invocation import Invocation
from bydawn.core.adjustment import Adjustment
from bydawn.core.events import BatchMoved, Notice, Planning, Progress
from bydawn.core.job import BatchStatus
from bydawn.core.states import BATCH_STATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from bydawn.core.job import JobStatus

MakeStatus = "Callable[..., JobStatus]"


class HandClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def batch(number: int, state: str) -> BatchStatus:
    """A batch in a state; the rest does not matter here."""
    return BatchStatus(
        number=number,
        lane="openai/m (chat)",
        state=state,
        end_reason=None,
        rows=10,
        provider_batch_id=None,
        provider_status=None,
        counts=None,
        submitted_at_s=None,
        ended_at_s=None,
        note=None,
    )


@pytest.fixture
def running(make_status: Callable[..., JobStatus]) -> JobStatus:
    """A job half way through."""
    return make_status(
        state="running", requests=100, succeeded=40, failed=2, pending=58, finished_at_provider=10, eta_s=2_400.0,
        batches=(batch(1, "collected"), batch(2, "in_progress"), batch(3, "in_progress")),
    )  # fmt: skip


def test_every_batch_state_has_its_words() -> None:
    assert set(words.STATE_WORDS) == set(BATCH_STATES)


def test_progress_line_has_it_all(running: JobStatus) -> None:
    assert words.progress_line(running) == (
        "42 of 100 done (and 10 at the provider): 40 succeeded, 2 failed; batches: 1 collected, 2 in progress; "
        "$0.0123 so far; time left: about 40 min, from what was seen"
    )


def test_unknown_time_is_said_to_be_unknown(running: JobStatus) -> None:
    assert "not known yet" in words.progress_line(replace(running, eta_s=None))


def test_plain_lines_come_on_change_and_not_too_often(running: JobStatus) -> None:
    """Progress is reported when it is due and has changed; what happened to batches always."""
    stream, clock = io.StringIO(), HandClock()
    display = PlainDisplay(stream, clock)
    display(Progress(running))
    display(Progress(replace(running, succeeded=50, pending=48)))
    clock.now_s += PROGRESS_EVERY_S
    display(Progress(running))
    display(Progress(replace(running, succeeded=60, pending=38)))
    display(BatchMoved(2, "in_doubt", 10, "batch_x", "weird", "looking"))
    display(Notice("warning", "careful"))
    lines = stream.getvalue().split("\n")
    assert [line[10:25] for line in lines[:2]] == ["42 of 100 done ", "62 of 100 done "]
    assert lines[2].endswith(
        "batch 2 (10 rows, batch_x): in doubt: looking whether it arrived (the provider says weird): looking"
    )
    assert lines[3].endswith("  warning: careful")
    assert lines[0][2] == lines[0][5] == ":"


def live(width: int = 100) -> tuple[LiveDisplay, Console]:
    """A live display on a terminal that only remembers."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False)
    return LiveDisplay("tickets.jsonl", console=console, clock=HandClock()), console


def drawn(display: LiveDisplay, console: Console) -> str:
    """Return the picture as text."""
    with console.capture() as capture:
        console.print(display.picture())
    return capture.get()


def test_live_picture_shows_reading_first() -> None:
    display, console = live()
    display(Planning(20_000))
    assert "20,000 rows" in drawn(display, console)


def test_live_picture_shows_rows_batches_tokens_money_and_time(running: JobStatus) -> None:
    display, console = live()
    display(Progress(running))
    picture = drawn(display, console)
    for text in (
        "tickets.jsonl",
        "42 of 100 done (and 10 at the provider): 40 succeeded, 2 failed",
        "1 collected, 2 in progress",
        "1,200 in (100 cached), 300 out",
        "$0.0123 so far, $0.0123 saved",
        "about 40 min, from what was seen",
    ):
        assert text in picture
    assert picture.count("━") + picture.count("─") == 60


def test_live_picture_fits_a_narrow_terminal(running: JobStatus) -> None:
    display, console = live(width=40)
    display(Progress(running))
    assert all(len(line) <= 40 for line in drawn(display, console).split("\n"))


def test_live_display_keeps_notices_and_leaves_the_terminal_as_it_was() -> None:
    display, console = live()
    with display:
        display(Notice("error", "needs you"))
        display.adjusted(((Adjustment("dropped", "top_p", "the model refuses it", "r"), 3),))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "error: needs you" in text
    assert "top_p dropped for 3 rows: the model refuses it" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_rows_at_the_provider_are_part_of_the_pending_ones(running: JobStatus) -> None:
    """The provider's counters may lie; the bar still adds up to the requests."""
    for claimed in (0, 10, 1_000):
        amounts = [amount for amount, _ in shares(replace(running, finished_at_provider=claimed))]
        assert sum(amounts) == running.requests
        assert min(amounts) >= 0


@given(st.lists(st.integers(0, 10**9), min_size=5, max_size=5), st.integers(5, 200))
def test_a_bar_is_filled_exactly(amounts: list[int], width: int) -> None:
    """Whatever the proportions: the cells add up, none is negative, and nothing that exists is invisible."""
    cells = split(amounts, width)
    assert sum(cells) == (width if sum(amounts) else 0)
    assert all((cell > 0) == (amount > 0) for cell, amount in zip(cells, amounts, strict=True))


@pytest.mark.parametrize(
    ("arguments", "quiet", "terminal", "term", "expected"),
    [
        ((), False, True, "xterm", "LiveDisplay"),
        ((), False, True, "dumb", "PlainDisplay"),
        ((), False, False, "xterm", "PlainDisplay"),
        ((), True, True, "xterm", "QuietDisplay"),
        (("--json",), False, True, "xterm", "EventDisplay"),
    ],
)
def test_the_display_fits_the_place(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], quiet: bool, terminal: bool, term: str, expected: str
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", term)
    display: Any = choose_display(Invocation(arguments), quiet=quiet, title="t")
    assert type(display).__name__ == expected
