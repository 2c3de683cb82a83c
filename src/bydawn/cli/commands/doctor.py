"""``doctor``: is this machine ready, and what is missing."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import shutil
import sqlite3
import stat
import sys
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from bydawn.cli.errors import UNAVAILABLE
from bydawn.cli.invocation import Invocation, pass_invocation
from bydawn.cli.options import json_option

if TYPE_CHECKING:
    from pathlib import Path

    from bydawn.cli.interrupts import Interrupts
    from bydawn.client import Client

DISK_WARNING_BYTES = 1_000_000_000
"""A batch file may have 200 MB, and its answers as much again."""
DISK_FAILURE_BYTES = 100_000_000
SQLITE_OLDEST = (3, 37, 0)
"""The first version with STRICT tables."""
CLOCK_WARNING_S = 120.0
"""Batches in doubt are looked for by the time they were sent: clocks may differ by less than that."""
PROBE_TIMEOUT_S = 15.0
EXTRAS = {"sandbox": ("starlette", "uvicorn", "python_multipart"), "parquet": ("pyarrow",)}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``fail`` means that jobs will not work; ``hint`` what to do."""

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    hint: str = ""


@click.command("doctor")
@json_option
@pass_invocation
def doctor(invocation: Invocation, /, **_: Any) -> int:
    """Check this machine: Python, state folder, disk, clock, keys, and whether the providers answer.

    Keys are never shown. Makes one harmless call to each provider that has a key. Ends with 4 when something fails.
    """
    from bydawn.config import load_settings

    settings = load_settings()
    checks = [_python(), _sqlite(), _home(settings.home), _disk(settings.home), *_extras()]
    checks += _providers(settings.home)
    healthy = all(check.state != "fail" for check in checks)
    if invocation.json:
        invocation.emit({"healthy": healthy, "checks": checks})
    else:
        invocation.say(*(line for check in checks for line in _lines(check)))
        invocation.say("all is well" if healthy else "something is wrong; see above")
    return 0 if healthy else UNAVAILABLE


def _lines(check: Check) -> list[str]:
    hint = [f"       {check.hint}"] if check.hint else []
    return [f"{check.state:<4}  {check.name}: {check.text}", *hint]


def _python() -> Check:
    from bydawn import __version__

    return Check("bydawn", "ok", f"{__version__} on Python {platform.python_version()}, {sys.platform}")


def _sqlite() -> Check:
    if sqlite3.sqlite_version_info < SQLITE_OLDEST:
        oldest = ".".join(map(str, SQLITE_OLDEST))
        return Check("SQLite", "fail", sqlite3.sqlite_version, f"bydawn needs {oldest}; use a newer Python build.")
    return Check("SQLite", "ok", sqlite3.sqlite_version)


def _home(home: Path) -> Check:
    name = "state folder"
    if not home.exists():
        parent = next(folder for folder in home.parents if folder.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            return Check(name, "fail", f"{home} cannot be made", "Set BYDAWN_HOME to a folder you may write to.")
        return Check(name, "ok", f"{home}, made with the first job")
    if not home.is_dir() or not os.access(home, os.W_OK | os.X_OK):
        return Check(name, "fail", f"{home} is no folder to write to", "Set BYDAWN_HOME to one that is.")
    mode = stat.S_IMODE(home.stat().st_mode)
    if mode & 0o077:
        return Check(name, "warn", f"{home} is open to others ({mode:04o})", f"chmod 700 {home}")
    return Check(name, "ok", f"{home}, private")


def _disk(home: Path) -> Check:
    from bydawn.cli.texts import size

    free = shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.exists())).free
    if free < DISK_WARNING_BYTES:
        state: Literal["warn", "fail"] = "fail" if free < DISK_FAILURE_BYTES else "warn"
        return Check("disk", state, f"{size(free)} free", "Make room, or set BYDAWN_HOME to a larger disk.")
    return Check("disk", "ok", f"{size(free)} free")


def _extras() -> list[Check]:
    found = []
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        text = f"not installed; pip install 'bydawn[{extra}]' adds it" if missing else "installed"
        found.append(Check(f"extra {extra}", "ok", text))
    return found


def _providers(home: Path) -> list[Check]:
    """Look for keys, and ask every provider that has one."""
    from bydawn.cli.session import with_client

    if _home(home).state == "fail":
        return []  # a client needs the state folder

    async def work(client: Client, _: Interrupts) -> list[Check]:
        from bydawn.providers.registry import PROVIDERS

        return [check for name in PROVIDERS for check in await _provider(client, name)]

    return with_client(work)


async def _provider(client: Client, name: str) -> list[Check]:
    from bydawn.providers.registry import get_provider

    variables = get_provider(name).key_variables
    found = next((variable for variable in variables if client.settings.environment.get(variable)), None)
    if found is None:
        return [
            Check(f"{name} key", "warn", f"{variables[0]} is missing", "Set it, or use --sandbox, which needs none.")
        ]
    return [Check(f"{name} key", "ok", f"{found} is set"), await _reach(client, name), await _clock(client, name)]


async def _reach(client: Client, name: str) -> Check:
    from bydawn.errors import BydawnError

    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return Check(name, "ok", await client.probe(name))
    except TimeoutError:
        return Check(name, "fail", f"no answer within {PROBE_TIMEOUT_S:g} s", "Check the network and its proxy.")
    except BydawnError as error:
        return Check(name, "fail", str(error), error.hint or "")


async def _clock(client: Client, name: str) -> Check:
    """Compare this machine's clock with the date in the provider's answer, whatever else it says."""
    from bydawn.cli.texts import duration
    from bydawn.clock import SystemClock
    from bydawn.config import account_for
    from bydawn.core.wire import WireRequest
    from bydawn.errors import BydawnError
    from bydawn.providers.registry import get_provider
    from bydawn.transports.http import HttpTransport

    codec = get_provider(name)
    try:
        async with (
            asyncio.timeout(PROBE_TIMEOUT_S),
            HttpTransport(account_for(codec, client.settings), codec, SystemClock()) as transport,
        ):
            answer = await transport.send(WireRequest(method="GET", path="/", safety="safe"))
        there_s = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (BydawnError, TimeoutError, ValueError):
        return Check("clock", "ok", f"not compared: {name} told no time")
    apart_s = abs(time.time() - there_s)
    if apart_s > CLOCK_WARNING_S:
        return Check("clock", "warn", f"{duration(apart_s)} apart from {name}'s", "Set this machine's clock.")
    return Check("clock", "ok", f"agrees with {name}'s")
