"""Settings that point at a sandbox, which runs inside this process for as long as they are used.

Its state lies in ``<home>/sandbox``, so that batches of a killed run are still there when the same command continues.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bydawn.core.settings import EngineSettings
from bydawn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bydawn.cli.options import SandboxArgs
    from bydawn.config import Settings
    from bydawn.sandbox import FaultPlan, SandboxConfig

REALM = "sandbox"
KEY = "sk-sandbox"
"""Any key that begins with ``sk-`` is an account of the sandbox."""

QUICK_POLL_MIN_S = 0.1
QUICK_POLL_MAX_S = 1.0
QUICK_SETTLE_WAIT_S = 2.0


def import_sandbox() -> Any:
    """Return the module `bydawn.sandbox`. Raises ConfigError where its extra is not installed."""
    try:
        from bydawn import sandbox
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the sandbox needs {error.name}, which is not installed", hint="pip install 'bydawn[sandbox]'"
        ) from error
    return sandbox


def sandbox_config(home: Path, args: SandboxArgs) -> SandboxConfig:
    """Return what the sandbox is told. Without a speed, batches are done as soon as their work is."""
    sandbox = import_sandbox()
    config: SandboxConfig = sandbox.SandboxConfig(
        home=home,
        seed=args.sandbox_seed,
        speed=1.0 if args.speed is None else args.speed,
        instant=args.speed is None,
        faults=sandbox.FaultPlan() if args.sandbox_faults is None else _read_faults(sandbox, args.sandbox_faults),
        upstream_url=args.sandbox_upstream,
        upstream_model=args.sandbox_model,
    )
    return config


def _read_faults(sandbox: Any, path: Path) -> FaultPlan:
    try:
        plan: FaultPlan = sandbox.load_fault_plan(path)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: {error}", hint="docs/sandbox.md shows how a fault plan is written.") from error
    return plan


@contextmanager
def in_sandbox(settings: Settings, args: SandboxArgs, say: Callable[[str], None]) -> Iterator[Settings]:
    """Run a sandbox and give the settings that lead to it; ``say`` is told where it deviates from what was asked."""
    config = sandbox_config(settings.home / REALM, args)
    with serving(config, say) as base_url:
        yield replace(
            settings,
            realm=REALM,
            engine=_quick(settings.engine),
            base_urls={"openai": base_url},
            environment={"OPENAI_API_KEY": KEY},
        )


@contextmanager
def serving(config: SandboxConfig, say: Callable[[str], None], port: int = 0) -> Iterator[str]:
    """Serve a sandbox on loopback and give its base URL; port 0 takes a free one."""
    sandbox = import_sandbox()
    with _sole_user(config.home, say), sandbox.running(config, port=port) as server:
        for note in server.world.notes:
            say(f"sandbox: {note}")
        yield server.base_url


@contextmanager
def _sole_user(home: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other process serves this sandbox: two of them would not know of each other's batches."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "in-use").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process uses this sandbox; waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _quick(engine: EngineSettings) -> EngineSettings:
    """Poll a provider that is next door without patience; what the user has set stays as it is."""
    defaults = EngineSettings()
    poll_min_s = QUICK_POLL_MIN_S if engine.poll_min_s == defaults.poll_min_s else engine.poll_min_s
    poll_max_s = QUICK_POLL_MAX_S if engine.poll_max_s == defaults.poll_max_s else engine.poll_max_s
    settle_wait_s = QUICK_SETTLE_WAIT_S if engine.settle_wait_s == defaults.settle_wait_s else engine.settle_wait_s
    return replace(engine, poll_min_s=poll_min_s, poll_max_s=max(poll_min_s, poll_max_s), settle_wait_s=settle_wait_s)
