"""The command line: parse, call the client, print. Nothing is decided here.

Rules of this package. What is meant for people goes to stderr, data goes to stdout. At import time only click and the
standard library may be touched, so that ``bydawn --help`` stays quick (tests/cli/test_start.py); everything else is
imported inside the commands.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave the process with its exit code."""
    from bydawn.cli.app import run_command

    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))
