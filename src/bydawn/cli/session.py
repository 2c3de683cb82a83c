"""A client for the length of one command: settings in, work done, interrupts handled.

A job belongs to a realm, the real providers or the sandbox, and must never be worked on in the other: its batches are
not there, and sandbox rows would be sent for money. So a command that names a job goes where that job is.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from bydawn.cli.interrupts import Interrupts
    from bydawn.cli.options import SandboxArgs
    from bydawn.client import Client
    from bydawn.config import Settings

T = TypeVar("T")


def with_client(
    work: Callable[[Client, Interrupts], Coroutine[Any, Any, T]],
    *,
    sandbox: SandboxArgs | None = None,
    say: Callable[[str], None] | None = None,
) -> T:
    """Run ``work`` with a client of the configured home, or of the sandbox; ``say`` is told what is special of it."""
    from bydawn.cli.interrupts import Interrupts
    from bydawn.client import Client

    interrupts = Interrupts()

    async def with_opened_client() -> T:
        async with Client(settings) as client:
            return await work(client, interrupts)

    with _settings_for(sandbox, say or _say_nothing) as settings:
        return interrupts.run(with_opened_client)


def _say_nothing(_: str) -> None:
    return


@contextmanager
def _settings_for(sandbox: SandboxArgs | None, say: Callable[[str], None]) -> Iterator[Settings]:
    from bydawn.config import load_settings

    settings = load_settings()
    if sandbox is None or not sandbox.sandbox:
        yield settings
        return
    from bydawn.cli.sandboxed import in_sandbox

    with in_sandbox(settings, sandbox, say) as sandboxed:
        yield sandboxed


def sandbox_of_job(job_id: str, args: SandboxArgs) -> SandboxArgs:
    """Return ``args`` with the sandbox switched on when the job was begun in it.

    Raises JobNotFound, and click.UsageError when the options want the other realm.
    """
    from bydawn.cli.sandboxed import REALM

    async def realm(client: Client, _: Interrupts) -> str:
        return client.store.job(client.job(job_id).job_id).realm

    in_sandbox = with_client(realm) == REALM
    if args.sandbox and not in_sandbox:
        raise click.UsageError(f"job {job_id} was begun at the real provider; leave --sandbox out.")
    return refuse_settings_without_sandbox(replace(args, sandbox=in_sandbox))


def refuse_settings_without_sandbox(args: SandboxArgs) -> SandboxArgs:
    """Return ``args`` when they make sense; raise click.UsageError when sandbox settings would be ignored."""
    given = (args.sandbox_upstream, args.sandbox_model, args.sandbox_faults, args.sandbox_seed or None, args.speed)
    if not args.sandbox and any(value is not None for value in given):
        raise click.UsageError("--speed and the --sandbox-... options need --sandbox.")
    return args
