"""What the sandbox remembers, in one SQLite file: records of providers, executed rows (the ledger), calls, counters.

A record is a provider's own object as JSON, with just the columns that lists and limits need. Writes are single
transactions; nothing waits for the disk to turn, for the sandbox promises to survive a killed process, not a power cut.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, id TEXT NOT NULL, account TEXT NOT NULL, tag TEXT NOT NULL,
    created_at REAL NOT NULL, live INTEGER NOT NULL, data BLOB NOT NULL,
    UNIQUE (kind, id)
) STRICT;
CREATE INDEX IF NOT EXISTS records_by_account ON records (kind, account, seq);
CREATE INDEX IF NOT EXISTS records_live ON records (kind, seq) WHERE live;
CREATE TABLE IF NOT EXISTS rows (
    batch_id TEXT NOT NULL, position INTEGER NOT NULL, row INTEGER NOT NULL, custom_id TEXT NOT NULL,
    model TEXT NOT NULL, body_hash TEXT NOT NULL, status INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
    output_bytes INTEGER NOT NULL, error_bytes INTEGER NOT NULL, marked INTEGER NOT NULL,
    PRIMARY KEY (batch_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rows_marked ON rows (body_hash) WHERE marked;
CREATE TABLE IF NOT EXISTS billed (batch_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL, kind TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
    account TEXT NOT NULL, status INTEGER, fault TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""

_BILLED = "status BETWEEN 200 AND 299 AND batch_id IN (SELECT batch_id FROM billed)"
"""Which executed rows cost money."""


class ExecutedRow(NamedTuple):
    """One request that was executed: what the ledger bills when `status` is 2xx."""

    batch_id: str
    """The provider's batch id; ``live`` for a call outside any batch."""
    position: int
    """Place in the order of execution within the batch."""
    row: int
    """0-based line of the input file."""
    custom_id: str
    model: str
    body_hash: str
    """Digest of the request body in canonical form."""
    status: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    output_bytes: int
    """Bytes this row takes in the output file."""
    error_bytes: int
    """Bytes this row takes in the error file."""
    marked: bool
    """The request steers the sandbox, so its executions are counted."""


class Record(NamedTuple):
    """A stored object of a provider."""

    seq: int
    id: str
    data: bytes


class Store:
    """The SQLite file. Safe to use from several threads; a killed process loses at most the open transaction."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = threading.RLock()
        self._depth = 0
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file. Calls after it fail."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen together or not at all. Inner transactions join the outer one."""
        with self._lock:
            if self._depth:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            else:
                self._db.execute("COMMIT")
            finally:
                self._depth = 0

    def _query(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    # Records

    def add(self, kind: str, id: str, *, account: str, tag: str, created_at: float, live: bool, data: bytes) -> None:  # noqa: A002
        """Store a new object; `live` ones come back from `live_records`."""
        self._query(
            "INSERT INTO records (kind, id, account, tag, created_at, live, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
            kind, id, account, tag, created_at, live, data,
        )  # fmt: skip

    def update(self, kind: str, id: str, *, live: bool, data: bytes) -> None:  # noqa: A002
        """Replace an object's content."""
        self._query("UPDATE records SET live = ?, data = ? WHERE kind = ? AND id = ?", live, data, kind, id)

    def get(self, kind: str, id: str, account: str | None = None) -> Record | None:  # noqa: A002
        """The object, or None when it is unknown or another account's. Without `account`, anybody's."""
        rows = self._query(
            "SELECT seq, id, data FROM records WHERE kind = ? AND id = ? AND (? IS NULL OR account = ?)",
            kind, id, account, account,
        )  # fmt: skip
        return Record(*rows[0]) if rows else None

    def delete(self, kind: str, id: str) -> None:  # noqa: A002
        """Forget an object."""
        self._query("DELETE FROM records WHERE kind = ? AND id = ?", kind, id)

    def page(
        self, kind: str, account: str, *, tag: str | None, after: int | None, limit: int, newest_first: bool
    ) -> list[Record]:
        """Up to `limit` objects of an account in order of creation, beyond the object with the seq `after`."""
        beyond, order = ("seq < ?", "DESC") if newest_first else ("seq > ?", "ASC")
        edge = after if after is not None else (2**62 if newest_first else -1)
        rows = self._query(
            f"SELECT seq, id, data FROM records WHERE kind = ? AND account = ? AND {beyond}"  # noqa: S608
            f" AND (? IS NULL OR tag = ?) ORDER BY seq {order} LIMIT ?",
            kind, account, edge, tag, tag, limit,
        )  # fmt: skip
        return [Record(*row) for row in rows]

    def live_records(self, kind: str) -> list[Record]:
        """Every live object of all accounts, oldest first."""
        rows = self._query("SELECT seq, id, data FROM records WHERE kind = ? AND live ORDER BY seq", kind)
        return [Record(*row) for row in rows]

    def created_since(self, kind: str, account: str, moment: float) -> int:
        """How many objects an account created after the virtual `moment`."""
        sql = "SELECT count(*) FROM records WHERE kind = ? AND account = ? AND created_at > ?"
        return int(self._query(sql, kind, account, moment)[0][0])

    def counts(self) -> dict[str, int]:
        """How many objects of each kind there are."""
        return dict(self._query("SELECT kind, count(*) FROM records GROUP BY kind"))

    # Executed rows

    def add_rows(self, rows: Iterable[ExecutedRow]) -> None:
        """Add executed rows, together."""
        with self.transaction():
            self._db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def add_live_row(self, row: ExecutedRow) -> None:
        """Add the row of a live call; its position is given here."""
        with self.transaction():
            self.add_rows([row._replace(position=self.count(f"row {row.batch_id}"))])
            self.bill(row.batch_id)

    def bill(self, batch_id: str) -> None:
        """Let the rows of a batch count in the ledger: it has ended, so they are final."""
        self._query("INSERT OR IGNORE INTO billed VALUES (?)", batch_id)

    def drop_rows(self, batch_id: str, first_position: int = 0) -> None:
        """Forget the rows of a batch from a position on: they were prepared, but never came to pass."""
        self._query("DELETE FROM rows WHERE batch_id = ? AND position >= ?", batch_id, first_position)

    def row_sums(self, batch_id: str, finished: int) -> dict[str, int]:
        """Sums over the first `finished` rows: rows, ok, failed, tokens of the 2xx rows, bytes of each file."""
        names = ("rows", "ok", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens",
                 "output_bytes", "error_bytes")  # fmt: skip
        ok = "status BETWEEN 200 AND 299"
        sums = ", ".join(f"total(CASE WHEN {ok} THEN {name} END)" for name in names[2:6])
        row = self._query(
            f"SELECT count(*), total({ok}), {sums}, total(output_bytes), total(error_bytes)"  # noqa: S608
            " FROM rows WHERE batch_id = ? AND position < ?",
            batch_id, finished,
        )[0]  # fmt: skip
        return {name: int(value) for name, value in zip(names, row, strict=True)}

    def row_custom_ids(self, batch_id: str, finished: int) -> set[str]:
        """The custom_ids of the first `finished` rows of a batch."""
        sql = "SELECT custom_id FROM rows WHERE batch_id = ? AND position < ?"
        return {row[0] for row in self._query(sql, batch_id, finished)}

    def executions(self, body_hash: str) -> int:
        """How often a marked body was executed so far."""
        return int(self._query("SELECT count(*) FROM rows WHERE marked AND body_hash = ?", body_hash)[0][0])

    def ledger_page(self, after: tuple[str, int], limit: int) -> list[dict[str, Any]]:
        """Billed rows in key order beyond `after` (batch id, position)."""
        names = ("batch_id", "position", "custom_id", "model", "body_hash", "status", "input_tokens",
                 "cached_tokens", "output_tokens", "reasoning_tokens")  # fmt: skip
        rows = self._query(
            f"SELECT {', '.join(names)} FROM rows WHERE (batch_id, position) > (?, ?)"  # noqa: S608
            f" AND {_BILLED} ORDER BY batch_id, position LIMIT ?",
            *after, limit,
        )  # fmt: skip
        return [dict(zip(names, row, strict=True)) for row in rows]

    def ledger_by(self, column: str) -> list[tuple[str, int, int, int]]:
        """Billed rows grouped: (value, rows, input tokens, output tokens)."""
        assert column in {"batch_id", "model"}
        sql = (
            f"SELECT {column}, count(*), sum(input_tokens), sum(output_tokens) FROM rows"  # noqa: S608
            f" WHERE {_BILLED} GROUP BY {column} ORDER BY {column}"
        )
        return [tuple(row) for row in self._query(sql)]

    def billed_times(self) -> dict[int, int]:
        """{k: how many distinct bodies were billed exactly k times}."""
        sql = (
            f"SELECT times, count(*) FROM (SELECT count(*) AS times FROM rows WHERE {_BILLED}"  # noqa: S608
            " GROUP BY body_hash) GROUP BY times ORDER BY times"
        )
        return dict(self._query(sql))

    # Calls, counters, facts

    def add_call(self, at: float, kind: str, method: str, path: str, account: str) -> int:
        """Log a request on arrival; returns its number for `end_call`."""
        sql = "INSERT INTO calls (at, kind, method, path, account) VALUES (?, ?, ?, ?, ?) RETURNING seq"
        return int(self._query(sql, at, kind, method, path, account)[0][0])

    def end_call(self, seq: int, status: int | None, fault: str | None) -> None:
        """Note how a request was answered; status None is no answer at all."""
        self._query("UPDATE calls SET status = ?, fault = ? WHERE seq = ?", status, fault, seq)

    def calls(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Logged requests in order of arrival."""
        names = ("seq", "at", "kind", "method", "path", "account", "status", "fault")
        rows = self._query(
            f"SELECT {', '.join(names)} FROM calls WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608
            after, limit,
        )  # fmt: skip
        return [dict(zip(names, row, strict=True)) for row in rows]

    def call_counts(self) -> dict[str, int]:
        """How many requests of each kind arrived."""
        return dict(self._query("SELECT kind, count(*) FROM calls GROUP BY kind ORDER BY kind"))

    def count(self, name: str) -> int:
        """Count up and return the new number; the first is 1."""
        sql = "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1 RETURNING n"
        return int(self._query(sql, name)[0][0])

    def forget_counts(self, prefix: str) -> None:
        """Set the counters back whose name begins with `prefix`."""
        self._query("DELETE FROM counters WHERE substr(name, 1, ?) = ?", len(prefix), prefix)

    def fact(self, name: str) -> str | None:
        """A remembered value, or None."""
        rows = self._query("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def remember(self, name: str, value: str) -> None:
        """Remember a value, replacing an older one."""
        self._query("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)
