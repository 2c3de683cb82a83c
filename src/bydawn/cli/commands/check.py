"""``check``: what a run would do and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bydawn.cli.invocation import Invocation, pass_invocation
from bydawn.cli.options import (
    JobArgs,
    OutputArgs,
    RequestArgs,
    SandboxArgs,
    json_option,
    new_job_options,
    output_options,
    quiet_option,
    request_options,
    sandbox_options,
)

if TYPE_CHECKING:
    from decimal import Decimal

    from bydawn.cli.interrupts import Interrupts
    from bydawn.client import Client
    from bydawn.core.job import LanePlan, PlanReport


@click.command("check")
@request_options
@output_options
@new_job_options
@sandbox_options
@json_option
@quiet_option
@pass_invocation
def check(invocation: Invocation, /, **values: Any) -> int:
    """Show what `bydawn run` with the same arguments would send, and what it would cost. Nothing is sent.

    Takes the options of `bydawn run`, so that one word in the command line is all that changes.
    """
    from bydawn.cli import records
    from bydawn.cli.output import check_output

    strict = JobArgs.take(values).strict
    SandboxArgs.take(values)  # a plan is the same with and without the sandbox
    remark = check_output(OutputArgs.take(values))
    report = _plan(RequestArgs.take(values))
    if invocation.json:
        invocation.emit(records.plan(report))
    elif not values["quiet"]:
        invocation.say(*_lines(report), *([f"  note: {remark}"] if remark else []), "nothing was sent")
    if strict:
        _refuse_adjustments(report)
    return 0


def _plan(requests: RequestArgs) -> PlanReport:
    from bydawn.cli.inputs import job_options, readable
    from bydawn.cli.session import with_client

    options = job_options(requests)

    async def work(client: Client, interrupts: Interrupts) -> PlanReport:
        with interrupts.blocking(), readable(requests.source) as source:
            return client.check(source, options)

    return with_client(work)


def _refuse_adjustments(report: PlanReport) -> None:
    from bydawn.cli.texts import adjustment
    from bydawn.errors import StrictRefusal

    if report.adjustments:
        changes = "; ".join(adjustment(change, rows) for change, rows in report.adjustments)
        raise StrictRefusal(
            f"--strict, and requests would be adjusted: {changes}",
            hint="Change the requests, or leave --strict out.",
        )


def _lines(report: PlanReport) -> list[str]:
    from bydawn.cli.texts import adjustment, count

    lines = [f"{report.source}: {count(report.rows, 'row')}, {count(report.requests, 'request')}"]
    lines += [f"  {adjustment(change, rows)}" for change, rows in report.adjustments]
    for plan in report.lanes:
        lines += _lane_lines(plan)
    return lines + [f"  note: {notice}" for notice in report.notices]


def _lane_lines(plan: LanePlan) -> list[str]:
    from bydawn.cli.texts import count, size

    most = "unbounded output" if plan.max_output_tokens is None else f"at most {plan.max_output_tokens:,} tokens out"
    source = "" if plan.price_source is None else f" (price: {plan.price_source})"
    note = [f"    {plan.price_note}"] if plan.price_note else []
    return [
        f"  {plan.lane}: {count(plan.requests, 'request')} in {count(plan.batches, 'batch')}, {size(plan.bytes)}",
        f"    tokens  about {plan.input_tokens:,} in, {most}",
        f"    cost    {_cost(plan)}{source}",
        *note,
    ]


def _cost(plan: LanePlan) -> str:
    from bydawn.cli.texts import money

    if plan.cost_least_usd is None:
        return "unknown: no price is known for this model"
    live = "" if plan.live_least_usd is None else f"; the input alone {money(plan.live_least_usd)} at the live price"
    return f"{money(plan.cost_least_usd)} for the input, {_most(plan.cost_most_usd)}{live}"


def _most(cost_usd: Decimal | None) -> str:
    from bydawn.cli.texts import money

    return (
        "no upper bound (set max_tokens to get one)"
        if cost_usd is None
        else f"about {money(cost_usd)} if every answer uses all it may"
    )
