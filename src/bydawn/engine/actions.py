"""The actions that move a batch, by the names that `schedule` gives them.

Each starts from the stored batch, asks or tells its provider one thing, and ends with one commit; between two commits
nothing is known that the next start would not find out again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bydawn.engine.collecting import Collecting
from bydawn.engine.outcomes import Outcomes
from bydawn.engine.refusing import Refusing
from bydawn.engine.requeueing import Requeueing
from bydawn.engine.sending import Sending
from bydawn.engine.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Callable

    from bydawn.engine.desk import Desk


class Actions:
    """The actions of one job. ``cancelled`` tells whether the user has cancelled it."""

    def __init__(self, desk: Desk, cancelled: Callable[[], bool]) -> None:
        outcomes = Outcomes(desk, cancelled)
        requeueing = Requeueing(desk)
        self.refuse = Refusing(desk, outcomes).refuse
        sending = Sending(desk, self.refuse)
        self.send = sending.send
        self.settle = sending.settle
        self.cancel = sending.cancel
        self.poll = Watching(desk, self.refuse).poll
        self.collect = Collecting(desk, outcomes).collect
        self.replan = requeueing.replan
        self.withdraw = requeueing.withdraw
        self.give_up = requeueing.give_up
