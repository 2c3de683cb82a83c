"""How a command that failed says so, and with which exit code it ends. Nowhere else are errors printed.

For people: ``error: …``, details, ``hint: …`` on stderr. With ``--json``: one object,
``{"event": "error", "type": str, "message": str, "hint": str | null, "exit_code": int, …}``, where JSON goes.
Expected errors never show a traceback; unexpected ones are raised on when BYDAWN_DEBUG is set.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from bydawn.errors import BydawnError, InvalidInput, ProviderError

if TYPE_CHECKING:
    from bydawn.cli.invocation import Invocation

USAGE = 2
UNAVAILABLE = 4
BUG = 70
"""Exit code of an error that bydawn did not foresee (EX_SOFTWARE of sysexits.h)."""
INTERRUPTED = 130
BROKEN_PIPE = 141
"""128 + SIGPIPE: what shells report for a program whose reader went away."""


class Interrupted(BaseException):
    """The user stopped a command that had a job in hand; the job is safe. Not an Exception: nothing may swallow it."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id


def report(error: BaseException, invocation: Invocation) -> int:
    """Print what happened, and return the exit code. With BYDAWN_DEBUG set, an error that is a bug is raised again."""
    if isinstance(error, BrokenPipeError):
        return _after_broken_pipe()
    code = _exit_code(error)
    if code == BUG and os.environ.get("BYDAWN_DEBUG"):
        raise error
    if invocation.json:
        invocation.emit(record(error))
    else:
        for line in lines(error):
            click.echo(line, err=True)
    return code


def _exit_code(error: BaseException) -> int:
    match error:
        case BydawnError():
            return error.exit_code
        case click.ClickException():
            return USAGE
        case Interrupted() | KeyboardInterrupt() | click.Abort():
            return INTERRUPTED
        case OSError():
            return UNAVAILABLE
        case _:
            return BUG


def record(error: BaseException) -> dict[str, Any]:
    """Return the error as a mapping for ``--json``."""
    basis: dict[str, Any] = {
        "event": "error",
        "type": type(error).__name__,
        "message": _message(error),
        "hint": _hint(error),
        "exit_code": _exit_code(error),
        "notes": list(getattr(error, "__notes__", ())),
    }
    if isinstance(error, Interrupted):
        basis["job_id"] = error.job_id
    if isinstance(error, InvalidInput):
        basis |= {"source": error.source, "problems_total": error.total}
        basis["problems"] = [{"line": p.line, "message": p.message, "remedy": p.remedy} for p in error.problems]
    if isinstance(error, ProviderError):
        basis |= {"provider": error.provider, "status": error.status, "code": error.code}
        basis["request_id"] = error.request_id
    return basis


def lines(error: BaseException) -> list[str]:
    """Return the error as lines for people."""
    head = "interrupted" if _exit_code(error) == INTERRUPTED else "error"
    said = [f"{head}: {_message(error)}"]
    if isinstance(error, InvalidInput):
        said += _problems(error)
    if isinstance(error, ProviderError) and error.request_id:
        said.append(f"  request id for {error.provider or 'the provider'}'s support: {error.request_id}")
    hint = _hint(error)
    if hint:
        said.append(f"hint: {hint}")
    return said + list(getattr(error, "__notes__", ()))


def _problems(error: InvalidInput) -> list[str]:
    shown = []
    for problem in error.problems:
        where = error.source if problem.line is None else f"{error.source}:{problem.line}"
        remedy = f" ({problem.remedy})" if problem.remedy else ""
        shown.append(f"  {where}: {problem.message}{remedy}")
    rest = error.total - len(error.problems)
    return [*shown, f"  and {rest:,} more"] if rest > 0 else shown


def _message(error: BaseException) -> str:
    match error:
        case click.ClickException():
            return error.format_message()
        case Interrupted():
            return f"job {error.job_id} is safe"
        case KeyboardInterrupt() | click.Abort():
            return "nothing was left half done"
        case BydawnError():
            return str(error)
        case OSError():
            return f"{error.strerror or type(error).__name__}" + (f": {error.filename}" if error.filename else "")
        case _:
            return f"unexpected {type(error).__name__}: {error}"


def _hint(error: BaseException) -> str | None:
    match error:
        case BydawnError():
            return error.hint
        case Interrupted():
            return f"The same command continues it, and so does `bydawn wait {error.job_id}`."
        case KeyboardInterrupt() | click.Abort():
            return "The same command can be run again."
        case OSError():
            return "The state is safe; once this is set right, the same command continues."
        case click.UsageError() if error.ctx is not None:
            return f"`{error.ctx.command_path} --help` shows how it is called."
        case _ if _exit_code(error) == BUG:
            return "This is a bug in bydawn. The state is safe. Set BYDAWN_DEBUG=1 to see where it happened."
        case _:
            return None


def _after_broken_pipe() -> int:
    """Keep the interpreter from complaining again when it flushes stdout at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE
