"""``run`` and ``submit``: from an input to a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bydawn.cli.invocation import Invocation, pass_invocation
from bydawn.cli.options import (
    JobArgs,
    OutputArgs,
    RequestArgs,
    SandboxArgs,
    json_option,
    new_job_options,
    output_options,
    quiet_option,
    request_options,
    sandbox_options,
)

if TYPE_CHECKING:
    from bydawn.client import Client, Job
    from bydawn.core.events import Listener


@click.command("run")
@request_options
@output_options
@new_job_options
@sandbox_options
@json_option
@quiet_option
@pass_invocation
def run(invocation: Invocation, /, **values: Any) -> int:
    """Run INPUT through a provider's batch API and write one result per row.

    INPUT is JSONL, CSV, TSV or Parquet, or - for JSONL on standard input. The whole file is checked before anything
    is sent. The same command again, after whatever stopped it, continues the same job; nothing is sent or paid twice.

    \b
    Examples:
      bydawn run tickets.jsonl -m openai/gpt-4o-mini -o results.jsonl
      bydawn run rows.csv -m openai/gpt-4o-mini --prompt 'Classify: {{ text }}' -o out.csv
      bydawn run --sandbox tickets.jsonl -m openai/gpt-4o-mini -o results.jsonl
    """
    output = OutputArgs.take(values)
    return _begin(invocation, values, named=output, output=output)


@click.command("submit")
@request_options
@output_options
@new_job_options
@sandbox_options
@json_option
@quiet_option
@pass_invocation
def submit(invocation: Invocation, /, **values: Any) -> int:
    """Send INPUT as `bydawn run` does, without waiting for the answers.

    Ends once every batch is at its provider; `bydawn wait JOB -o FILE` waits for the answers and writes them. Takes
    the options of `bydawn run`; those about results are only checked.
    """
    from bydawn.cli.output import check_output

    named = OutputArgs.take(values)
    check_output(named)
    return _begin(invocation, values, named=named, output=None)


def _begin(invocation: Invocation, values: dict[str, Any], *, named: OutputArgs, output: OutputArgs | None) -> int:
    """Begin or continue the job; ``output`` is where to write its results when it is done, None for not at all."""
    from bydawn.cli.inputs import job_options, readable
    from bydawn.cli.output import refuse_overwriting
    from bydawn.cli.session import refuse_settings_without_sandbox
    from bydawn.cli.work import JobWork

    requests = RequestArgs.take(values)
    refuse_overwriting(named, requests.files)
    choice = JobArgs.take(values)
    options = job_options(requests)

    def open_job(client: Client, listener: Listener) -> Job:
        with readable(requests.source) as source:
            job, _ = client.open_job(
                source, options, strict=choice.strict, new=choice.new, name=choice.name, on_event=listener
            )
        return job

    work = JobWork(
        invocation,
        open_job,
        title=requests.source,
        quiet=values["quiet"],
        sandbox=refuse_settings_without_sandbox(SandboxArgs.take(values)),
        output=output,
    )
    return work.run()
