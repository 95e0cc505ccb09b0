"""How far the source was read and how far each sink got: one SQLite file, one transaction.

    source   one row: the places in the source's files, as `sources.position` writes them
    sinks    a row for each sink by its name: the spool's number up to which it has all, and how
             much was put up to there, so that a gap behind it is known after a restart, too
    spool    one row: the number up to which the source has forgotten

Both change together, so after a crash no sink lacks what was forgotten in the source. Written ahead
(WAL) and synchronously: what is saved survives a power cut.

    a sink that is new       begins with what comes from then on
    one that was taken out   is forgotten, with what waited for it; so is one that was renamed
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from ..sources import position
from ..sources.position import Positions

FILE: Final = "events.sqlite"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS source (one INTEGER PRIMARY KEY CHECK (one = 1), places TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sinks (
    name TEXT PRIMARY KEY, number INTEGER NOT NULL, bytes INTEGER, lines INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spool (one INTEGER PRIMARY KEY CHECK (one = 1), forgotten INTEGER);
"""
_VERSION: Final = 2


class Count(NamedTuple):
    """What was ever put into the spool, up to one place in it."""

    bytes: int
    lines: int


class DeliveryState:
    """The file at `path`; a `sources.position.Keeper` besides. Used by one thread at a time.

    A file that is damaged is set aside, and `warning` says so: events are read anew, from the
    source's beginning. `before` is the file in which an earlier release kept the source's places.
    Raises OSError.
    """

    def __init__(self, path: Path, before: Path | None = None) -> None:
        self._path = path
        self._before = before
        self.warning: str | None = None
        try:
            self._connection = _open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise OSError(errno.EIO, f"{path} cannot be opened ({error})") from error
            aside = path.with_name(path.name + ".damaged")
            path.replace(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self.warning = (
                f"{path} is damaged ({error}), and now {aside.name}: events are read anew, and come"
                " twice where they had been delivered"
            )
            self._connection = _open(path)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All saves within are one. Raises OSError, and nothing of it is saved then."""
        with _told(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may have ended it already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    # Keeper.

    def load(self) -> tuple[Positions, str | None]:
        """The places in the source, and a sentence if they cannot be used."""
        row = self._connection.execute("SELECT places FROM source").fetchone()
        if row is None:
            if self._before is None:
                return {}, None
            return position.load(self._before)
        try:
            return position.parse(row[0]), None
        except ValueError as error:
            return {}, f"{self._path} is damaged ({error}): EVE is read from its beginning"

    def save(self, positions: Positions) -> None:
        """Replace the places in the source; within a transaction, or by itself. Raises OSError."""
        with _told(self._path):
            self._connection.execute(
                "INSERT OR REPLACE INTO source (one, places) VALUES (1, ?)",
                (position.emit(positions),),
            )

    # Sinks.

    def sinks(self) -> dict[str, int]:
        """By name, the number up to which each sink has all."""
        return dict(self._connection.execute("SELECT name, number FROM sinks"))

    def counts(self) -> dict[str, Count]:
        """By name, what was put up to each sink's place, where that is known."""
        rows = self._connection.execute("SELECT name, bytes, lines FROM sinks WHERE lines NOT NULL")
        return {name: Count(size, lines) for name, size, lines in rows}

    def forgotten(self) -> int:
        """The number up to which the source gives nothing again."""
        row = self._connection.execute("SELECT forgotten FROM spool").fetchone()
        return 0 if row is None else int(row[0])

    def save_sinks(
        self,
        numbers: Mapping[str, int],
        counts: Mapping[str, Count] | None = None,
        forgotten: int | None = None,
    ) -> None:
        """Replace the places of these sinks; within a transaction, or by itself."""
        known = {} if counts is None else counts
        with _told(self._path):
            self._connection.executemany(
                "INSERT OR REPLACE INTO sinks (name, number, bytes, lines) VALUES (?, ?, ?, ?)",
                [
                    (name, number, *known.get(name, (None, None)))
                    for name, number in numbers.items()
                ],
            )
            if forgotten is not None:
                self._connection.execute(
                    "INSERT OR REPLACE INTO spool (one, forgotten) VALUES (1, ?)", (forgotten,)
                )

    def keep_only(self, names: Iterable[str]) -> list[str]:
        """Forget all other sinks; which these were. Raises OSError."""
        gone = sorted(set(self.sinks()) - set(names))
        with self.transaction():
            self._connection.executemany(
                "DELETE FROM sinks WHERE name = ?", [(name,) for name in gone]
            )
        return gone

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise OSError(
                errno.EINVAL, f"{path} is of a later release: use that one, or remove the file"
            )
        if version == 1:
            for column in ("bytes", "lines"):
                connection.execute(f"ALTER TABLE sinks ADD COLUMN {column} INTEGER")
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("SELECT * FROM source, sinks, spool LIMIT 1").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's errors are a file's."""
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(errno.EIO, f"{error}", str(path)) from error
