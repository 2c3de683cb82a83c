"""``wait`` and its other name ``resume``: on with a job that was begun."""

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
    from bydawn.client import Client, Job
    from bydawn.core.events import Listener


@click.command("wait")
@job_argument
@output_options
@sandbox_options
@json_option
@quiet_option
@pass_invocation
def wait(invocation: Invocation, /, **values: Any) -> int:
    """Work on JOB until it is through, and write its results.

    JOB is a job's id, a unique beginning of it, or `last`. Where another process works on the job, this one follows.
    """
    return _continue(invocation, values)


@click.command("resume")
@job_argument
@output_options
@sandbox_options
@json_option
@quiet_option
@pass_invocation
def resume(invocation: Invocation, /, **values: Any) -> int:
    """Another name of `bydawn wait`: go on with JOB."""
    return _continue(invocation, values)


def _continue(invocation: Invocation, values: dict[str, Any]) -> int:
    from bydawn.cli.session import sandbox_of_job
    from bydawn.cli.work import JobWork

    job_id = values["job"]

    def open_job(client: Client, _: Listener) -> Job:
        return client.job(job_id)

    work = JobWork(
        invocation,
        open_job,
        title=job_id,
        quiet=values["quiet"],
        sandbox=sandbox_of_job(job_id, SandboxArgs.take(values)),
        output=OutputArgs.take(values),
    )
    return work.run()
