"""Loads the SQL files: queries by name, migrations in order. SQL lives in SQL."""

from __future__ import annotations

from functools import cache
from importlib import resources

_MARK = "-- name: "


@cache
def queries() -> dict[str, str]:
    """Return every query of ``sql/queries.sql`` by its name."""
    text = (resources.files("bydawn.store") / "sql" / "queries.sql").read_text("utf-8")
    blocks = text.split(_MARK)[1:]
    return {name.strip(): body.strip() for name, _, body in (block.partition("\n") for block in blocks)}


def migrations() -> list[tuple[int, str]]:
    """Return ``(version, script)`` for every migration, in order; versions count from 1 without a gap."""
    folder = resources.files("bydawn.store") / "sql" / "migrations"
    scripts = sorted(
        (int(file.name[:4]), file.read_text("utf-8")) for file in folder.iterdir() if file.name[0].isdigit()
    )
    assert [version for version, _ in scripts] == list(range(1, len(scripts) + 1))
    return scripts
