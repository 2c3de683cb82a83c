"""What is said when a command leaves a job: how it went, what it cost, where the results are, what to do next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from bydawn.cli.display import words
from bydawn.cli.options import SANDBOX_FLAGS, SANDBOX_SETTINGS
from bydawn.cli.texts import count, duration, money, tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bydawn.core.job import JobStatus

KEY_VARIABLES = {"openai": "OPENAI_API_KEY"}
"""Where the key of a provider is looked up, for the hint at the end of a sandbox run."""


def report(status: JobStatus, results: str | None) -> list[str]:
    """Return the closing lines; ``results`` is where they were written, None when they were not."""
    named = f" ({status.name})" if status.name else ""
    lines = [f"job {status.job_id}{named}: {_ending(status)}{_took(status)}"]
    lines.append(_entry("rows", _rows(status)))
    lines.append(
        _entry(
            "tokens", tokens(status.input_tokens, status.output_tokens, status.cached_tokens, status.reasoning_tokens)
        )
    )
    lines += [_entry("cost", text) for text in cost(status)]
    if results is not None:
        lines.append(_entry("results", results))
    return lines + [_entry("next", text) for text in _next_steps(status, results)]


def _took(status: JobStatus) -> str:
    """How long the job took; nothing for one that goes on."""
    if status.state in ("planning", "running"):
        return ""
    return f", {duration(status.updated_at_s - status.created_at_s)} after it was begun"


def _entry(name: str, text: str) -> str:
    return f"  {name:<9}{text}"


def _ending(status: JobStatus) -> str:
    if status.state == "paused":
        return f"paused ({status.reason})" if status.reason else "paused"
    return "finished" if status.state == "done" else status.state


def _rows(status: JobStatus) -> str:
    spread = f" ({count(status.rows, 'row')} by {count(len(status.models), 'model')})" if len(status.models) > 1 else ""
    left = f", {status.pending:,} without a result yet" if status.pending else ""
    return f"{status.requests:,}{spread}: {words.outcomes(status)}{left}"


def cost(status: JobStatus) -> list[str]:
    """Say what the answers cost, what they would have cost live, and what has no known price."""
    spent = status.money
    lines = []
    if spent.cost_usd or spent.live_usd or not spent.unpriced:
        saved = f"; live price {money(spent.live_usd)}, saved {money(spent.live_usd - spent.cost_usd)}"
        lines.append(f"{money(spent.cost_usd)} at the batch price of {', '.join(status.models) or 'the models'}{saved}")
    if spent.unpriced:
        lines.append(f"{count(spent.unpriced, 'answer')} of unknown price, not counted (cost_usd is null)")
    return lines


def _next_steps(status: JobStatus, results: str | None) -> list[str]:
    steps = []
    if status.requests > status.succeeded + status.pending:
        steps.append(f"see why: bydawn failures {status.job_id}; send the failed again: bydawn retry {status.job_id}")
    if status.pending:
        steps.append(f"wait for the answers: bydawn wait {status.job_id} -o results.jsonl")
    elif results is None:
        steps.append(f"write the results: bydawn results {status.job_id} -o results.jsonl")
    return steps


def after_sandbox(status: JobStatus, arguments: Sequence[str]) -> list[str]:
    """Say that nothing was spent, and how to do the same with a key; ``arguments`` are those of this command."""
    lines = ["sandbox: nothing was sent to a provider and nothing was spent; the cost is what the model would take"]
    if SANDBOX_FLAGS.isdisjoint(arguments):
        return lines  # the job was begun by another command, which said the rest
    providers = dict.fromkeys(model.partition("/")[0] for model in status.models)
    exports = [f"  export {KEY_VARIABLES[name]}=..." for name in providers if name in KEY_VARIABLES]
    return [*lines, "the same with a key:", *exports, f"  {shlex.join(['bydawn', *without_sandbox(arguments)])}"]


def without_sandbox(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of the same command against the real provider."""
    kept = []
    rest = iter(arguments)
    for argument in rest:
        option, equals, _ = argument.partition("=")
        if option in SANDBOX_SETTINGS:
            if not equals:
                next(rest, None)
        elif argument not in SANDBOX_FLAGS:
            kept.append(argument)
    return kept
