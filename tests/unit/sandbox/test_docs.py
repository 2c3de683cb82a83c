"""The sandbox's page: every word of a fault plan is in it, and its examples work."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from bydawn.sandbox import load_fault_plan
from bydawn.sandbox.faults import BatchQuirk, CallAction, RowOutcome

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("words", [CallAction, RowOutcome, BatchQuirk])
def test_every_word_of_a_plan_is_explained(words):
    assert [word for word in get_args(words) if f"`{word}`" not in PAGE] == []


def test_every_kind_of_call_is_named(box):
    kinds = {route.app._kind for route in box.app.routes if hasattr(route.app, "_kind")}
    assert len(kinds) == 16
    assert [kind for kind in kinds if f"`{kind}`" not in PAGE] == []


def test_the_plan_on_the_page_can_be_read(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(block("toml"))
    plan = load_fault_plan(path)
    assert (len(plan.call), len(plan.row), len(plan.batch)) == (2, 1, 1)


def test_the_python_example_runs():
    done = subprocess.run([sys.executable, "-c", block("python")], capture_output=True, text=True, check=True)
    assert done.stdout == "503 server_is_overloaded\n"
