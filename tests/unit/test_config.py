"""Settings: the environment over the file over the defaults, wrong ones named, keys never shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bydawn.config import Settings, account_for, load_settings
from bydawn.core.settings import EngineSettings
from bydawn.errors import ConfigError
from bydawn.providers.openai import OpenAI

if TYPE_CHECKING:
    from collections.abc import Callable

    Load = Callable[..., Settings]

KEY = "sk-proj-very-secret-0123456789"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load with a given environment, ``bydawn.toml`` of the folder and of the home."""
    folder, home = tmp_path / "folder", tmp_path / "home"
    folder.mkdir()
    home.mkdir()

    def load(env: dict[str, str] | None = None, toml: str | bytes = "", home_toml: str = "") -> Settings:
        for place, text in ((folder, toml), (home, home_toml)):
            if text:
                (place / "bydawn.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_settings(env or {}, home=home, folder=folder)

    return load


# Wrong settings


@pytest.mark.parametrize(
    "variable", ["BYDAWN_POLL_MIN", "BYDAWN_POLL_MAX", "BYDAWN_MAX_BATCH_ROWS", "BYDAWN_SETTLE_WAIT"]
)
@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf", "-inf", "1e999", "0x10", "5s", " "])
def test_a_wrong_number_in_the_environment_names_its_variable(load: Load, variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        load({variable: value})


@pytest.mark.parametrize("value", ["'soon'", "-1", "nan", "inf", "[1]", "{a = 1}", "2026-11-22"])
def test_a_wrong_number_in_the_file_names_its_setting(load: Load, value: str) -> None:
    with pytest.raises(ConfigError, match=r"\[engine\] poll_min_s"):
        load(toml=f"[engine]\npoll_min_s = {value}\n")


@pytest.mark.parametrize(("written", "rows"), [("0", 1), ("0.5", 1), ("2.9", 2), ("1e3", 1000), ("50000", 50000)])
def test_a_batch_has_whole_rows_and_at_least_one(load: Load, written: str, rows: int) -> None:
    used = load({"BYDAWN_MAX_BATCH_ROWS": written}).engine.max_batch_rows
    assert (used, type(used)) == (rows, int)


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("[engin]\n", r"unknown table \[engin\]"),
        ("poll_min_s = 3\n", "poll_min_s"),
        ("[engine]\npoll_min = 3\n", "'poll_min'"),
        ("[engine\n", r"bydawn\.toml cannot be read"),
        (b"[engine]\n# \xff\n", r"bydawn\.toml cannot be read"),
        ("engine = 5\n", "engine"),
        ("base_urls = 'http://x'\n", "base_urls"),
        ("[base_urls]\nopenai = 5\n", "openai"),
        ("limits = 5\n", "limits"),
        ("[limits]\nopenai = 5\n", "openai"),
        ("[limits.mars]\nrows = 5\n", "'mars'"),
        ("[base_urls]\nmars = 'http://127.0.0.1'\n", "'mars'"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(load: Load, toml: str | bytes, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load(toml=toml)


@pytest.mark.parametrize(
    ("env", "toml"),
    [
        ({"BYDAWN_POLL_MIN": "10", "BYDAWN_POLL_MAX": "5"}, ""),
        ({"BYDAWN_POLL_MIN": "10"}, "[engine]\npoll_max_s = 5\n"),
        ({"BYDAWN_POLL_MAX": "5"}, "[engine]\npoll_min_s = 10\n"),
        ({}, "[engine]\npoll_min_s = 10\npoll_max_s = 5\n"),
    ],
)
def test_the_bounds_of_polling_must_not_cross(load: Load, env: dict[str, str], toml: str) -> None:
    with pytest.raises(ConfigError, match=r"10.*5"):
        load(env, toml)


# Which one counts


def test_without_anything_the_defaults_hold(load: Load) -> None:
    settings = load()
    assert settings.engine == EngineSettings()
    assert (settings.base_urls, settings.limits, settings.rules, settings.prices) == ({}, {}, {}, {})
    assert settings.realm == "live"


def test_the_environment_is_stronger_than_the_file(load: Load) -> None:
    toml = "[engine]\npoll_min_s = 2\npoll_max_s = 50\nmax_batch_rows = 7\nuploads = 3\nsettle_wait_s = 9\n"
    settings = load({"BYDAWN_POLL_MAX": "60", "BYDAWN_MAX_BATCH_ROWS": "8", "BYDAWN_POLL_MIN": ""}, toml)
    dials = settings.engine
    assert (dials.poll_min_s, dials.poll_max_s, dials.max_batch_rows, dials.uploads) == (2.0, 60.0, 8, 3)
    assert dials.settle_wait_s == 9.0


def test_the_folders_file_is_stronger_than_the_homes(load: Load) -> None:
    assert load(home_toml="[engine]\nuploads = 3\n").engine.uploads == 3
    assert load(toml="[engine]\nuploads = 4\n", home_toml="[engine]\nuploads = 3\n").engine.uploads == 4


@pytest.mark.parametrize(
    ("env", "bounds"),
    [
        ({"BYDAWN_POLL_MAX": "2"}, (2.0, 2.0)),
        ({"BYDAWN_POLL_MIN": "900"}, (900.0, 900.0)),
        ({"BYDAWN_POLL_MIN": "0.05"}, (0.05, 300.0)),
        ({"BYDAWN_POLL_MIN": "4", "BYDAWN_POLL_MAX": "4"}, (4.0, 4.0)),
    ],
)
def test_one_bound_of_polling_moves_the_default_of_the_other(
    load: Load, env: dict[str, str], bounds: tuple[float, float]
) -> None:
    dials = load(env).engine
    assert (dials.poll_min_s, dials.poll_max_s) == bounds


def test_whoever_polls_often_is_not_kept_waiting_elsewhere(load: Load) -> None:
    quick = load({"BYDAWN_POLL_MIN": "0.05"}).engine
    assert quick.retry_first_s < 0.5
    assert quick.settle_wait_s < 60.0
    assert load({"BYDAWN_POLL_MIN": "20"}).engine.settle_wait_s == EngineSettings().settle_wait_s
    assert load({"BYDAWN_POLL_MIN": "0.05", "BYDAWN_SETTLE_WAIT": "33"}).engine.settle_wait_s == 33.0


def test_tables_are_handed_on(load: Load) -> None:
    settings = load(toml="[limits.openai]\nrows = 5\n[base_urls]\nopenai = 'http://127.0.0.1:1/v1'\n")
    assert settings.limits == {"openai": {"rows": 5}}
    assert settings.base_urls == {"openai": "http://127.0.0.1:1/v1"}


def test_where_the_home_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert load_settings({}, folder=tmp_path).home == tmp_path / "user" / ".bydawn"
    assert load_settings({"BYDAWN_HOME": ""}, folder=tmp_path).home == tmp_path / "user" / ".bydawn"
    assert load_settings({"BYDAWN_HOME": "~/x"}, folder=tmp_path).home == tmp_path / "user" / "x"
    given = load_settings({"BYDAWN_HOME": "/elsewhere"}, home=Path("/given"), folder=tmp_path)
    assert given.home == Path("/given")


def test_the_process_environment_is_used_when_none_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BYDAWN_HOME", str(tmp_path))
    monkeypatch.setenv("BYDAWN_MAX_BATCH_ROWS", "77")
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert (settings.home, settings.engine.max_batch_rows) == (tmp_path, 77)


# Keys and addresses


@pytest.mark.parametrize("env", [{}, {"OPENAI_API_KEY": ""}, {"openai_api_key": KEY}])
def test_without_a_key_the_variable_is_named(load: Load, env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="no key for openai") as caught:
        account_for(OpenAI(), load(env))
    assert "OPENAI_API_KEY" in (caught.value.hint or "")
    assert "--sandbox" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("env_url", "set_url", "used"),
    [
        ("", None, "https://api.openai.com/v1"),
        ("https://eu.api.openai.com/v1", None, "https://eu.api.openai.com/v1"),
        ("https://eu.api.openai.com/v1", "http://127.0.0.1:9/v1", "https://eu.api.openai.com/v1"),
        ("", "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"),
    ],
)
def test_which_address_is_used(load: Load, env_url: str, set_url: str | None, used: str) -> None:
    """As with everything else, the environment is stronger than the file."""
    toml = f"[base_urls]\nopenai = '{set_url}'\n" if set_url else ""
    account = account_for(OpenAI(), load({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": env_url}, toml))
    assert account.base_url == used
    assert account.key.reveal() == KEY


@pytest.mark.parametrize(
    "url", ["api.openai.com", "ftp://x/v1", "https://user:pw@x/v1", "https://x/v1?key=1", "http://"]
)
def test_an_address_that_is_none_is_refused(load: Load, url: str) -> None:
    with pytest.raises(ConfigError, match="openai") as caught:
        account_for(OpenAI(), load({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url}))
    assert "pw" not in str(caught.value)


def test_keys_are_never_shown(load: Load) -> None:
    settings = load({"OPENAI_API_KEY": KEY})
    account = account_for(OpenAI(), settings)
    texts: list[Any] = [settings, account, account.key, [account], {"a": account.key}]
    for shown in texts:
        assert KEY not in f"{shown!r} {shown!s}"
    with pytest.raises(ConfigError) as caught:
        account_for(OpenAI(), load({"OPENAI_API_KEY": f"{KEY} and more"}))
    assert KEY not in f"{caught.value!r} {caught.value.hint}"


def test_who_pays_is_said_with_every_call(load: Load) -> None:
    """Where one key serves several organisations or projects."""
    account = account_for(OpenAI(), load({"OPENAI_API_KEY": KEY, "OPENAI_PROJECT_ID": "proj_a", "OPENAI_ORG_ID": ""}))
    assert account.headers == {"OpenAI-Project": "proj_a"}
