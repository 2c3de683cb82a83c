"""Changes request bodies so that one model accepts them on one endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bydawn.adapt.steps import Step
    from bydawn.core.adjustment import Adjustment
    from bydawn.core.request import Fields


class Adapter:
    """Applies one model's rules to body after body.

    It runs once per row: a body with no key that a rule looks at costs one look and comes back as it is. The same
    change is the same `Adjustment` object for every row.
    """

    __slots__ = ("_steps", "_watched")

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = tuple((step.watched, step.apply) for step in steps)
        self._watched = frozenset(key for key, _ in self._steps)

    def watches(self, field: str) -> bool:
        """Whether any rule looks at this field."""
        return field in self._watched

    def adapt(self, body: Fields) -> tuple[Fields, Sequence[Adjustment]]:
        """The body to send and what was changed. The body given is never altered; unchanged, it is returned itself."""
        if self._watched.isdisjoint(body):
            return body, ()
        changed = dict(body)
        made = [done for key, apply in self._steps if key in changed and (done := apply(changed)) is not None]
        return (changed, made) if made else (body, ())
