"""Write ``docs/reference/commands.md`` from the commands themselves.

    python scripts/make_reference.py

tests/cli/test_reference.py fails when the page is not what this would write.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bydawn.cli.app import COMMANDS, EXIT_CODES, app

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "commands.md"

INTRODUCTION = """\
# Commands

<!-- Written by scripts/make_reference.py from the commands themselves; do not edit. -->

Sentences for people go to standard error, data goes to standard output: results, and with `--json` records. `JOB` is a
job's id, a unique beginning of it, or `last`. With `--json`, commands that work on a job print one event a line
(`planning`, `adjustment`, `notice`, `batch`, `progress`) and `summary` last; where the results themselves go to
standard output, these go to standard error. An error is one object, too: `{"event": "error", "type": …, "message": …,
"hint": …, "exit_code": …}`.
"""


def page() -> str:
    """Return the whole page."""
    root = click.Context(app, info_name="bydawn")
    commands = [app.get_command(root, name) for name in COMMANDS]
    parts = [INTRODUCTION, *(section(command, root) for command in commands if command), exit_codes()]
    return "\n".join(parts)


def section(command: click.Command, root: click.Context) -> str:
    """Return what is said of one command."""
    context = click.Context(command, info_name=command.name, parent=root)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## bydawn {command.name}", "", "```", f"bydawn {command.name} {usage}", "```", "", *description(command)]
    return "\n".join([*lines, "", "| option | meaning |", "|---|---|", *options(command, context), ""])


def description(command: click.Command) -> Iterator[str]:
    """Yield the help text; paragraphs that must not be wrapped become code."""
    for number, paragraph in enumerate(inspect.cleandoc(command.help or "").split("\n\n")):
        if number:
            yield ""
        if paragraph.startswith("\b\n"):
            yield from ("```", *(line.strip() for line in paragraph.split("\n")[2:]), "```")
        else:
            yield paragraph


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield one table row per option."""
    for parameter in command.params:
        shown = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if shown:
            names, meaning = (text.replace("|", "\\|") for text in shown)
            yield f"| `{names}` | {meaning} |"


def exit_codes() -> str:
    """Return the table of exit codes, from the text that ``bydawn --help`` ends with."""
    rows = [line.split(maxsplit=1) for line in EXIT_CODES.split("\n")[2:]]
    more = [("70", "an error that bydawn did not foresee: a bug"), ("141", "the reader of its output went away")]
    table = [f"| {code} | {meaning} |" for code, meaning in [*rows, *more]]
    return "\n".join(["## Exit codes", "", "| code | meaning |", "|---|---|", *table, ""])


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
