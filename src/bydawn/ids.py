"""Where identifiers come from: one random source that is handed in, so that a simulation can seed it."""

from __future__ import annotations

from random import Random, SystemRandom
from typing import Final

ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
"""Lower-case base32 (RFC 4648, section 6): five bits a character, safe in file names, URLs and metadata."""


class IdSource:
    """Makes identifiers from ``random``: the operating system's source, or a seeded ``Random`` in tests."""

    def __init__(self, random: Random | None = None) -> None:
        self._random = random if random is not None else SystemRandom()

    def tag(self, length: int) -> str:
        """Return ``length`` random characters of `ALPHABET`."""
        return "".join(self._random.choices(ALPHABET, k=length))
