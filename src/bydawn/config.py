"""Settings: environment, ``bydawn.toml`` and defaults, in that order of strength.

Keys are read from the environment only (a configuration file may name the variable). They live in `Account` objects,
which never print them, and nowhere else.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bydawn.core.settings import EngineSettings
from bydawn.errors import ConfigError
from bydawn.providers.registry import PROVIDERS
from bydawn.transports.account import Account, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bydawn.providers.base import Provider

CONFIG_NAME = "bydawn.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is configured.

    ``home`` is the state folder. ``base_urls`` overrides a provider's address (the sandbox does). ``rules`` and
    ``prices`` are the user's own facts, merged over the shipped ones. ``environment`` is where keys are looked up.
    """

    home: Path
    engine: EngineSettings = field(default_factory=EngineSettings)
    base_urls: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, Any] = field(default_factory=dict)
    prices: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    realm: str = "live"
    """``live``, or ``sandbox``: jobs of one never continue in the other."""


def load_settings(
    environment: Mapping[str, str] | None = None, *, home: Path | None = None, folder: Path | None = None
) -> Settings:
    """Read ``bydawn.toml`` from ``folder`` (the working directory) or from the home, then the environment over it.

    Raises ConfigError naming the file or variable that does not fit.
    """
    env = os.environ if environment is None else environment
    where = home or Path(env.get("BYDAWN_HOME") or Path.home() / ".bydawn").expanduser()
    table = _read_table(folder or Path.cwd(), where)
    return Settings(
        home=where,
        engine=_engine(env, table.get("engine", {})),
        base_urls=table.get("base_urls", {}),
        limits=table.get("limits", {}),
        rules=table.get("rules", {}),
        prices=table.get("prices", {}),
        environment=env,
    )


_TABLES = frozenset({"engine", "base_urls", "limits", "rules", "prices"})


def _read_table(folder: Path, home: Path) -> dict[str, Any]:
    for path in (folder / CONFIG_NAME, home / CONFIG_NAME):
        if path.is_file():
            try:
                table = tomllib.loads(path.read_text("utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
                raise ConfigError(f"{path} cannot be read: {error}") from error
            _check_shape(path, table)
            return table
    return {}


def _check_shape(path: Path, table: Mapping[str, Any]) -> None:
    """Raise ConfigError for what is no table or holds the wrong things; rules and prices check their own."""
    for name, value in table.items():
        if name not in _TABLES:
            raise ConfigError(f"{path}: unknown table [{name}]", hint=f"Known: {', '.join(sorted(_TABLES))}.")
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {name} is no table", hint=f"Write [{name}] and its settings below it.")
    for name in ("base_urls", "limits", "rules"):
        for whose in table.get(name, {}):
            if whose.partition("/")[0] not in PROVIDERS:
                raise ConfigError(
                    f"{path}: [{name}] names {whose!r}, which is no provider", hint=f"Known: {', '.join(PROVIDERS)}."
                )
    for provider, url in table.get("base_urls", {}).items():
        if not isinstance(url, str):
            raise ConfigError(f"{path}: [base_urls] {provider} must be an address in quotes, not {url!r}")
    for whose, limits in table.get("limits", {}).items():
        if not isinstance(limits, dict):
            raise ConfigError(f"{path}: limits of {whose!r} are no table", hint=f'Write [limits."{whose}"].')


def _engine(env: Mapping[str, str], table: Mapping[str, Any]) -> EngineSettings:
    defaults = EngineSettings()
    numbers: dict[str, Any] = {}
    for name in EngineSettings.__dataclass_fields__:
        if name in table:
            numbers[name] = _number("[engine] " + name, table[name])
    for name in table.keys() - EngineSettings.__dataclass_fields__.keys():
        raise ConfigError(f"{CONFIG_NAME}: unknown setting {name!r} in [engine]")
    for variable, name in _ENGINE_VARIABLES.items():
        if env.get(variable):
            numbers[name] = _number(variable, env[variable])
    for name in ("max_batch_rows", "uploads", "call_attempts"):
        if numbers.get(name) is not None:
            numbers[name] = max(1, int(numbers[name]))
    settled = numbers.get("poll_max_s", max(defaults.poll_max_s, numbers.get("poll_min_s", 0.0)))
    low = numbers.get("poll_min_s", min(defaults.poll_min_s, settled))
    if low > settled:
        raise ConfigError(f"BYDAWN_POLL_MIN ({low:g}) is above BYDAWN_POLL_MAX ({settled:g})")
    numbers |= {"poll_min_s": low, "poll_max_s": settled}
    numbers.setdefault("retry_first_s", min(defaults.retry_first_s, max(RETRY_FIRST_LEAST_S, low)))
    numbers.setdefault("settle_wait_s", min(defaults.settle_wait_s, max(SETTLE_LEAST_S, 12 * low)))
    return EngineSettings(**numbers)


RETRY_FIRST_LEAST_S = 0.05
SETTLE_LEAST_S = 10.0
"""Whoever polls a quick service often (a sandbox, a local server) wants its lost answers settled sooner, too."""


_ENGINE_VARIABLES = {
    "BYDAWN_POLL_MIN": "poll_min_s",
    "BYDAWN_POLL_MAX": "poll_max_s",
    "BYDAWN_MAX_BATCH_ROWS": "max_batch_rows",
    "BYDAWN_SETTLE_WAIT": "settle_wait_s",
}


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} must be a number, not {value!r}") from None
    if not 0 <= number < float("inf"):
        raise ConfigError(f"{name} must not be negative or infinite: {value!r}")
    return number


def account_for(provider: Provider, settings: Settings) -> Account:
    """Return the account of a provider: its key from the environment, its address from settings or environment.

    Raises ConfigError naming the variable when there is no key.
    """
    env = settings.environment
    key = next((env[name] for name in provider.key_variables if env.get(name)), None)
    if key is None:
        raise ConfigError(
            f"there is no key for {provider.name}",
            hint=f"Set {provider.key_variables[0]}, or try the job with --sandbox, which needs none.",
        )
    base_url = env.get(provider.base_url_variable) or settings.base_urls.get(provider.name) or provider.base_url
    headers = {header: env[name] for name, header in provider.header_variables.items() if env.get(name)}
    return Account(provider=provider.name, base_url=base_url, key=Secret(key), headers=headers)
