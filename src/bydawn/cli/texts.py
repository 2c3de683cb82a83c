"""How numbers, money, times and names are written for people. Pure functions of their arguments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from bydawn.core.adjustment import Adjustment


def count(number: int, noun: str) -> str:
    """Write ``1 row``, ``2,000 rows``; nouns that end in ``ch`` or ``y`` get their own plural."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        noun = noun[:-1] + "ie"
    elif noun.endswith("ch"):
        noun += "e"
    return f"{number:,} {noun}s"


def money(usd: Decimal) -> str:
    """Write dollars: cents for large sums, two significant digits for small ones, never a false ``$0.00``."""
    if usd == 0:
        return "$0"
    if abs(usd) >= 1:
        return f"${usd:,.2f}"
    places = max(4, 1 - usd.adjusted())
    return f"${usd:.{places}f}"


def duration(seconds: float) -> str:
    """Write a time span in its two largest units: ``1.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``, ``1 d 3 h``."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, name, small_size, small_name in _SPANS:
        if whole >= size:
            large, rest = divmod(whole, size)
            small = rest // small_size
            return f"{large} {name} {small} {small_name}" if small else f"{large} {name}"
    raise AssertionError(seconds)


_SPANS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def time_left(eta_s: float | None) -> str:
    """Say how long it will still take, and that this is a guess."""
    if eta_s is None:
        return "not known yet"
    if eta_s < 60:
        return "less than a minute, from what was seen"
    coarse = eta_s if eta_s < 5_400 else round(eta_s / 900) * 900
    return f"about {duration(round(coarse / 60) * 60)}, from what was seen"


def size(number: int) -> str:
    """Write a number of bytes in decimal units, as providers count them."""
    for unit, width in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= width:
            return f"{number / width:.1f} {unit}"
    return count(number, "byte")


def local_time(unix_s: float) -> str:
    """Write a moment in the user's own time zone, to the second."""
    return datetime.fromtimestamp(unix_s, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def tokens(incoming: int, outgoing: int, cached: int, reasoning: int) -> str:
    """Write token counts; cached tokens are part of the input, reasoning tokens of the output."""
    cache = f" ({cached:,} cached)" if cached else ""
    thought = f" ({reasoning:,} reasoning)" if reasoning else ""
    return f"{incoming:,} in{cache}, {outgoing:,} out{thought}"


def adjustment(change: Adjustment, rows: int) -> str:
    """Write one change: ``temperature dropped for 48 rows: openai/o3-mini refuses it``."""
    return f"{change.parameter} {change.action} for {count(rows, 'row')}: {change.detail}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Lay rows out in columns two blanks apart; the columns named in ``right`` are set flush right."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return [line(heads), *map(line, rows)]
