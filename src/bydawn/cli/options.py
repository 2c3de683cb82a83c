"""Options that several commands share, and the values they become.

Each group is a decorator that adds options to a command, and a class that takes its values out of the command's keyword
arguments, so that commands hand typed values on and no command repeats an option.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

F = TypeVar("F", bound="Callable[..., Any]")

ENDPOINTS = ("chat", "responses", "embeddings", "completions", "moderations")
"""`bydawn.core.request.ENDPOINTS`, written again because reading it there would import msgspec for ``--help``."""

FORMATS = ("jsonl", "csv", "parquet")

STANDARD_STREAM = "-"


def _group(*options: Callable[[F], F]) -> Callable[[F], F]:
    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


json_option = click.option("--json", "json_", is_flag=True, help="Print JSON instead of sentences.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
job_argument = click.argument("job", metavar="JOB")
"""A stored job: its id, a unique beginning of it, or ``last``."""


class OptionGroup:
    """Base of the groups' values."""

    __slots__ = ()

    @classmethod
    def take(cls, values: dict[str, Any]) -> Self:
        """Take this group's values out of a command's keyword arguments."""
        return cls(**{field.name: values.pop(field.name) for field in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestArgs(OptionGroup):
    """Which requests to make: the input and how it is read. ``source`` ``-`` is standard input."""

    source: str
    models: tuple[str, ...]
    endpoint: str | None
    prompt: str | None
    prompt_file: Path | None
    system: str | None
    system_file: Path | None
    params: tuple[str, ...]
    schema: Path | None
    max_attempts: int

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the requests are made of."""
        source = None if self.source == STANDARD_STREAM else Path(self.source)
        return tuple(path for path in (source, self.prompt_file, self.system_file, self.schema) if path is not None)


_file = click.Path(dir_okay=False, path_type=Path)

request_options = _group(
    click.argument("source", metavar="INPUT"),
    click.option(
        "-m", "--model", "models", multiple=True, metavar="PROVIDER/MODEL", help="The model to ask; repeat for several."
    ),
    click.option("--endpoint", type=click.Choice(ENDPOINTS), help="The operation; by default what the rows look like."),
    click.option("--prompt", metavar="TEXT", help="Prompt template; {{ column }} is filled from each row."),
    click.option("--prompt-file", type=_file, help="The prompt template, from a file."),
    click.option("--system", metavar="TEXT", help="System template, filled like the prompt."),
    click.option("--system-file", type=_file, help="The system template, from a file."),
    click.option(
        "--param",
        "params",
        multiple=True,
        metavar="KEY=VALUE",
        help="Request parameter for all rows, such as temperature=0; a row's own wins.",
    ),
    click.option("--schema", type=_file, help="JSON schema that answers must match; they come back parsed."),
    click.option(
        "--max-attempts",
        type=click.IntRange(min=1),
        default=3,
        show_default=True,
        help="How often a row is sent at most.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputArgs(OptionGroup):
    """Where results go. ``output`` ``-`` is standard output; ``file_format`` None goes by the extension."""

    output: str
    file_format: str | None
    raw: bool

    @property
    def to_stdout(self) -> bool:
        """Whether the results go to standard output."""
        return self.output == STANDARD_STREAM


output_options = _group(
    click.option(
        "-o",
        "--output",
        default=STANDARD_STREAM,
        metavar="FILE",
        help="Where results go; standard output when not given.",
    ),
    click.option(
        "--format",
        "file_format",
        type=click.Choice(FORMATS),
        help="Format of the results; by default by the extension of FILE, else jsonl.",
    ),
    click.option("--raw", is_flag=True, help="Keep the provider's own answer in each result."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxArgs(OptionGroup):
    """Whether and how the bundled emulator stands in for the provider. ``speed`` None: batches take no virtual time."""

    sandbox: bool
    sandbox_upstream: str | None
    sandbox_model: str | None
    sandbox_faults: Path | None
    sandbox_seed: int
    speed: float | None


SANDBOX_FLAGS = frozenset({"--sandbox"})
SANDBOX_SETTINGS = frozenset({"--sandbox-upstream", "--sandbox-model", "--sandbox-faults", "--sandbox-seed", "--speed"})
"""Options that only make sense with the sandbox: each takes one value."""

sandbox_options = _group(
    click.option("--sandbox", is_flag=True, help="Use the bundled emulator of the provider: no key, no cost."),
    click.option(
        "--sandbox-upstream",
        metavar="URL",
        help="OpenAI-compatible address that answers in the sandbox, such as http://127.0.0.1:8080/v1.",
    ),
    click.option("--sandbox-model", metavar="NAME", help="Model name to send to that address."),
    click.option("--sandbox-faults", type=_file, help="Plan of the faults the sandbox makes (TOML)."),
    click.option(
        "--sandbox-seed", type=int, default=0, show_default=True, help="Seed of everything random in the sandbox."
    ),
    click.option(
        "--speed",
        type=click.FloatRange(min=0),
        metavar="N",
        help="Virtual seconds per second in the sandbox; by default batches are done at once.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobArgs(OptionGroup):
    """How a job is found or begun."""

    strict: bool
    new: bool
    name: str | None


new_job_options = _group(
    click.option("--strict", is_flag=True, help="Refuse instead of adjusting requests to the model."),
    click.option("--new", is_flag=True, help="Start another job, even if this very one exists."),
    click.option("--name", metavar="TEXT", help="Name of the job, for people."),
)
