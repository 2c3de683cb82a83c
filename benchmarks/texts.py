"""The texts of the benchmark: what the stub answers, and what a right answer therefore is.

Every request carries a ticket number, every answer repeats it and the custom_id it was asked under, followed by one of
`FILLERS`. So a result under the wrong row, or with a damaged text, is seen whatever names a client gives its requests.
"""

from __future__ import annotations

import random
import re

TICKET_DIGITS = 8
TICKET = re.compile(rb"Ticket #(\d{%d})" % TICKET_DIGITS)
"""How the ticket number is found in a request or an answer; the digits are the row's number."""

_PROSE = (
    "the refund was issued to your card on Monday and should arrive soon please allow five working days for the bank "
    "we are sorry about the delay your parcel left our warehouse this morning thank you for writing to us our team has "
    "looked into it if nothing changes reply to this message"
)
_NASTY = ('"quoted"', "tab\there", "back\\slash", "line\nbreak", "café", "naïve", "München")
_WIDE = (*_NASTY, "—", "東京", "a\u2028b")
_WIDEST = (*_WIDE, "🙂")
"""Words that need escapes, that are not ASCII, or that a careless split of lines would cut.

Python keeps a text with one wide character in two or four bytes a character, so most texts have none, as in real life.
"""
_SEED = 20261122


def _filler(rng: random.Random, nasty: tuple[str, ...]) -> str:
    """Make a text of 80 to 320 bytes in which every eighth word is nasty."""
    size, prose = rng.randint(80, 300), _PROSE.split()
    words: list[str] = []
    while sum(len(word.encode()) + 1 for word in words) < size:
        words.append(rng.choice(nasty) if len(words) % 8 == 5 else rng.choice(prose))
    return " ".join(words)


def _fillers(count: int) -> list[str]:
    rng = random.Random(_SEED)
    return [
        _filler(rng, _WIDEST if number % 8 == 7 else _WIDE if number % 8 > 4 else _NASTY) for number in range(count)
    ]


FILLERS = _fillers(64)


def answer_text(ticket: int, custom_id: str) -> str:
    """Return the text the stub answers to a request."""
    return f"Ticket #{ticket:0{TICKET_DIGITS}d} as {custom_id}: {FILLERS[ticket % len(FILLERS)]}"


def escaped(text: str, *, ascii_only: bool) -> bytes:
    """Write a text as the inside of a JSON string: raw UTF-8, or with an escape for everything that is not ASCII."""
    simple = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return "".join(simple.get(char) or (_escape(char) if ascii_only else char) for char in text).encode()


def _escape(char: str) -> str:
    if char.isascii():
        return char
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
