"""Services bend their results and their batches: every row still gets its one result, at its price.

Strange lines, missing rows, cut files, unknown words, batches that fail, expire or are cancelled by somebody else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from bydawn.core.settings import EngineSettings
from bydawn.sandbox import BatchFault, CallFault, FaultPlan, RowFault
from support.checks import (
    ALWAYS_503,
    BAD,
    ONCE_500,
    REFUSED,
    Script,
    carried_rows,
    check_answers,
    check_batches,
    check_end,
    check_executions,
    check_no_overlap,
    check_output,
    check_store,
    executions,
    make_rows,
    provider_batches,
    records_of,
)
from support.lab import Lab

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

COUNT = 12
SCRIPTS = {2: ONCE_500, 5: BAD, 9: REFUSED}
ROWS = make_rows(COUNT, SCRIPTS)
ENGINE = EngineSettings(poll_min_s=120.0, poll_max_s=1_800.0, max_batch_rows=6, settle_wait_s=60.0)


def lab_of(
    folder: Path, *quirks: BatchFault, rows: tuple[RowFault, ...] = (), calls: tuple[CallFault, ...] = ()
) -> Lab:
    """A laboratory with these quirks."""
    return Lab(folder, engine=ENGINE, faults=FaultPlan(batch=quirks, row=rows, call=calls))


HARMLESS = {
    "ids_empty": {},
    "ids_absent": {},
    "legacy": {},
    "status_word": {"text": "queued"},
    "counts_lie": {},
    "counts_zero": {},
    "extra_row": {},
    "blank_lines": {},
    "no_final_newline": {},
    "crlf": {},
}


@pytest.mark.parametrize("quirk", HARMLESS)
def test_a_quirk_that_costs_nothing(folder: Path, quirk: str) -> None:
    lab = lab_of(folder, BatchFault(quirk=quirk, **HARMLESS[quirk]))  # type: ignore[arg-type]

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def test_all_quirks_that_cost_nothing_at_once(folder: Path) -> None:
    lab = lab_of(folder, *(BatchFault(quirk=quirk, **more) for quirk, more in HARMLESS.items()))  # type: ignore[arg-type]

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def test_lines_nobody_asked_for_are_kept_aside_and_reported(folder: Path) -> None:
    lab = lab_of(folder, BatchFault(quirk="extra_row", batches=(1,)))

    run = lab.run(ROWS)

    check_end(lab, run, COUNT, SCRIPTS)
    strays = list(lab.home.glob("jobs/*/strays/*"))
    assert len(strays) == 1
    assert b"Nobody asked." in strays[0].read_bytes()
    assert any("nobody asked for" in notice for notice in run.notices)


# --- rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
def test_missing_rows_are_sent_again(folder: Path, times: int) -> None:
    scripts = {3: Script(f"[[sandbox: missing times={times}]]", (200,) * (times + 1), "succeeded")}
    lab = lab_of(folder)

    check_end(lab, lab.run(make_rows(COUNT, scripts)), COUNT, scripts)


def test_rows_that_are_always_missing_are_given_up(folder: Path) -> None:
    scripts = {3: Script("[[sandbox: missing]]", (200, 200, 200), "failed")}
    lab = lab_of(folder)

    run = lab.run(make_rows(COUNT, scripts))

    check_end(lab, run, COUNT, scripts)
    assert records_of(run.output)[3]["error"]["kind"] == "missing"


def test_a_row_that_comes_twice_counts_once(folder: Path) -> None:
    lab = lab_of(folder, rows=(RowFault(outcome="duplicate", rows=(1, 4)),))

    run = lab.run(ROWS)

    check_end(lab, run, COUNT, SCRIPTS)


@pytest.mark.parametrize("directive", ["status_0", "timeout", "status=408", "status=429", "status=500", "status=503"])
def test_a_row_that_failed_for_a_while_is_sent_again(folder: Path, directive: str) -> None:
    status = int(directive.partition("=")[2] or 0)
    scripts = {3: Script(f"[[sandbox: {directive} times=2]]", (status, status, 200), "succeeded")}
    lab = lab_of(folder)

    check_end(lab, lab.run(make_rows(COUNT, scripts)), COUNT, scripts)


@pytest.mark.parametrize("directive", ["status=400", "status=404", "flagged", "status=413", "status=422", "status=403"])
def test_a_row_that_is_refused_is_never_sent_again(folder: Path, directive: str) -> None:
    status = int(directive.partition("=")[2] or 400)
    scripts = {3: Script(f"[[sandbox: {directive}]]", (status,), "failed")}
    lab = lab_of(folder)

    check_end(lab, lab.run(make_rows(COUNT, scripts)), COUNT, scripts)


def test_attempts_are_bounded(folder: Path) -> None:
    scripts = dict.fromkeys(range(COUNT), ALWAYS_503)
    lab = lab_of(folder)

    run = lab.run(make_rows(COUNT, scripts))

    check_end(lab, run, COUNT, scripts)
    assert {record["attempts"] for record in records_of(run.output)} == {3}


@pytest.mark.parametrize("status", [400, 429, 500])
def test_a_batch_of_which_every_row_failed(folder: Path, status: int) -> None:
    """The output file's id is null then, though the batch completed."""
    lab = lab_of(folder, BatchFault(quirk="all_failed", status=status, batches=(1, 2)))
    rows = make_rows(COUNT)

    run = lab.run(rows)

    assert run.error is None
    check_batches(lab)
    check_store(lab)
    final = "failed" if status == 400 else "succeeded"
    assert {record["status"] for record in records_of(run.output)} == {final}
    wanted = [400] if status == 400 else [status, 200]
    assert all(sorted(found, reverse=True) == sorted(wanted, reverse=True) for found in executions(lab).values())


@pytest.mark.parametrize("batches", [(1,), (1, 2)])
def test_a_file_whose_last_line_stays_cut_costs_that_row_alone(folder: Path, batches: tuple[int, ...]) -> None:
    lab = lab_of(folder, BatchFault(quirk="cut_last_line", batches=batches))

    run = lab.run(make_rows(COUNT))

    assert run.error is None
    check_output(run.output, COUNT, {})
    check_batches(lab)
    check_store(lab)
    again = [row for row, found in executions(lab).items() if found != [200]]
    assert len(again) == len(batches), "only the row whose line nobody can read may be executed again"


# --- batches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.34, 0.5, 0.99])
def test_finished_rows_of_an_expired_batch_are_kept_and_the_others_sent_again(folder: Path, share: float) -> None:
    lab = lab_of(folder, BatchFault(quirk="expire", value=share, batches=(1, 2)))

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


@pytest.mark.parametrize("size", [0, 20, 700])
@pytest.mark.parametrize("calls", [(1,), (1, 2, 3)])
def test_an_expired_batch_whose_file_comes_cut_keeps_its_finished_rows(
    folder: Path, size: int, calls: tuple[int, ...]
) -> None:
    lab = lab_of(
        folder,
        BatchFault(quirk="expire", value=0.5, batches=(1,)),
        calls=(CallFault(on="files.content", action="truncate", bytes=size, calls=calls),),
    )

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def test_a_batch_that_is_stuck_until_it_expires(folder: Path) -> None:
    lab = lab_of(folder, BatchFault(quirk="stuck", batches=(1,)))

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def test_rows_that_expire_every_time_end_as_expired(folder: Path) -> None:
    lab = lab_of(folder, BatchFault(quirk="expire", value=0.5))
    rows = make_rows(COUNT)

    run = lab.run(rows)

    assert run.error is None
    check_batches(lab)
    check_store(lab)
    assert {record["status"] for record in records_of(run.output)} == {"succeeded", "expired"}
    assert all(found == [200] for found in executions(lab).values())


@pytest.mark.parametrize("word", ["cancelled", "canceled"])
@pytest.mark.parametrize("empty", [False, True])
def test_a_batch_that_somebody_else_cancelled(folder: Path, word: str, empty: bool) -> None:
    quirks = [BatchFault(quirk="cancelled_word", text=word)]
    if empty:
        quirks.append(BatchFault(quirk="cancel_empty"))
    lab = lab_of(folder, *quirks)
    lab.trip = _cancelling_at_first_poll(lab)

    run = lab.run(ROWS)

    assert run.error is None, run.error
    assert "cancelled" in {batch["status"] for batch in provider_batches(lab)}
    check_output(run.output, COUNT, SCRIPTS)
    check_batches(lab)
    check_store(lab)
    if not empty:
        check_end(lab, run, COUNT, SCRIPTS)


def _cancelling_at_first_poll(lab: Lab) -> object:
    done = False

    async def trip(request: httpx2.Request) -> None:
        nonlocal done
        assert lab.world is not None
        if request.url.path.startswith("/v1/batches/") and not done:
            done = True
            batch_id = request.url.path.split("/")[-1]
            lab.world._actors[0].cancel(batch_id)  # type: ignore[attr-defined]

    return trip


@pytest.mark.parametrize("lines", [(1,), (2, 5), (6,), (1, 2, 3, 4, 5, 6)])
def test_lines_that_validation_refuses_fail_and_the_others_are_sent_again(folder: Path, lines: tuple[int, ...]) -> None:
    fail = BatchFault(quirk="fail", batches=(1,), lines=lines, code="invalid_request", message="Odd line indeed.")
    lab = lab_of(folder, fail)
    rows = make_rows(COUNT)

    run = lab.run(rows)

    assert run.error is None, run.error
    check_batches(lab)
    check_store(lab)
    failed = [record for record in records_of(run.output) if record["status"] == "failed"]
    refused = carried_rows(lab, provider_batches(lab)[0])
    assert {record["row"] for record in failed} == {
        row for line, row in enumerate(refused.values(), 1) if line in lines
    }
    assert all(record["error"]["message"] == "Odd line indeed." for record in failed)
    found = executions(lab)
    assert sorted(found) == [record["row"] for record in records_of(run.output) if record["status"] == "succeeded"]
    assert all(statuses == [200] for statuses in found.values())


@pytest.mark.parametrize("batches", [(1,), (1, 2, 3)])
def test_a_batch_that_failed_without_a_reason_is_tried_again(folder: Path, batches: tuple[int, ...]) -> None:
    lab = lab_of(folder, BatchFault(quirk="fail_without_errors", batches=batches))

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def test_batches_that_always_fail_without_a_reason_are_given_up(folder: Path) -> None:
    lab = lab_of(folder, BatchFault(quirk="fail_without_errors"))

    run = lab.run(ROWS)

    assert run.error is None, run.error
    check_store(lab)
    assert {record["status"] for record in records_of(run.output)} == {"failed"}
    assert {record["error"]["kind"] for record in records_of(run.output)} == {"batch_refused"}
    assert len(provider_batches(lab)) <= 12, "a storm of batches"
    assert not executions(lab)


@pytest.mark.parametrize("code", ["model_not_found", "billing_hard_limit_reached", "odd_new_code"])
def test_a_refusal_of_the_whole_batch_ends_without_a_storm(folder: Path, code: str) -> None:
    lab = lab_of(folder, BatchFault(quirk="fail", code=code, message="No."))

    run = lab.run(ROWS)

    assert len(provider_batches(lab)) <= 12
    assert not executions(lab)
    if code == "billing_hard_limit_reached":
        assert run.error is not None
        lab.faults = FaultPlan()
        check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)
    else:
        assert {record["status"] for record in records_of(run.output)} == {"failed"}


def test_enqueued_tokens_are_waited_for_without_a_storm_of_refusals(folder: Path) -> None:
    rows = make_rows(48)
    lab = Lab(folder, engine=ENGINE, sandbox={"enqueued_tokens_max": 130})

    run = lab.run(rows)

    check_end(lab, run, 48)
    refused = [batch for batch in provider_batches(lab) if batch["status"] == "failed"]
    assert len(refused) <= 12, f"{len(refused)} refusals"


def test_a_limit_that_is_far_below_our_estimate_is_met_by_smaller_batches(folder: Path) -> None:
    lab = Lab(folder, engine=ENGINE, sandbox={"enqueued_tokens_max": 40})

    run = lab.run(make_rows(COUNT))

    check_end(lab, run, COUNT)
    refused = [batch for batch in provider_batches(lab) if batch["status"] == "failed"]
    assert len(refused) <= 12, f"{len(refused)} refusals"


def test_somebody_elses_tokens_fill_the_limit_for_a_while(folder: Path) -> None:
    full = BatchFault(
        quirk="fail", batches=(1, 2, 3, 4, 5), code="token_limit_exceeded", message="Enqueued token limit reached."
    )
    lab = lab_of(folder, full)

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def test_a_limit_that_stays_full_for_hours_is_not_stormed(folder: Path) -> None:
    """Nobody says what the limit is, and nothing of ours has to end before there is room again."""
    full = BatchFault(quirk="fail", code="token_limit_exceeded", message="Enqueued token limit reached.")
    lab = lab_of(folder, full)
    lab.engine = replace(ENGINE, poll_min_s=5.0, poll_max_s=300.0)

    async def trip(_: httpx2.Request) -> None:
        assert lab.world is not None
        assert lab.loop is not None
        if lab.loop.time() > 4 * 3_600 and lab.world.faults.plan.batch:
            lab.world.faults.replace(FaultPlan())

    lab.trip = trip

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)
    refused = [batch for batch in provider_batches(lab) if batch["status"] == "failed"]
    assert len(refused) <= 30, f"{len(refused)} refusals in four hours"


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["output", "error"])
def test_a_result_file_that_has_vanished_is_no_reason_to_pay_twice(folder: Path, kind: str) -> None:
    scripts = {1: BAD}
    lab = lab_of(folder)
    vanished: list[str] = []

    async def trip(request: httpx2.Request) -> None:
        if request.url.path.endswith("/content") and not vanished and _is_of_kind(lab, request.url.path, kind):
            vanished.append(request.url.path.split("/")[-2])
            (lab.provider / "files" / vanished[0]).unlink()
            assert lab.world is not None
            lab.world.store.delete("openai.file", vanished[0])

    lab.trip = trip
    run = lab.run(make_rows(COUNT, scripts))

    assert run.error is None, run.error
    assert vanished
    check_executions(lab, COUNT, {1: Script("", (400,) * (1 + (kind == "error")), "failed")})
    check_batches(lab)
    check_store(lab)
    ended = [record["status"] for record in records_of(run.output)]
    assert len(ended) == COUNT
    assert ended.count("succeeded") >= COUNT // 2 - 1
    assert all(record["error"] for record in records_of(run.output) if record["status"] != "succeeded")


def _is_of_kind(lab: Lab, path: str, kind: str) -> bool:
    assert lab.world is not None
    record = lab.world.store.get("openai.file", path.split("/")[-2])
    return record is not None and msgspec.json.decode(record.data)["filename"].endswith(f"_{kind}.jsonl")


def test_an_input_file_that_vanished_before_the_create_is_sent_again(folder: Path) -> None:
    lab = lab_of(folder)
    struck = False

    async def trip(request: httpx2.Request) -> None:
        nonlocal struck
        if request.method == "POST" and request.url.path == "/v1/batches" and not struck:
            struck = True
            assert lab.world is not None
            for path in (lab.provider / "files").iterdir():
                lab.world.store.delete("openai.file", path.name)

    lab.trip = trip

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def test_a_batch_that_its_provider_no_longer_knows(folder: Path) -> None:
    lab = lab_of(folder, calls=(CallFault(on="batches.retrieve", action="status", status=404, calls=(1, 2, 3)),))

    check_end(lab, lab.run(ROWS), COUNT, SCRIPTS)


def test_another_rows_answer_is_noticed(folder: Path) -> None:
    """The oracle itself: answers that changed places must not pass."""
    lab = lab_of(folder)
    run = lab.run(make_rows(3))
    records = records_of(run.output)
    records[0]["text"], records[1]["text"] = records[1]["text"], records[0]["text"]

    with pytest.raises(AssertionError, match="another row's answer"):
        check_answers(lab, b"\n".join(msgspec.json.encode(record) for record in records))


def test_overlap_is_noticed(folder: Path) -> None:
    """The oracle itself: two live batches with the same rows must not pass."""
    lab = lab_of(folder)
    lab.run(make_rows(3))
    batches = provider_batches(lab)

    with pytest.raises(AssertionError, match="two live batches"):
        check_no_overlap(lab, [*batches, *batches])
