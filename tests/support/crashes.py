"""Crashes at every step of a run: the state of each is kept, and the job is taken up again from each."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from support.lab import Lab, Rows, Run
    from support.steps import Steps


class Crashes:
    """The distinct states that one run went through, each as a laboratory of its own.

    With ``torn`` a crash is a power cut: files that were written and not synced are cut in half.
    """

    def __init__(self, folder: Path, *, torn: bool = False) -> None:
        self._folder = folder
        self._torn = torn
        self._seen: set[bytes] = set()
        self.steps = 0
        self.labs: list[tuple[str, Lab]] = []

    def watch(self, lab: Lab, rows: Rows) -> Run:
        """Run the job to its end and keep every state on the way."""

        def keep(name: str, steps: Steps) -> None:
            self.steps += 1
            dirty = steps.dirty if self._torn else set()
            digest = _digest(lab.folder, dirty)
            if digest in self._seen:
                return
            self._seen.add(digest)
            copy = lab.copy(self._folder / f"{self.steps:05d}")
            copy.torn = sum(_tear(copy.folder / path.relative_to(lab.folder)) for path in dirty) > 0
            self.labs.append((f"step {self.steps}, before {name}", copy))

        lab.on_step = keep
        return lab.run(rows)

    def sample(self, part: int, of: int) -> Iterator[tuple[str, Lab]]:
        """Give every ``of``-th state, beginning with ``part``."""
        yield from self.labs[part::of]


def _digest(folder: Path, dirty: Iterable[Path]) -> bytes:
    digest = hashlib.blake2b(repr(sorted(dirty)).encode())
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".db-shm" or not path.is_file():
            continue
        digest.update(str(path).encode() + path.read_bytes())
    return digest.digest()


def _tear(path: Path) -> bool:
    if not path.is_file() or not (content := path.read_bytes()):
        return False
    path.write_bytes(content[: len(content) // 2])
    return True


def describe(failures: list[tuple[str, Any]]) -> str:
    """Return the failures of many crash points as one text."""
    return "\n".join(f"{where}: {type(error).__name__}: {error}" for where, error in failures[:20])
