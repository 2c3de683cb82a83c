"""The objects the service keeps: files and batches, as stored and as shown."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

FILE = "openai.file"
BATCH = "openai.batch"

DAY_S = 86_400
FILE_LIFE_S = 30 * DAY_S
"""How long batch inputs and results live unless something else was asked."""

Status = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]  # fmt: skip
TERMINAL = frozenset({"failed", "completed", "expired", "cancelled"})


class StoredFile(msgspec.Struct, kw_only=True):
    """A file object. Its content lies in the world's files folder under `id`."""

    id: str
    account: str
    purpose: str
    filename: str
    bytes: int
    created_at: int
    expires_at: int | None

    def shown(self) -> dict[str, Any]:
        """The object as the API answers it."""
        return {
            "object": "file",
            "id": self.id,
            "purpose": self.purpose,
            "filename": self.filename,
            "bytes": self.bytes,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "status": "processed",
            "status_details": None,
        }


class Quirks(msgspec.Struct, kw_only=True):
    """What the fault plan decided for one batch when it was created."""

    expire_at_share: float | None = None
    """This share of the rows finishes, then the window closes."""
    failure: tuple[str, str, tuple[int, ...]] | None = None
    """Validation fails with (code, message, 1-based lines)."""
    fail_silently: bool = False
    all_rows_status: int | None = None
    cancel_empty: bool = False
    hidden_s: float = 0.0
    hidden_calls: int = 0
    missing_ids: Literal["null", "empty", "absent"] = "null"
    legacy: bool = False
    progress_word: str | None = None
    cancelled_word: str | None = None
    counts: Literal["true", "lie", "zero"] = "true"
    extra_row: bool = False
    blank_lines: bool = False
    final_newline: bool = True
    crlf: bool = False
    cut_last_line: bool = False


class Usage(msgspec.Struct, kw_only=True):
    """Tokens of the successful rows."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def shown(self) -> dict[str, Any]:
        """The usage object of a batch."""
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.cached_tokens},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": self.input_tokens + self.output_tokens,
        }


class Schedule(msgspec.Struct, kw_only=True):
    """Virtual seconds each stage takes, drawn at creation."""

    validating_s: float
    in_progress_s: float
    finalizing_s: float
    cancelling_s: float


class StoredBatch(msgspec.Struct, kw_only=True):
    """A batch, with what is needed to carry it on after a restart."""

    id: str
    account: str
    endpoint: str
    input_file_id: str
    metadata: dict[str, str] | None
    result_life_s: int
    created_at: int
    expires_at: int
    schedule: Schedule
    quirks: Quirks
    status: Status = "validating"
    ending: Literal["completed", "expired"] = "completed"
    """What finalizing leads to."""
    sent_model: str = ""
    """The model its lines name: what the enqueued-token limit is counted by."""
    model: str | None = None
    enqueued_tokens: int = 0
    total: int = 0
    finished: int = 0
    """Rows that are done, a prefix of the order of execution. Final once finalizing or cancelling begins."""
    completed: int = 0
    failed: int = 0
    usage: Usage = msgspec.field(default_factory=Usage)
    errors: list[dict[str, Any]] | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None

    @property
    def is_terminal(self) -> bool:
        """Nothing more will happen to it."""
        return self.status in TERMINAL

    def shown(self) -> dict[str, Any]:
        """The object as the API answers it, quirks included."""
        body: dict[str, Any] = {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": None if self.errors is None else {"object": "list", "data": self.errors},
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self._shown_status(),
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "in_progress_at": _whole(self.in_progress_at),
            "expires_at": self.expires_at,
            "finalizing_at": _whole(self.finalizing_at),
            "completed_at": _whole(self.completed_at),
            "failed_at": _whole(self.failed_at),
            "expired_at": _whole(self.expired_at),
            "cancelling_at": _whole(self.cancelling_at),
            "cancelled_at": _whole(self.cancelled_at),
            "request_counts": self._shown_counts(),
            "usage": self.usage.shown(),
            "metadata": self.metadata,
        }
        self._strip(body)
        return body

    def _shown_status(self) -> str:
        if self.status == "in_progress" and self.quirks.progress_word:
            return self.quirks.progress_word
        if self.status == "cancelled" and self.quirks.cancelled_word:
            return self.quirks.cancelled_word
        return self.status

    def _shown_counts(self) -> dict[str, int]:
        match self.quirks.counts:
            case "lie" if self.is_terminal:
                return {"total": self.total, "completed": self.total, "failed": 0}
            case "zero" if self.is_terminal:
                return {"total": 0, "completed": 0, "failed": 0}
            case _:
                return {"total": self.total, "completed": self.completed, "failed": self.failed}

    def _strip(self, body: dict[str, Any]) -> None:
        if self.quirks.legacy:
            del body["model"], body["usage"]
        for name in ("output_file_id", "error_file_id"):
            if body[name] is None and self.quirks.missing_ids == "empty":
                body[name] = ""
            elif body[name] is None and self.quirks.missing_ids == "absent":
                del body[name]


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
