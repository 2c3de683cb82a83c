"""From options to what the client takes: the job's options, and an input it can read.

Everything here happens before anything is planned, so a typing error costs nothing.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from bydawn.cli.options import STANDARD_STREAM
from bydawn.errors import ConfigError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bydawn.cli.options import RequestArgs
    from bydawn.core.job import JobOptions
    from bydawn.core.request import Endpoint

STDIN_NAME = "standard input"


def job_options(args: RequestArgs) -> JobOptions:
    """Read templates, parameters and schema. Raises ConfigError and click.UsageError."""
    from bydawn.core.job import JobOptions
    from bydawn.io import load_schema, parse_params

    return JobOptions(
        models=args.models,
        endpoint=cast("Endpoint | None", args.endpoint),
        prompt=_template("--prompt", args.prompt, args.prompt_file),
        system=_template("--system", args.system, args.system_file),
        params=parse_params(list(args.params)),
        response_format=load_schema(args.schema) if args.schema else None,
        max_attempts=args.max_attempts,
    )


def _template(option: str, text: str | None, file: Path | None) -> str | None:
    if file is None:
        return text
    if text is not None:
        raise click.UsageError(f"{option} and {option}-file say the same thing twice; give one of them.")
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}", hint="It must be a text file in UTF-8.") from error


@contextmanager
def readable(source: str) -> Iterator[Path]:
    """Give the input as a file that can be read more than once; standard input is kept in a private one meanwhile.

    Problems in standard input are reported under its own name.
    """
    if source != STANDARD_STREAM:
        yield _existing(Path(source))
        return
    with tempfile.TemporaryDirectory(prefix="bydawn-") as folder:
        spool = Path(folder) / "stdin.jsonl"
        with spool.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        try:
            yield spool
        except InvalidInput as error:
            raise InvalidInput(STDIN_NAME, error.problems, error.total) from error


def _existing(path: Path) -> Path:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="INPUT is one file; join several with `cat`.")
    if not path.exists():
        raise ConfigError(f"{path} does not exist", hint="INPUT is a file, or - for standard input.")
    return path
