"""``--json``: every event as one line, as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bydawn.cli import records
from bydawn.core.events import Notice

if TYPE_CHECKING:
    from typing import Self

    from bydawn.cli.invocation import Invocation
    from bydawn.core.adjustment import Adjustment
    from bydawn.core.events import Event


class EventDisplay:
    """Prints events as JSON lines; when ``quiet`` only errors."""

    def __init__(self, invocation: Invocation, *, quiet: bool) -> None:
        self._invocation = invocation
        self._quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return

    def __call__(self, event: Event) -> None:
        if not self._quiet or (isinstance(event, Notice) and event.level == "error"):
            self._invocation.emit(records.event(event))

    def adjusted(self, changes: tuple[tuple[Adjustment, int], ...]) -> None:
        """Print one ``adjustment`` event per change."""
        if not self._quiet:
            for change in records.adjustments(changes):
                self._invocation.emit({"event": "adjustment"} | change)
