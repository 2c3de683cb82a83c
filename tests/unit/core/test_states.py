"""The tables of states are closed, and the schema and the types say the same as they do."""

from __future__ import annotations

import re
from itertools import product
from typing import get_args

import pytest

from bydawn.core.states import (
    AT_PROVIDER,
    BATCH,
    BATCH_STATES,
    FINAL_BATCH_STATES,
    JOB,
    JOB_STATES,
    BatchState,
    IllegalMove,
    JobState,
    move_batch,
    move_job,
)
from bydawn.store.queries import migrations

BATCH_EVENTS = sorted({event for _, event in BATCH})
JOB_EVENTS = sorted({event for _, event in JOB})


@pytest.mark.parametrize(
    ("state", "event"),
    sorted(set(product((*BATCH_STATES, "unheard_of"), (*BATCH_EVENTS, "unheard_of"))) - BATCH.keys()),
)
def test_a_batch_refuses_every_event_that_is_not_in_the_table(state: str, event: str) -> None:
    with pytest.raises(IllegalMove, match=f"a batch that is {state} cannot {event}"):
        move_batch(state, event)


@pytest.mark.parametrize(
    ("state", "event"), sorted(set(product((*JOB_STATES, "unheard_of"), (*JOB_EVENTS, "unheard_of"))) - JOB.keys())
)
def test_a_job_refuses_every_event_that_is_not_in_the_table(state: str, event: str) -> None:
    with pytest.raises(IllegalMove, match=f"a job that is {state} cannot {event}"):
        move_job(state, event)


@pytest.mark.parametrize(("table", "states"), [(BATCH, BATCH_STATES), (JOB, JOB_STATES)])
def test_the_tables_lead_from_known_states_to_known_states(
    table: dict[tuple[str, str], str], states: tuple[str, ...]
) -> None:
    assert {state for state, _ in table} | set(table.values()) == set(states)


def test_nothing_leads_out_of_a_final_batch() -> None:
    assert {state for state in BATCH_STATES if not any(before == state for before, _ in BATCH)} == FINAL_BATCH_STATES


def test_only_a_retry_leads_out_of_a_job_that_is_over() -> None:
    assert {event for state, event in JOB if state in ("done", "cancelled")} == {"retry"}


def test_every_batch_can_still_reach_a_final_state() -> None:
    """A state from which no way leads on would hold its rows for ever."""
    ending = set(FINAL_BATCH_STATES)
    while more := {before for (before, _), after in BATCH.items() if after in ending} - ending:
        ending |= more
    assert ending == set(BATCH_STATES)


def test_nothing_is_sent_but_from_planned() -> None:
    """Promise 2: a batch that may be at its provider is never sent; it must first be known absent."""
    assert [state for state, event in BATCH if event == "send"] == ["planned"]
    assert {(state, event) for (state, event), after in BATCH.items() if after == "planned"} == {
        ("submitting", "not_sent"),
        ("in_doubt", "absent"),
    }
    assert AT_PROVIDER.isdisjoint(FINAL_BATCH_STATES | {"planned", "ended"})


def test_the_types_name_the_same_states() -> None:
    assert get_args(BatchState) == BATCH_STATES
    assert get_args(JobState) == JOB_STATES


def test_the_schema_checks_for_the_same_states() -> None:
    schema = "\n".join(script for _, script in migrations())
    lists = [tuple(re.findall(r"'(\w+)'", found)) for found in re.findall(r"CHECK \(state IN \(([^)]*)\)\)", schema)]
    assert lists == [JOB_STATES, BATCH_STATES]
