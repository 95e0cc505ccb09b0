"""Open sessions in a file of their own, for the next start.

Written every few seconds, in one transaction: after a crash a session goes on under its id, with
what was counted since the last writing counted again or not at all.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, Final

import orjson

MAX_ROW_BYTES: Final = 1 << 20

_TABLE: Final = "CREATE TABLE IF NOT EXISTS sessions (peer TEXT PRIMARY KEY, body BLOB NOT NULL)"


class SessionStoreError(Exception):
    """The file cannot be used; one sentence with the remedy."""


class SessionStore:
    """SQLite at `path`; used by one thread at a time. Raises SessionStoreError throughout."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            with contextlib.closing(self._db.cursor()) as cursor:
                cursor.execute("PRAGMA journal_mode=WAL")
                # A crash of the machine may cost the last seconds; sessions are no evidence.
                cursor.execute("PRAGMA synchronous=NORMAL")
                cursor.execute(_TABLE)
        except sqlite3.Error as error:
            raise self._error(error) from None

    def load(self) -> list[dict[str, Any]]:
        """All that was saved; what is no JSON object is left out."""
        try:
            rows = self._db.execute(
                "SELECT body FROM sessions WHERE length(body) <= ?", (MAX_ROW_BYTES,)
            ).fetchall()
        except sqlite3.Error as error:
            raise self._error(error) from None
        found = []
        for (body,) in rows:
            with contextlib.suppress(orjson.JSONDecodeError):
                found.append(orjson.loads(body))
        return [one for one in found if type(one) is dict]

    def save(self, changed: dict[str, dict[str, Any]], gone: list[str]) -> None:
        """Write what `SessionTable.changes` told, all or nothing."""
        rows = [(peer, orjson.dumps(session)) for peer, session in changed.items()]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("DELETE FROM sessions WHERE peer = ?", [(p,) for p in gone])
                self._db.executemany("INSERT OR REPLACE INTO sessions VALUES (?, ?)", rows)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._error(error) from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _error(self, error: sqlite3.Error) -> SessionStoreError:
        return SessionStoreError(
            f"{self._path}: sessions cannot be kept ({error}); free the disk of the state"
            " directory, or remove the file"
        )
