"""Starting must be cheap: help and version may import click and nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bydawn.cli.app import COMMANDS, app

HEAVY = {"httpx2", "genai_prices", "rich", "starlette", "uvicorn", "openai", "msgspec", "sqlite3", "asyncio", "pyarrow"}

PROGRAM = """
import sys
from bydawn.cli.app import run_command
code = run_command(sys.argv[1:])
print(code, *sorted(set(sys.modules) & set({heavy!r})), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["doctor", "--nonsense"]])
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    """In a fresh interpreter; the one exception is what `doctor` itself looks at."""
    program = PROGRAM.format(heavy=sorted(HEAVY))
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    code, *imported = done.stderr.strip().split("\n")[-1].split()
    assert code == ("2" if "--nonsense" in arguments else "0")
    assert set(imported) <= ({"asyncio", "sqlite3"} if arguments[0] == "doctor" else set())


def test_help_lists_every_command() -> None:
    """The table of commands is what help shows, and every entry leads to a command of that name."""
    context = app.make_context("bydawn", [], resilient_parsing=True)
    text = app.get_help(context)
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert f"\n  {name} " in text


def test_module_and_script_are_the_same_program() -> None:
    done = subprocess.run([sys.executable, "-m", "bydawn", "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("bydawn")
