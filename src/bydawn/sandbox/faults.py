"""What goes wrong, as data: faults of calls, outcomes of rows, quirks of batches.

A plan is a TOML or JSON file of three kinds of tables (see docs/sandbox.md for every word):

    [[call]]                     # a request to the sandbox
    on = "batches.create"        # call kind, with * as wildcard
    action = "drop_after"
    calls = [1]                  # the n-th call of that kind, from 1; or probability = 0.1; neither means every call

    [[row]]                      # one request of a batch
    outcome = "status"
    status = 429
    probability = 0.05           # or rows = [0, 7] (lines of the input file, from 0), or custom_ids = ["a"]

    [[batch]]                    # one batch and its files
    quirk = "expire"
    value = 0.5
    batches = [1]                # the n-th batch created, from 1; or probability

Probabilities are drawn from the sandbox's seed. `times` bounds how often one entry strikes.
"""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from bydawn.sandbox.store import Store

CallAction = Literal[
    "drop_before",  # the connection closes before anything happened
    "drop_after",  # the call takes effect, then the connection closes without an answer
    "hang",  # no answer for `seconds`, then the connection closes; nothing happened
    "hang_after",  # the same, after the effect
    "status",  # an error answer instead of the effect
    "status_after",  # an error answer although the call took effect
    "html",  # a web page with status 200, without the effect
    "slow",  # the answer pauses `seconds` before every chunk of `bytes` bytes
    "cut",  # the connection closes after `bytes` bytes of the body
    "reset",  # the same, with a TCP reset
    "truncate",  # the body ends after `bytes` bytes and its length agrees
]
RowOutcome = Literal[
    "status",  # an HTTP error row with `status`
    "status_0",  # a row with status_code 0 in the output file
    "timeout",  # a row that never ran: error request_timeout
    "missing",  # executed and billed, but in neither file
    "duplicate",  # twice in its file
    "refuse",  # the model refuses
    "content_filter",  # the answer stops at the content filter
    "flagged",  # 400 invalid_prompt
    "truncate",  # the answer stops at the length limit
    "tool_call",  # a tool call although the model was free to answer
    "empty",  # an empty answer
    "odd_text",  # an answer with line separators and other characters that break careless readers
]
BatchQuirk = Literal[
    "expire",  # `value` of the rows finish (0 to 1), then the 24 hours are over
    "stuck",  # in_progress until the 24 hours are over, nothing finished
    "fail",  # validation fails: code, message, lines
    "fail_without_errors",  # failed with errors null
    "all_failed",  # every row is an HTTP error with `status`
    "cancel_empty",  # cancelled with counts set back and no file at all
    "hidden",  # not in lists for `value` virtual seconds after creation
    "hidden_calls",  # not in the first `value` lists after creation
    "ids_empty",  # missing file ids are "" instead of null
    "ids_absent",  # missing file ids are left out
    "legacy",  # no model, no usage in the object
    "status_word",  # `text` instead of the status while the batch is in progress
    "cancelled_word",  # `text` instead of cancelled, such as canceled
    "counts_lie",  # everything completed, nothing failed
    "counts_zero",  # 0/0/0 at the end
    "extra_row",  # the output holds a custom_id nobody sent
    "blank_lines",  # empty lines between rows
    "no_final_newline",
    "crlf",  # lines end in CR LF
    "cut_last_line",  # the last line of the output is cut in half
]


class CallFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way in which calls go wrong."""

    on: str = "*"
    action: CallAction
    calls: tuple[int, ...] | None = None
    probability: float | None = None
    times: int | None = None
    status: int = 500
    code: str | None = None
    """Error code of the body; codes of an exhausted quota and ``slow_down`` get their own types."""
    html: bool = False
    """The error body is a web page."""
    retry_after: str | None = None
    retry_after_ms: str | None = None
    should_retry: bool | None = None
    """Sent as ``x-should-retry`` when given."""
    seconds: float = 3600.0
    """Real seconds of ``hang``; of each pause of ``slow``."""
    bytes: int = 0


class RowFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way in which rows go wrong."""

    outcome: RowOutcome
    rows: tuple[int, ...] | None = None
    custom_ids: tuple[str, ...] | None = None
    probability: float | None = None
    status: int = 500
    code: str | None = None


class BatchFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One quirk of batches."""

    quirk: BatchQuirk
    batches: tuple[int, ...] | None = None
    probability: float | None = None
    value: float = 0.0
    text: str = "queued"
    status: int = 500
    code: str = "invalid_request"
    message: str = "This line is refused."
    lines: tuple[int, ...] = ()
    """1-based lines that ``fail`` names; empty means the whole file."""


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that shall go wrong. The first entry that fits a call or row strikes; quirks add up."""

    call: tuple[CallFault, ...] = ()
    row: tuple[RowFault, ...] = ()
    batch: tuple[BatchFault, ...] = ()


NO_FAULTS = FaultPlan()


def load_fault_plan(path: Path) -> FaultPlan:
    """Read a plan from a ``.toml`` or ``.json`` file. Raises ValueError with the reason, OSError."""
    content = path.read_bytes()
    try:
        if path.suffix == ".json":
            return msgspec.json.decode(content, type=FaultPlan)
        return msgspec.convert(tomllib.loads(content.decode()), FaultPlan)
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no fault plan: {error}") from error


class Faults:
    """The plan in force, and how often each entry has struck (remembered over restarts)."""

    def __init__(self, plan: FaultPlan, store: Store, draw: Callable[..., random.Random]) -> None:
        self.plan = plan
        self._store = store
        self._draw = draw

    def replace(self, plan: FaultPlan) -> None:
        """Put another plan in force; the counting of calls and strikes begins anew."""
        with self._store.transaction():
            self._store.forget_counts("fault ")
        self.plan = plan

    def for_call(self, kind: str) -> CallFault | None:
        """The fault that strikes this call, if any. Every entry that names the kind counts the call."""
        fitting = [
            (index, fault, self._store.count(f"fault call {index}"))
            for index, fault in enumerate(self.plan.call)
            if fnmatchcase(kind, fault.on)
        ]
        return next((fault for index, fault, n in fitting if self._call_strikes(index, fault, n)), None)

    def _call_strikes(self, index: int, fault: CallFault, n: int) -> bool:
        if fault.calls is not None and n not in fault.calls:
            return False
        if not self._drawn(fault.probability, "call", index, n):
            return False
        return fault.times is None or self._store.count(f"fault strike {index}") <= fault.times

    def for_row(self, batch_id: str, row: int, custom_id: str) -> RowFault | None:
        """The fault that strikes this row, if any. Asking twice gives the same answer."""
        for index, fault in enumerate(self.plan.row):
            if fault.rows is not None and row not in fault.rows:
                continue
            if fault.custom_ids is not None and custom_id not in fault.custom_ids:
                continue
            if self._drawn(fault.probability, "row", index, batch_id, row):
                return fault
        return None

    def for_batch(self, n: int) -> list[BatchFault]:
        """The quirks of the n-th batch created (from 1)."""
        return [
            fault
            for index, fault in enumerate(self.plan.batch)
            if (fault.batches is None or n in fault.batches) and self._drawn(fault.probability, "batch", index, n)
        ]

    def _drawn(self, probability: float | None, *names: str | int) -> bool:
        return probability is None or self._draw("fault", *names).random() < probability
