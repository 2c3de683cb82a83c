"""``retry``, ``cancel`` and ``clean``: what changes a job that exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bydawn.cli.invocation import Invocation, pass_invocation
from bydawn.cli.options import (
    OutputArgs,
    SandboxArgs,
    job_argument,
    json_option,
    output_options,
    quiet_option,
    sandbox_options,
)

if TYPE_CHECKING:
    from bydawn.cli.interrupts import Interrupts
    from bydawn.client import Client, Job
    from bydawn.core.events import Listener
    from bydawn.core.job import CleanReport, JobStatus


@click.command("retry")
@job_argument
@click.option("--no-wait", is_flag=True, help="Only send; write no results.")
@output_options
@sandbox_options
@json_option
@quiet_option
@pass_invocation
def retry(invocation: Invocation, /, **values: Any) -> int:
    """Send again what failed, expired or was cancelled in JOB, then wait and write all results of the job.

    Rows that succeeded are neither sent nor paid again.
    """
    from bydawn.cli.session import sandbox_of_job
    from bydawn.cli.work import JobWork

    job_id = values["job"]
    output = OutputArgs.take(values)

    async def put_back(job: Job, listener: Listener) -> None:
        from bydawn.cli.texts import count
        from bydawn.core.events import Notice

        number = await job.retry()
        text = f"{count(number, 'request')} will be sent again" if number else "nothing failed: nothing is sent again"
        listener(Notice("info", text))

    work = JobWork(
        invocation,
        lambda client, _: client.job(job_id),
        title=job_id,
        quiet=values["quiet"],
        sandbox=sandbox_of_job(job_id, SandboxArgs.take(values)),
        output=None if values["no_wait"] else output,
        before=put_back,
    )
    return work.run()


@click.command("cancel")
@job_argument
@sandbox_options
@json_option
@quiet_option
@pass_invocation
def cancel(invocation: Invocation, /, **values: Any) -> int:
    """Stop JOB: withdraw what was not sent, cancel what runs, keep every row that finished."""
    from bydawn.cli import records, summary
    from bydawn.cli.display import choose_display
    from bydawn.cli.session import sandbox_of_job, with_client
    from bydawn.cli.work import job_in_hand
    from bydawn.core.events import Notice

    display = choose_display(invocation, quiet=values["quiet"], title=values["job"])

    async def work(client: Client, _: Interrupts) -> JobStatus:
        job = client.job(values["job"])
        with display, job_in_hand(job.job_id):
            return await job.cancel(display)

    sandbox = sandbox_of_job(values["job"], SandboxArgs.take(values))
    status = with_client(work, sandbox=sandbox, say=lambda text: display(Notice("info", text)))
    if invocation.json:
        invocation.emit({"event": "summary"} | records.job(status) | {"exit_code": 0})
    elif not values["quiet"]:
        invocation.say(*summary.report(status, None))
    return 0


@click.command("clean")
@job_argument
@click.option("--keep-remote", is_flag=True, help="Leave the files at the provider.")
@click.option("--keep-local", is_flag=True, help="Leave the bytes sent and received in the state folder.")
@sandbox_options
@json_option
@pass_invocation
def clean(invocation: Invocation, /, **values: Any) -> int:
    """Delete the files of JOB at the provider, and the very bytes that were sent and received in the state folder.

    `bydawn results` still writes the results afterwards, without --raw.
    """
    from bydawn.cli import records
    from bydawn.cli.session import sandbox_of_job, with_client

    remote, local = not values["keep_remote"], not values["keep_local"]
    if not remote and not local:
        raise click.UsageError("--keep-remote and --keep-local together leave nothing to delete.")

    async def work(client: Client, _: Interrupts) -> CleanReport:
        return await client.job(values["job"]).clean(remote=remote, local=local)

    report = with_client(work, sandbox=sandbox_of_job(values["job"], SandboxArgs.take(values)))
    if invocation.json:
        invocation.emit(records.cleaned(report))
    else:
        invocation.say(*_cleaned_lines(report))
    return 1 if report.failures else 0


def _cleaned_lines(report: CleanReport) -> list[str]:
    from bydawn.cli.texts import count, size

    deleted = f"deleted {count(report.remote_files, 'file')} at the provider and {size(report.local_bytes)} here"
    return [deleted, *(f"  not deleted: {failure}" for failure in report.failures)]
