"""SQL by name, and migrations in order."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from bydawn.store.queries import migrations, queries
from bydawn.store.sqlite import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", sorted(queries()))
def test_every_query_fits_the_migrated_schema(name: str, tmp_path: Path) -> None:
    """SQLite compiles the statement; a missing column or table is an error."""
    Store(tmp_path / "bydawn.db", lambda: 0.0).close()
    db = sqlite3.connect(tmp_path / "bydawn.db")
    sql = queries()[name]
    words = {word.strip("(),;+") for word in sql.replace("(", " ").split()}
    db.execute(f"EXPLAIN {sql}", {word[1:]: None for word in words if word.startswith(":")})
    db.close()


def test_migrations_count_from_one() -> None:
    assert [version for version, _ in migrations()] == list(range(1, len(migrations()) + 1))
