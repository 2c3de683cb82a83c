"""Every option is explained, and is what the layers below take. The page itself: tests/docs/test_reference.py."""

from __future__ import annotations

import click

from bydawn.cli.app import COMMANDS, app
from bydawn.cli.options import ENDPOINTS, FORMATS, SANDBOX_SETTINGS, STANDARD_STREAM, sandbox_options
from bydawn.core import request
from bydawn.io import sinks


def test_every_option_is_explained() -> None:
    context = click.Context(app)
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        assert command.help
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.name}"
                assert parameter.help.endswith((".", ")")), f"{name} {parameter.name}"


def test_choices_are_those_of_the_layers_below() -> None:
    """They are written again in options.py, to keep --help quick."""
    assert request.ENDPOINTS == ENDPOINTS
    assert sinks.OutputFormat.__args__ == FORMATS
    assert STANDARD_STREAM == "-"


def test_every_sandbox_option_is_left_out_of_the_real_command() -> None:
    @sandbox_options
    def command() -> None: ...

    names = {opt for option in command.__click_params__ for opt in option.opts}  # type: ignore[attr-defined]
    assert names == SANDBOX_SETTINGS | {"--sandbox"}
