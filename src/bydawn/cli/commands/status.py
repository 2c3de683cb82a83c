"""``status`` and ``jobs``: how jobs stand. They look into the state folder and ask no provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bydawn.cli.invocation import Invocation, pass_invocation
from bydawn.cli.options import json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from bydawn.cli.interrupts import Interrupts
    from bydawn.client import Client, Job
    from bydawn.core.job import BatchStatus, JobStatus

WATCH_EVERY_S = 2.0
NO_JOBS = "no jobs yet; begin with `bydawn run`"


@click.command("status")
@click.argument("job", metavar="[JOB]", required=False)
@click.option("--watch", is_flag=True, help="Look again and again until the job is through. This does not work on it.")
@json_option
@pass_invocation
def status(invocation: Invocation, /, **values: Any) -> int:
    """Show how JOB stands: rows, batches, tokens, cost. Without JOB, the last one."""
    from bydawn.cli import records
    from bydawn.cli.session import with_client

    def show(seen: JobStatus, worker: str | None) -> None:
        if invocation.json:
            invocation.emit(records.job(seen) | {"worked_on": worker is not None})
        else:
            invocation.say(*_status_lines(seen, worker))

    async def work(client: Client, _: Interrupts) -> None:
        if values["job"] is None and not client.store.jobs():
            _show_jobs(invocation, [])
            return
        job = client.job(values["job"] or "last")
        if values["watch"]:
            await _watch(client, job, show)
        else:
            show(job.status(), _who_works_on(client, job))

    with_client(work)
    return 0


async def _watch(client: Client, job: Job, show: Callable[[JobStatus, str | None], None]) -> None:
    """Show the status whenever it changed, until the job is through or paused."""
    import asyncio

    shown = None
    while True:
        seen = job.status(), _who_works_on(client, job)
        if seen != shown:
            show(*seen)
            shown = seen
        if seen[0].state in ("done", "cancelled", "paused"):
            return
        await asyncio.sleep(WATCH_EVERY_S)


def _who_works_on(client: Client, job: Job) -> str | None:
    """Return a sentence about the process that works on the job, None when there is none."""
    from bydawn.errors import JobBusy
    from bydawn.store.files import JobFiles
    from bydawn.store.lock import JobLock

    try:
        with JobLock(JobFiles(client.settings.home, job.job_id).lock, job.job_id):
            return None
    except JobBusy as busy:
        return str(busy)


def _status_lines(seen: JobStatus, worker: str | None) -> list[str]:
    from bydawn.cli import summary, texts
    from bydawn.cli.display import words

    lines = [
        f"job {seen.job_id}" + (f" ({seen.name})" if seen.name else ""),
        f"  state    {seen.state}" + (f": {seen.reason}" if seen.reason else "") + f"; {_worker(seen, worker)}",
        f"  models   {', '.join(seen.models)}",
        f"  rows     {words.rows_done(seen)}",
        f"  tokens   {texts.tokens(seen.input_tokens, seen.output_tokens, seen.cached_tokens, seen.reasoning_tokens)}",
        *(f"  cost     {line}" for line in summary.cost(seen)),
        f"  time     begun {texts.local_time(seen.created_at_s)}, changed {texts.local_time(seen.updated_at_s)}",
    ]
    if seen.pending:
        lines.append(f"  left     {texts.time_left(seen.eta_s)}")
    lines += [f"  changed  {texts.adjustment(change, rows)}" for change, rows in seen.adjustments]
    lines += [f"  note     {notice}" for notice in seen.notices]
    return lines + [f"  {line}" for line in _batch_table(seen.batches)]


def _worker(seen: JobStatus, worker: str | None) -> str:
    if worker is not None:
        return worker
    if seen.pending == 0:
        return "nothing is left to do"
    return f"nobody works on it now; `bydawn wait {seen.job_id}` goes on"


def _batch_table(batches: tuple[BatchStatus, ...]) -> list[str]:
    from bydawn.cli.texts import table

    if not batches:
        return []
    heads = ["batch", "lane", "state", "rows", "provider says", "provider's id", "note"]
    rows = [
        [
            str(batch.number),
            batch.lane,
            batch.state.replace("_", " "),
            f"{batch.rows:,}",
            _seen_there(batch),
            batch.provider_batch_id or "",
            batch.note or "",
        ]
        for batch in batches
    ]
    return table(heads, rows, right=(3,))


def _seen_there(batch: BatchStatus) -> str:
    """Write what the provider says of a batch: its own word and counts, unchecked."""
    counts = batch.counts
    numbers = f" {counts.succeeded:,}+{counts.failed:,}/{counts.total:,}" if counts else ""
    return f"{batch.provider_status or ''}{numbers}".strip()


@click.command("jobs")
@json_option
@pass_invocation
def jobs(invocation: Invocation, /, **_: Any) -> int:
    """List all jobs of this state folder, newest first."""
    from bydawn.cli.session import with_client

    async def work(client: Client, interrupts: Interrupts) -> list[JobStatus]:
        with interrupts.blocking():
            return client.jobs()

    _show_jobs(invocation, with_client(work))
    return 0


def _show_jobs(invocation: Invocation, found: list[JobStatus]) -> None:
    from bydawn.cli import records

    if invocation.json:
        invocation.emit({"jobs": [records.job(seen) for seen in found]})
    else:
        invocation.say(*_job_lines(found))


def _job_lines(found: list[JobStatus]) -> list[str]:
    from bydawn.cli.display import words
    from bydawn.cli.texts import local_time, money, table

    if not found:
        return [NO_JOBS]
    heads = ["job", "begun", "state", "done", "not ok", "cost", "models", "name"]
    rows = [
        [
            seen.job_id,
            local_time(seen.created_at_s),
            seen.state,
            f"{words.finished(seen):,}/{seen.requests:,}",
            f"{seen.failed + seen.expired + seen.cancelled:,}",
            money(seen.money.cost_usd),
            ", ".join(seen.models),
            seen.name,
        ]
        for seen in found
    ]
    return table(heads, rows, right=(3, 4, 5))
