"""Generated pages are what the code says today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bydawn.core.states import BATCH, JOB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

PAGES = ("reference/commands.md", "reference/models.md", "how-it-works.md")


@pytest.fixture
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("scripts/make_reference.py")


def test_the_script_makes_these_pages(script: ModuleType) -> None:
    assert {str(path.relative_to(script.DOCS)) for path in script.PAGES} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(script: ModuleType, name: str) -> None:
    path: Path = script.DOCS / name
    assert path.read_text("utf-8") == script.PAGES[path](), "run: python scripts/make_reference.py"


def test_no_event_is_explained_that_does_not_exist(script: ModuleType) -> None:
    assert script.BATCH_EVENTS.keys() == {event for _, event in BATCH}
    assert script.JOB_EVENTS.keys() == {event for _, event in JOB}


def test_a_block_is_renewed_between_its_marks_only(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{script.BEGIN}\nold\n{script.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(script, "HOUSE_PAGE", page)
    renewed = script.house_page()
    assert renewed == f"before\n{script.states_block()}\nafter\n"


def test_bars_do_not_break_a_table(script: ModuleType) -> None:
    assert script.table(["a"], [["x|y"]]) == ["| a |", "|---|", "| x\\|y |"]
