"""Working on one job in the foreground: open it, follow it to its end, write the results, say how it went."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bydawn.cli import records, summary
from bydawn.cli.display import choose_display, words
from bydawn.cli.errors import UNAVAILABLE, Interrupted
from bydawn.cli.output import check_output, write_results
from bydawn.cli.session import with_client
from bydawn.core.events import Notice
from bydawn.errors import BydawnError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from bydawn.cli.display import Display
    from bydawn.cli.interrupts import Interrupts
    from bydawn.cli.invocation import Invocation
    from bydawn.cli.options import OutputArgs, SandboxArgs
    from bydawn.client import Client, Job
    from bydawn.core.events import Listener
    from bydawn.core.job import JobStatus


class JobWork:
    """One command's work on one job.

    ``open_job`` finds or plans the job (that may take long, and nothing is sent meanwhile); ``before`` is done to it
    first. ``output`` None means that nobody waits for results: the work is done once everything is at the provider.
    """

    def __init__(
        self,
        invocation: Invocation,
        open_job: Callable[[Client, Listener], Job],
        *,
        title: str,
        quiet: bool,
        sandbox: SandboxArgs,
        output: OutputArgs | None,
        before: Callable[[Job, Listener], Awaitable[None]] | None = None,
    ) -> None:
        self._invocation = invocation
        self._open_job = open_job
        self._sandbox = sandbox
        self._output = output
        self._quiet = quiet
        self._before = before
        remark = None if output is None else check_output(output)
        if output is not None and output.to_stdout:
            invocation.give_stdout_to_results()
        self._display = choose_display(invocation, quiet=quiet, title=title)
        if remark:
            self._display(Notice("warning", remark))

    def run(self) -> int:
        """Do it; return the exit code. Raises BydawnError, Interrupted."""
        return with_client(self._work, sandbox=self._sandbox, say=lambda text: self._display(Notice("info", text)))

    async def _work(self, client: Client, interrupts: Interrupts) -> int:
        with self._display as display:
            with interrupts.blocking():
                job = self._open_job(client, display)
            with job_in_hand(job.job_id), _kept(job.job_id):
                status = await self._follow(job, display)
        with job_in_hand(job.job_id), _kept(job.job_id), interrupts.blocking():
            written = self._write(job, status)
        return self._conclude(status, written)

    async def _follow(self, job: Job, display: Display) -> JobStatus:
        if self._before is not None:
            await self._before(job, display)
        found = job.status()
        display.adjusted(found.adjustments)
        for notice in found.notices:
            display(Notice("warning", notice))
        if words.finished(found):
            display(Notice("info", words.continued(found)))
        return await (job.start(display) if self._output is None else job.wait(display))

    def _write(self, job: Job, status: JobStatus) -> str | None:
        """Write the results of a job that is through; return where they are, for people."""
        if self._output is None or status.pending:
            return None
        write_results(job, self._output)
        return "standard output" if self._output.to_stdout else self._output.output

    def _conclude(self, status: JobStatus, written: str | None) -> int:
        code = exit_code(status, sent_is_enough=self._output is None)
        in_sandbox = self._sandbox.sandbox
        if self._invocation.json:
            facts = {"results": written, "sandbox": in_sandbox, "exit_code": code}
            self._invocation.emit({"event": "summary"} | records.job(status) | facts)
        elif not self._quiet:
            self._invocation.say(*summary.report(status, written))
            if in_sandbox:
                self._invocation.say(*summary.after_sandbox(status, self._invocation.arguments))
        elif status.state == "paused":
            self._invocation.say(f"job {status.job_id} is paused: {status.reason}")
        return code


def exit_code(status: JobStatus, *, sent_is_enough: bool = False) -> int:
    """Return what a job's state means to a shell."""
    if status.state == "paused":
        return UNAVAILABLE
    return 0 if sent_is_enough or status.all_succeeded else 1


@contextmanager
def job_in_hand(job_id: str) -> Iterator[None]:
    """Make sure that whoever stops the work learns which job it was, and that it is safe."""
    try:
        yield
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise Interrupted(job_id) from None


@contextmanager
def _kept(job_id: str) -> Iterator[None]:
    """Say of an error that the job it stopped can go on."""
    try:
        yield
    except BydawnError as error:
        error.add_note(f"Job {job_id} is safe: the same command continues it, and so does `bydawn wait {job_id}`.")
        raise
