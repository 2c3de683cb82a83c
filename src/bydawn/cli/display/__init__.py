"""What is shown while a job is worked on: a live picture, plain lines, JSON events, or only what needs an action."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import Self

    from bydawn.cli.invocation import Invocation
    from bydawn.core.adjustment import Adjustment
    from bydawn.core.events import Event


class Display(Protocol):
    """Listens to a job. Use it as a context manager around the work, and call it with every event."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def __call__(self, event: Event) -> None: ...

    def adjusted(self, changes: tuple[tuple[Adjustment, int], ...]) -> None:
        """Show the adjustments of a job, before anything of it is sent."""
        ...


def choose_display(invocation: Invocation, *, quiet: bool, title: str) -> Display:
    """Pick the display for this call; ``title`` names the work."""
    if invocation.json:
        from bydawn.cli.display.events import EventDisplay

        return EventDisplay(invocation, quiet=quiet)
    if quiet:
        from bydawn.cli.display.plain import QuietDisplay

        return QuietDisplay(sys.stderr)
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from bydawn.cli.display.live import LiveDisplay

        return LiveDisplay(title)
    from bydawn.cli.display.plain import PlainDisplay

    return PlainDisplay(sys.stderr)
