"""``results`` and ``failures``: what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bydawn.cli.invocation import Invocation, pass_invocation
from bydawn.cli.options import OutputArgs, job_argument, json_option, output_options, quiet_option

if TYPE_CHECKING:
    from bydawn.cli.interrupts import Interrupts
    from bydawn.client import Client
    from bydawn.core.job import FailureGroup, JobStatus


@click.command("results")
@job_argument
@output_options
@click.option("--partial", is_flag=True, help="Write the finished rows of a job that is not through.")
@json_option
@quiet_option
@pass_invocation
def results(invocation: Invocation, /, **values: Any) -> int:
    """Write the results of JOB again, from what is stored; no provider is asked."""
    from bydawn.cli.output import check_output
    from bydawn.cli.session import with_client
    from bydawn.cli.texts import count
    from bydawn.cli.work import exit_code

    output = OutputArgs.take(values)
    remark = check_output(output)
    if output.to_stdout:
        invocation.give_stdout_to_results()

    async def work(client: Client, interrupts: Interrupts) -> tuple[JobStatus, int]:
        with interrupts.blocking():
            return _write(client, values["job"], output, partial=values["partial"])

    status, written = with_client(work)
    if invocation.json:
        facts = {"job_id": status.job_id, "written": written, "results": output.output, "pending": status.pending}
        invocation.emit({"event": "summary"} | facts | {"exit_code": exit_code(status)})
    elif not values["quiet"] and not output.to_stdout:
        missing = f"; {count(status.pending, 'request')} without a result yet" if status.pending else ""
        invocation.say(f"{count(written, 'result')} written to {output.output}{missing}", *([remark] if remark else []))
    return exit_code(status)


def _write(client: Client, job_id: str, output: OutputArgs, *, partial: bool) -> tuple[JobStatus, int]:
    from bydawn.cli.output import write_results
    from bydawn.cli.texts import count
    from bydawn.errors import ConfigError

    job = client.job(job_id)
    status = job.status()
    if status.pending and not partial:
        raise ConfigError(
            f"job {status.job_id} is not through: {count(status.pending, 'request')} without a result",
            hint=f"`bydawn wait {status.job_id}` goes on with it; --partial writes what is finished.",
        )
    return status, write_results(job, output, partial=partial)


@click.command("failures")
@job_argument
@json_option
@pass_invocation
def failures(invocation: Invocation, /, **values: Any) -> int:
    """Show what did not succeed in JOB, grouped by cause, with an example row and what to do."""
    from bydawn.cli import records
    from bydawn.cli.session import with_client

    async def work(client: Client, interrupts: Interrupts) -> tuple[JobStatus, list[FailureGroup]]:
        with interrupts.blocking():
            job = client.job(values["job"])
            return job.status(), job.failures()

    status, groups = with_client(work)
    if invocation.json:
        invocation.emit({"job_id": status.job_id, "failures": [records.failure(group) for group in groups]})
    else:
        invocation.say(*_failure_lines(status, groups))
    return 0


def _failure_lines(status: JobStatus, groups: list[FailureGroup]) -> list[str]:
    if not groups:
        open_rows = f" ({status.pending:,} requests have no result yet)" if status.pending else ""
        return [f"job {status.job_id}: no failures{open_rows}"]
    lines = [line for group in groups for line in _group_lines(group)]
    if any(group.retryable for group in groups):
        lines.append(f"send what failed again: bydawn retry {status.job_id}")
    return lines


def _group_lines(group: FailureGroup) -> list[str]:
    from bydawn.cli.texts import count

    code = f" ({group.code})" if group.code and group.code != group.kind else ""
    again = "may succeed when sent again" if group.retryable else "will fail again as it is"
    return [
        f"{count(group.count, 'row')} {group.status}: {group.kind}{code}, {group.model}, {again}",
        f"  the provider's words: {group.message}",
        f"  example: row {group.example_row}, id {group.example_id}",
        f"  what to do: {group.remedy}",
    ]
