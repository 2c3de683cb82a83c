"""The world all emulated providers share: time, chance, memory, faults, answers, and a thread that moves things on.

A provider's module registers one `Actor` for each thing that changes by itself (batches). One thread calls the actors
when something is due and sleeps in between; answering a request never waits for it. Chance has no state: every draw is
a function of the seed and of names, so a restart draws the same.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from typing import TYPE_CHECKING, Protocol

from bydawn.sandbox.clock import VirtualClock
from bydawn.sandbox.faults import Faults
from bydawn.sandbox.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from bydawn.sandbox.config import SandboxConfig

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IDLE_S = 0.5
"""How long the thread sleeps at most: also how stale the remembered time can be after a kill, in real seconds."""


class Actor(Protocol):
    """Something that changes by itself."""

    def advance(self, now: float) -> float | None:
        """Do all that is due at virtual `now`; return when the next thing is due, None when nothing waits."""
        ...

    def close(self) -> None:
        """Stop own threads."""
        ...


class World:
    """One sandbox's state folder and everything shared in it. Close it when done."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.home = config.home
        for folder in (self.home, self.files, self.spool):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        self.store = Store(self.home / "sandbox.db")
        self.clock = VirtualClock(self._first_moment(), config.speed)
        self.faults = Faults(config.faults, self.store, self.random)
        self.notes: list[str] = []
        """Sentences about how this sandbox deviates from what was asked, for ``/_sandbox/state``."""
        self._actors: list[Actor] = []
        self._turn = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    @property
    def files(self) -> Path:
        """Where the content of stored files lies, named by their ids."""
        return self.home / "files"

    @property
    def spool(self) -> Path:
        """Where things under construction lie."""
        return self.home / "spool"

    def _first_moment(self) -> float:
        remembered = self.store.fact("now")
        if remembered is None:
            return time.time() if self.config.start_at is None else self.config.start_at
        if self.config.start_at is None:
            return max(float(remembered), time.time())
        return float(remembered)

    def start(self, actors: list[Actor]) -> None:
        """Begin to move things on."""
        self._actors = actors
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and close the files. Safe to call twice."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        for actor in self._actors:
            actor.close()
        self.store.remember("now", str(self.clock.now()))
        self.store.close()

    # Time

    def wake(self) -> None:
        """Tell the thread that something new may be due."""
        self._wake.set()

    def settle(self) -> None:
        """Do everything that is due now, and return when it is done."""
        self._advance()

    def _advance(self) -> float | None:
        with self._turn:
            now = self.clock.now()
            self.store.remember("now", str(now))
            due = [moment for actor in self._actors if (moment := actor.advance(now)) is not None]
        return min(due, default=None)

    def _run(self) -> None:
        while not self._closing:
            self._wake.clear()
            try:
                due = self._advance()
            except BaseException:
                self.notes.append("the thread that moves things on has failed: nothing will change until a restart")
                raise
            pause = None if due is None else self.clock.real_seconds_until(due)
            self._wake.wait(_IDLE_S if pause is None else min(pause, _IDLE_S))

    # Chance

    def random(self, *names: str | int) -> random.Random:
        """A random source that depends on the seed and the names alone."""
        return random.Random(f"{self.config.seed}|{'|'.join(map(str, names))}")  # noqa: S311

    def new_id(self, kind: str, length: int = 22, alphabet: str = _ALPHABET) -> str:
        """A fresh id: unique in this home, the same in every run with this seed, and not to be guessed without it."""
        n = self.store.count(f"id {kind}")
        digest = hashlib.blake2b(f"{self.config.seed}|{kind}|{n}".encode(), digest_size=32).digest()
        number = int.from_bytes(digest)
        letters = []
        for _ in range(length):
            number, letter = divmod(number, len(alphabet))
            letters.append(alphabet[letter])
        return "".join(letters)
