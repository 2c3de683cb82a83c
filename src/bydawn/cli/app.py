"""The root of the command tree, and the one place where a command's end becomes an exit code."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import click

from bydawn import __version__
from bydawn.cli import errors
from bydawn.cli.invocation import Invocation

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "run": ("run", "Run INPUT through a batch API and write one result per row."),
    "submit": ("run", "The same, without waiting for the answers."),
    "wait": ("wait", "Go on with JOB until it is through, and write its results."),
    "resume": ("wait", "Another name of wait."),
    "check": ("check", "Show what a run would send and cost; nothing is sent."),
    "status": ("status", "Show how JOB stands."),
    "jobs": ("status", "List all jobs."),
    "results": ("results", "Write the results of JOB again."),
    "failures": ("results", "Show what did not succeed in JOB, by cause."),
    "retry": ("change", "Send again what did not succeed in JOB."),
    "cancel": ("change", "Stop JOB and keep what finished."),
    "clean": ("change", "Delete the files of JOB, at the provider and here."),
    "models": ("models", "Show what is known of models: rules, batches, prices."),
    "sandbox": ("sandbox", "Serve the bundled emulator of the providers."),
    "doctor": ("doctor", "Check this machine: keys, network, clock, disk."),
}
"""Command name -> its module in `bydawn.cli.commands` and its line in ``--help``, in that order; the module's attribute
has the command's name. The lines are here so that ``--help`` need not import fifteen commands."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _line = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"bydawn.cli.commands.{module}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_module, line) in COMMANDS.items()])


EXIT_CODES = """\b
Exit codes:
  0    every row succeeded
  1    finished, and some rows did not succeed
  2    usage, configuration or input
  3    stopped by the budget
  4    provider or state folder unavailable
  130  interrupted; the state is safe, and the same command continues"""


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
    no_args_is_help=True,
)
@click.version_option(__version__, prog_name="bydawn")
def app() -> None:
    """Every LLM's batch API behind one durable command. Half the price, done by dawn.

    Start with `bydawn run --sandbox INPUT -m openai/gpt-4o-mini -o results.jsonl`: it needs no key and costs nothing.
    """


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code. Raises only when BYDAWN_DEBUG is set and the error is a bug."""
    invocation = Invocation(tuple(arguments))
    try:
        with app.make_context("bydawn", list(arguments), obj=invocation) as context:
            code = app.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except (Exception, KeyboardInterrupt, errors.Interrupted) as error:  # noqa: BLE001 - whatever it is, it is reported
        return errors.report(error, invocation)
    return code or 0
