"""What a running job tells whoever watches: typed, so that displays, ``--json`` and metrics read the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from bydawn.core.job import JobStatus


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the user. ``error`` notices need an action, ``warning`` ones a look."""

    level: Literal["info", "warning", "error"]
    text: str


@dataclass(frozen=True, slots=True)
class Planning:
    """Requests read and encoded so far, before anything is sent."""

    rows: int


@dataclass(frozen=True, slots=True)
class BatchMoved:
    """A batch changed its state, or the provider changed its word for it."""

    number: int
    state: str
    rows: int
    provider_batch_id: str | None = None
    provider_status: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The whole job, after something changed."""

    status: JobStatus


Event: TypeAlias = "Notice | Planning | BatchMoved | Progress"
Listener: TypeAlias = "Callable[[Event], None]"


def ignore(event: Event) -> None:
    """Listen to nothing."""
