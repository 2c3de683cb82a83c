"""The picture of a running job on a terminal. It is drawn anew twice a second; what must stay is printed above it.

Nothing here asks the job: the last `Progress` is what is shown, however often it is drawn.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from bydawn.cli.display import words
from bydawn.cli.texts import adjustment, count, duration, money, time_left, tokens
from bydawn.core.events import BatchMoved, Notice, Planning, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from rich.console import ConsoleOptions, RenderResult

    from bydawn.core.adjustment import Adjustment
    from bydawn.core.events import Event
    from bydawn.core.job import JobStatus

DRAWN_PER_S = 2
_NOTICE_STYLES = {"info": "", "warning": "yellow", "error": "bold red"}


class LiveDisplay:
    """Shows rows, batches, tokens, money and time of one job on the terminal's error stream."""

    def __init__(
        self, title: str, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title = title
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._began = clock()
        self._rows_read = 0
        self._status: JobStatus | None = None
        self._live = Live(
            get_renderable=self.picture, console=self._console, refresh_per_second=DRAWN_PER_S, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case Planning():
                self._rows_read = event.rows
            case Progress():
                self._status = event.status
            case Notice():
                self._keep(words.notice(event), _NOTICE_STYLES[event.level])
            case BatchMoved():
                self._keep(words.batch_moved(event), "dim")

    def adjusted(self, changes: tuple[tuple[Adjustment, int], ...]) -> None:
        """Print the changes above the picture, where they stay."""
        for change, rows in changes:
            self._keep(adjustment(change, rows), "yellow")

    def _keep(self, line: str, style: str) -> None:
        self._console.print(Text(line, style=style), soft_wrap=True)

    def picture(self) -> Table:
        """Return what is drawn now."""
        elapsed = duration(self._clock() - self._began)
        picture = Table.grid(padding=(0, 2))
        picture.add_column(style="bold")
        picture.add_column()
        picture.add_row("job", Text(self._title))
        if self._status is None:
            picture.add_row("reading", f"{count(self._rows_read, 'row')}, {elapsed}")
            return picture
        _add_job(picture, self._status, elapsed)
        return picture


def _add_job(picture: Table, status: JobStatus, elapsed: str) -> None:
    picture.add_row("rows", StateBar(shares(status)))
    picture.add_row("", words.rows_done(status))
    picture.add_row("batches", words.batches(status))
    picture.add_row(
        "tokens", tokens(status.input_tokens, status.output_tokens, status.cached_tokens, status.reasoning_tokens)
    )
    saved = status.money.live_usd - status.money.cost_usd
    picture.add_row("cost", f"{money(status.money.cost_usd)} so far, {money(saved)} saved")
    picture.add_row("time", f"{elapsed}; left: {time_left(status.eta_s) if status.pending else 'nothing'}")


def shares(status: JobStatus) -> list[tuple[int, str]]:
    """Return the requests by state, each with its colour, in the order in which they are drawn."""
    at_provider = min(status.finished_at_provider, status.pending)
    return [
        (status.succeeded, "green"),
        (status.failed, "red"),
        (status.expired + status.cancelled, "yellow"),
        (at_provider, "cyan"),
        (status.pending - at_provider, "bright_black"),
    ]


class StateBar:
    """A bar as wide as there is room, cut into coloured parts: ``shares`` are (amount, colour)."""

    WIDTH_MAX = 60

    def __init__(self, shares: Sequence[tuple[int, str]]) -> None:
        self._shares = shares

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        full, empty = ("━", "─") if options.encoding.startswith("utf") else ("#", "-")
        width = min(options.max_width, self.WIDTH_MAX)
        for (_, colour), cells in zip(self._shares, split([n for n, _ in self._shares], width), strict=True):
            mark = empty if colour == "bright_black" else full
            yield Segment(mark * cells, Style.parse(colour))


def split(amounts: Sequence[int], width: int) -> list[int]:
    """Divide ``width`` cells in proportion to ``amounts``; what is there at all gets a cell while there are enough."""
    total = sum(amounts)
    if total == 0:
        return [0] * len(amounts)
    cells = [max(1, width * amount // total) if amount else 0 for amount in amounts]
    while sum(cells) > width:
        cells[cells.index(max(cells))] -= 1
    cells[cells.index(max(cells))] += width - sum(cells)
    return cells
