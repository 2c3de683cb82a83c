"""What the pages show was really printed: their console blocks and programs run, against the sandbox.

A page is played from its top in a folder of its own, as a reader would. A TOML block before a command is the file that
the command reads. Only blocks that show an output are played; ``...`` stands for anything, within a line or for lines.
Numbers and ids are compared by their shape: times, prices and token counts are not what a page is about.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bydawn.sandbox import SandboxConfig, running
from support.pages import DOCS, ROOT, all_blocks, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.pages import Block

PAGES = ("quickstart", "model-adaptation", "errors-and-recovery", "cost", "configuration")
PROGRAMS = [block for block in all_blocks("python") if block.text.startswith("import ")]
"""Blocks that begin with an import are whole programs; the others are fragments."""
ROWS = 48
SHAPES = (
    (re.compile(r"batch_[0-9a-f]{32}"), "<batch>"),
    (re.compile(r"(?<=job )[a-z2-9]{8}\b|^[a-z2-9]{8}(?=  )"), "<job>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
    (re.compile(r"<n> (?:k?B|MB|min <n> s|s)\b"), "<amount>"),
    (re.compile(r" +"), " "),
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A shell's environment with ``bydawn`` on its path, without a key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BYDAWN_", "OPENAI_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"PATH": path, "BYDAWN_HOME": str(tmp_path / "home"), "COLUMNS": "200"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a page is played: the repository's examples are there, and 48 of their rows."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    lines = (ROOT / "examples/banking/rows.csv").read_text("utf-8").split("\n")
    (tmp_path / "tickets.csv").write_text("\n".join(lines[: ROWS + 1]) + "\n", encoding="utf-8")
    return tmp_path


def shape(line: str) -> str:
    """Return a line without what differs from run to run."""
    for pattern, word in SHAPES:
        line = pattern.sub(word, line)
    return line.strip()


def fits(shown: str, printed: str) -> bool:
    """Whether a line on the page is this printed one; ``...`` fits anything."""
    pieces = [re.escape(shape(piece)) for piece in shown.split("...")]
    return re.fullmatch(r"\s*.*\s*".join(pieces), shape(printed)) is not None


def first_misfit(shown: Sequence[str], printed: Sequence[str]) -> str | None:
    """Return the first line of the page that was not printed in its place, None when all were."""
    at = 0
    anywhere = False
    for line in shown:
        if line == "...":
            anywhere = True
            continue
        while anywhere and at < len(printed) and not fits(line, printed[at]):
            at += 1
        if at == len(printed) or not fits(line, printed[at]):
            return line
        at, anywhere = at + 1, False
    return None if anywhere or at == len(printed) else f"(nothing, where {printed[at]!r} was printed)"


def play(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Run a block's commands, and compare what they print with what the page shows."""
    for command, shown in block.commands():
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        printed = done.stdout.decode("utf-8").rstrip("\n").split("\n") if done.stdout else []
        misfit = first_misfit(shown, [line for line in printed if "Killed" not in line])
        assert misfit is None, "\n".join([f"{block}: {command}", f"not printed: {misfit}", "printed:", *printed])


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_what_is_printed(name: str, folder: Path, environment: dict[str, str]) -> None:
    played = 0
    for block in blocks(DOCS / f"{name}.md", "toml", "console"):
        if block.language == "toml":
            file = "faults.toml" if "[[call]]" in block.text else "bydawn.toml"
            (folder / file).write_text(block.text, encoding="utf-8")
        elif any(shown for _, shown in block.commands()):
            play(block, folder, environment)
            played += 1
    assert played


def test_no_page_is_forgotten() -> None:
    showing = {block.page.stem for block in all_blocks("console") if any(shown for _, shown in block.commands())}
    assert showing == set(PAGES)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a sandbox that stands in for OpenAI."""
    with running(SandboxConfig(home=tmp_path_factory.mktemp("sandbox"), instant=True)) as sandbox:
        yield sandbox.base_url


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_a_program_runs(program: Block, provider: str, folder: Path, environment: dict[str, str]) -> None:
    ours = {"OPENAI_API_KEY": "sk-docs", "OPENAI_BASE_URL": provider, "BYDAWN_POLL_MIN": "0.05", "BYDAWN_POLL_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.text],
        cwd=folder, env=environment | ours, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("shown", "printed", "right"),
    [
        (["a 1"], ["a 2"], True),
        (["a"], ["b"], False),
        (["a", "..."], ["a", "b", "c"], True),
        (["...", "c"], ["a", "b", "c"], True),
        (["...", "d"], ["a", "b", "c"], False),
        (["a"], ["a", "b"], False),
        (["a", "b"], ["a"], False),
        (["x ... z"], ["x y y z"], True),
        (["cost $0.10"], ["cost $2"], True),
        (["cost unknown"], ["cost $2"], False),
    ],
)
def test_the_comparison_can_fail(shown: list[str], printed: list[str], right: bool) -> None:
    assert (first_misfit(shown, printed) is None) is right
