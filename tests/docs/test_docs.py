"""What the pages say is so: commands parse, links lead somewhere, names exist, and nothing public goes unsaid."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import fields
from typing import TYPE_CHECKING, get_args

import click
import pytest

import bydawn
from bydawn import config
from bydawn.adapt import load_facts
from bydawn.adapt.rules import AnyRule
from bydawn.cli.app import EXIT_CODES, app
from bydawn.cli.errors import BROKEN_PIPE, BUG
from bydawn.core.batch import Limits
from bydawn.core.result import ErrorKind
from bydawn.core.settings import EngineSettings
from bydawn.engine.failures import REMEDIES
from bydawn.pricing import load_prices
from bydawn.providers.registry import get_provider
from bydawn.sandbox import load_fault_plan
from support.pages import DOCS, PAGES, ROOT, all_blocks, prose

if TYPE_CHECKING:
    from pathlib import Path

    from support.pages import Block

OF_OTHERS = frozenset({"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE"})
"""Variables that the HTTP library reads."""
VARIABLE = re.compile(r"\b(?:BYDAWN|OPENAI)_[A-Z][A-Z_]*[A-Z]\b")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CONFIGURATION = (DOCS / "configuration.md").read_text("utf-8")


def sources() -> str:
    """Return all of bydawn's Python."""
    return "\n".join(path.read_text("utf-8") for path in (ROOT / "src/bydawn").rglob("*.py"))


# --- commands ------------------------------------------------------------------------------------------------------


def command_lines() -> list[tuple[str, str]]:
    """Return ``(where, command line)`` for every command of ours in a block, without what a shell does around it."""
    found = []
    for block in all_blocks("bash", "sh", "console"):
        lines = [line for line, _ in block.commands()] if block.language == "console" else block.text.split("\n")
        found += [(str(block), line) for line in lines if "bydawn" in _words(line)]
    return found


def _words(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    if ".venv/bin/bydawn" in words:
        words[words.index(".venv/bin/bydawn")] = "bydawn"
    return words


@pytest.mark.parametrize(("where", "line"), command_lines())
def test_a_command_parses(where: str, line: str) -> None:
    words = _words(line)
    arguments = words[words.index("bydawn") + 1 :]
    with click.Context(app, info_name="bydawn") as root:
        name, command, rest = app.resolve_command(root, arguments)
        assert command is not None
        command.make_context(name, list(rest), parent=root)


def test_commands_named_in_the_text_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`bydawn ([a-z]+)[ `]", prose(page)):
            assert name in app.list_commands(click.Context(app)), f"{page}: bydawn {name}"


def test_options_named_in_the_text_exist() -> None:
    root = click.Context(app)
    commands = [app.get_command(root, name) for name in app.list_commands(root)]
    known = {opt for command in commands if command for parameter in command.params for opt in parameter.opts}
    for page in PAGES:
        if page.parent != DOCS and page.name != "README.md":
            continue
        for option in re.findall(r"`(--[a-z][a-z-]*)", prose(page)):
            assert option in known | {"--help"}, f"{page}: {option}"


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for name in app.list_commands(click.Context(app)):
        assert f"`bydawn {name}" in readme


# --- code ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", all_blocks("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    ast.parse(block.text)


# --- links ---------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as web sites make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_reached_from_the_index() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(prose(DOCS / "index.md"))}
    assert set(DOCS.rglob("*.md")) - linked == {DOCS / "index.md"}


def test_decisions_are_numbered_without_gaps_and_say_what_would_change_them() -> None:
    pages = sorted((DOCS / "adr").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text("utf-8")
        for part in ("Context", "Decision", "Consequences", "What would change our mind"):
            assert f"**{part}.**" in text, f"{page.name}: {part}"


# --- names ---------------------------------------------------------------------------------------------------------


def test_variables_in_the_pages_exist() -> None:
    known = set(VARIABLE.findall(sources()))
    for page in PAGES:
        assert set(VARIABLE.findall(page.read_text("utf-8"))) <= known, page


def test_every_variable_is_documented() -> None:
    read = set(re.findall(r'"((?:BYDAWN|OPENAI)_[A-Z_]+)"', sources()))
    assert read
    assert {name for name in read if f"`{name}`" not in CONFIGURATION} == set()


def test_variables_of_others_are_the_only_other_ones() -> None:
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", CONFIGURATION))
    assert named - set(VARIABLE.findall(sources())) == OF_OTHERS


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", CONFIGURATION, re.MULTILINE))
    for field in fields(EngineSettings):
        default = "none" if field.default is None else f"{field.default:g}"
        assert rows[field.name].strip() == default


def test_every_table_and_limit_is_documented() -> None:
    assert anchors(DOCS / "configuration.md") >= config._TABLES
    for field in fields(Limits):
        assert f"`{field.name}`" in CONFIGURATION


def test_every_kind_of_rule_is_documented() -> None:
    text = (DOCS / "model-adaptation.md").read_text("utf-8")
    for kind in get_args(AnyRule):
        assert f"| `{kind.__struct_config__.tag}` |" in text


@pytest.mark.parametrize("block", all_blocks("toml"), ids=str)
def test_a_configuration_is_accepted(block: Block, tmp_path: Path) -> None:
    """What it then does is shown by the commands below it (test_transcripts.py)."""
    (tmp_path / "it.toml").write_text(block.text, encoding="utf-8")
    if "[[call]]" in block.text:
        assert load_fault_plan(tmp_path / "it.toml").call
        return
    (tmp_path / "it.toml").rename(tmp_path / config.CONFIG_NAME)
    settings = config.load_settings({}, home=tmp_path / "home", folder=tmp_path)
    assert settings != config.load_settings({}, home=tmp_path / "home", folder=tmp_path / "elsewhere")
    load_facts(settings.rules)
    load_prices(settings.prices)


def test_the_environment_counts_more_than_the_file(tmp_path: Path) -> None:
    """As the page says, of addresses too."""
    settings = config.Settings(
        home=tmp_path,
        base_urls={"openai": "https://file.example/v1"},
        environment={"OPENAI_API_KEY": "sk-a", "OPENAI_BASE_URL": "https://variable.example/v1"},
    )
    assert config.account_for(get_provider("openai"), settings).base_url == "https://variable.example/v1"
    (tmp_path / config.CONFIG_NAME).write_text("[engine]\npoll_max_s = 50\n", encoding="utf-8")
    read = config.load_settings({"BYDAWN_POLL_MAX": "70"}, home=tmp_path, folder=tmp_path / "elsewhere")
    assert read.engine.poll_max_s == 70


def test_exit_codes_are_those_of_the_program() -> None:
    text = (DOCS / "errors-and-recovery.md").read_text("utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    shown = {int(code) for code in re.findall(r"^ +(\d+) ", EXIT_CODES, re.MULTILINE)}
    assert documented == shown | {BUG, BROKEN_PIPE}


def test_every_kind_of_error_is_documented_and_has_a_remedy() -> None:
    text = (DOCS / "output-format.md").read_text("utf-8")
    for kind in get_args(ErrorKind):
        assert f"| `{kind}` |" in text
        assert REMEDIES[kind]


def test_public_names_are_explained() -> None:
    pages = "\n".join(page.read_text("utf-8") for page in PAGES)
    for name in bydawn.__all__:
        assert getattr(bydawn, name).__doc__
        assert re.search(rf"bydawn\.{name}\b", pages), name


def test_troubleshooting_quotes_what_the_program_says() -> None:
    """Symptoms in the first column that are quoted as code stand in the code; … is what the program fills in."""
    text = re.sub(r"\s+", " ", sources())
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    symptoms = re.findall(r"^\| (?!symptom|---)([^|]*) \|", page, re.MULTILINE)
    assert len(symptoms) >= 15
    for quoted in re.findall(r"`([^`]*)`", "\n".join(symptoms)):
        for piece in quoted.split("…"):
            assert piece.strip() in text, f"{quoted!r}: {piece.strip()!r}"
