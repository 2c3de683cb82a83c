"""Where results go, checked before anything is spent."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bydawn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bydawn.cli.options import OutputArgs
    from bydawn.client import Job
    from bydawn.io import OutputFormat

KNOWN_EXTENSIONS = frozenset({".jsonl", ".ndjson", ".csv", ".parquet"})


def check_output(args: OutputArgs) -> str | None:
    """Raise ConfigError when results could not be written as asked; return a remark where the user may be surprised."""
    from bydawn.io import check_target

    if args.to_stdout:
        return None
    path = Path(args.output)
    chosen = check_target(path, format=cast("OutputFormat | None", args.file_format))
    if path.exists() and not path.is_file():
        return None  # a pipe or a device is written directly
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{path.parent} may not be written to", hint="Choose another folder for the results.")
    if args.file_format is None and path.suffix.lower() not in KNOWN_EXTENSIONS:
        return f"{path.name}: this extension names no format, so {chosen} is written; --format chooses another"
    return None


def refuse_overwriting(args: OutputArgs, inputs: Iterable[Path]) -> None:
    """Raise ConfigError when the results would take the place of a file that the job is made of."""
    if args.to_stdout:
        return
    output = Path(args.output)
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            raise ConfigError(f"the results would overwrite {path}", hint="Name another file with -o.")


def write_results(job: Job, args: OutputArgs, *, partial: bool = False) -> int:
    """Write the job's results where they belong; return how many."""
    file_format = cast("OutputFormat | None", args.file_format)
    if not args.to_stdout:
        return job.write(Path(args.output), file_format=file_format, partial=partial, raw=args.raw)
    written = job.write(sys.stdout.buffer, file_format=file_format, partial=partial, raw=args.raw)
    sys.stdout.buffer.flush()
    return written
