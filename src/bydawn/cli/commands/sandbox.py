"""``sandbox``: the emulator as a server of its own."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from bydawn.cli.invocation import Invocation, pass_invocation
from bydawn.cli.options import SandboxArgs, json_option


@click.command("sandbox")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8642,
    show_default=True,
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Its state folder; by default sandbox-server in BYDAWN_HOME.",
)
@click.option("--seed", "sandbox_seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    metavar="N",
    help="Virtual seconds per second; by default batches are done at once.",
)
@click.option(
    "--faults",
    "sandbox_faults",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Plan of the faults it makes (TOML or JSON).",
)
@click.option("--upstream", "sandbox_upstream", metavar="URL", help="OpenAI-compatible address that answers.")
@click.option("--model", "sandbox_model", metavar="NAME", help="Model name to send to that address.")
@json_option
@pass_invocation
def sandbox(invocation: Invocation, /, **values: Any) -> int:
    """Serve the sandbox on this machine until Ctrl-C, for any OpenAI client.

    Set OPENAI_BASE_URL to the address it prints, and OPENAI_API_KEY to any text that begins with sk-. The same state
    folder continues where it stopped.
    """  # fmt: skip
    from bydawn.cli.sandboxed import KEY, sandbox_config, serving
    from bydawn.config import load_settings

    home = values.pop("home") or load_settings().home / "sandbox-server"
    args = SandboxArgs.take(values | {"sandbox": True})
    with serving(sandbox_config(home, args), invocation.say, values["port"]) as base_url:
        if invocation.json:
            invocation.emit({"event": "serving", "base_url": base_url, "home": str(home)})
        else:
            invocation.say(
                "the sandbox listens; Ctrl-C ends it:",
                f"  export OPENAI_BASE_URL={base_url}",
                f"  export OPENAI_API_KEY={KEY}",
            )
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0
