"""The official `openai` client, unmodified, against a sandbox: over loopback and in process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bydawn.sandbox import SandboxConfig, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bydawn.sandbox import RunningSandbox


@pytest.fixture
def make_sandbox(tmp_path) -> Iterator[Callable[..., RunningSandbox]]:
    """Serves sandboxes until the test is over."""
    open_servers = []

    def make(**settings) -> RunningSandbox:
        server = running(SandboxConfig(home=tmp_path / f"home-{len(open_servers)}", instant=True, **settings))
        open_servers.append(server)
        return server.__enter__()

    yield make
    for server in open_servers:
        server.__exit__(None, None, None)
