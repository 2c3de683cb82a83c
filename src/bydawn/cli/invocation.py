"""What a command knows of its own call: the arguments, and where its data goes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from typing import TextIO


class Invocation:
    """One call of ``bydawn``. ``json`` holds whether data was asked for instead of sentences."""

    def __init__(self, arguments: tuple[str, ...]) -> None:
        self.arguments = arguments
        self.json = "--json" in arguments
        self._stdout_is_taken = False

    def give_stdout_to_results(self) -> None:
        """From now on stdout carries result lines, so JSON records go to stderr."""
        self._stdout_is_taken = True

    @property
    def data(self) -> TextIO:
        """Where JSON records go."""
        return sys.stderr if self._stdout_is_taken else sys.stdout

    def emit(self, record: Any) -> None:
        """Print one JSON record as a line."""
        from bydawn.cli.records import encode

        self.data.write(encode(record) + "\n")
        self.data.flush()

    def say(self, *lines: str) -> None:
        """Print sentences for people; with ``--json`` nothing."""
        if not self.json:
            for line in lines:
                click.echo(line, err=True)


pass_invocation = click.make_pass_decorator(Invocation)
