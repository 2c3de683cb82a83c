"""The public API and the composition root: here, and only here, the parts are put together.

`Client` is asynchronous; `run` is the one synchronous door for scripts and notebooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bydawn.core.events import Listener, ignore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from bydawn.config import Settings
    from bydawn.core.job import CleanReport, FailureGroup, JobOptions, JobStatus, PlanReport
    from bydawn.core.result import Result


class Job:
    """A handle on one stored job. Nothing is held in memory but its id."""

    job_id: str

    def status(self) -> JobStatus:
        """Read the job's state from the store; asks no provider."""
        raise NotImplementedError

    async def wait(self, on_event: Listener = ignore) -> JobStatus:
        """Work on the job until nothing is left to do, then return its status.

        Where another process works on it, report that and follow it. Raises ProviderError (paused: key refused, quota
        gone), StoreError.
        """
        raise NotImplementedError

    async def start(self, on_event: Listener = ignore) -> JobStatus:
        """Work on the job until every batch is at its provider, without waiting for answers."""
        raise NotImplementedError

    def results(self, *, partial: bool = False, raw: bool = False) -> Iterator[Result]:
        """Yield one result per request in row order. With ``partial`` only the finished ones of a running job."""
        raise NotImplementedError

    def write(
        self, target: Path | BinaryIO, *, file_format: str | None = None, partial: bool = False, raw: bool = False
    ) -> int:
        """Write the results (jsonl, csv, parquet; by extension when not given), atomically; return how many."""
        raise NotImplementedError

    def failures(self) -> list[FailureGroup]:
        """Group what did not succeed by cause, most frequent first."""
        raise NotImplementedError

    async def retry(self) -> int:
        """Put failed, expired and cancelled requests back to planning; return how many."""
        raise NotImplementedError

    async def cancel(self, on_event: Listener = ignore) -> JobStatus:
        """Withdraw what was not sent, cancel what runs, collect what had finished."""
        raise NotImplementedError

    async def clean(self, *, remote: bool = True, local: bool = True) -> CleanReport:
        """Delete the job's remote files and local bodies; results and the record stay readable while local=False."""
        raise NotImplementedError


class Client:
    """Jobs of one home folder."""

    def __init__(self, settings: Settings | None = None) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Client:
        raise NotImplementedError

    async def __aexit__(self, *exc: object) -> None:
        raise NotImplementedError

    def open_job(
        self,
        source: str | Path | Iterable[Mapping[str, Any] | str],
        options: JobOptions,
        *,
        strict: bool = False,
        new: bool = False,
        name: str | None = None,
        on_event: Listener = ignore,
    ) -> tuple[Job, bool]:
        """Find the job of this input and these options, or plan a new one; True when it is new.

        Reads and validates the whole input; nothing is sent. Raises InvalidInput, StrictRefusal, ConfigError.
        """
        raise NotImplementedError

    def check(
        self,
        source: str | Path | Iterable[Mapping[str, Any] | str],
        options: JobOptions,
        *,
        on_event: Listener = ignore,
    ) -> PlanReport:
        """Plan without keeping anything: adjustments, batches, cost."""
        raise NotImplementedError

    def job(self, job_id: str) -> Job:
        """Open a stored job by its id, a unique prefix of it, or ``last``. Raises JobNotFound."""
        raise NotImplementedError

    def jobs(self) -> list[JobStatus]:
        """All jobs of this home, newest first."""
        raise NotImplementedError

    async def probe(self, provider: str) -> str:
        """Make one harmless call with the configured key; return what answered. Raises ProviderError, ConfigError."""
        raise NotImplementedError
