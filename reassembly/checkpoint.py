"""Checkpoints on disk: what a restarted service resumes its connections from.

One SQLite file, written as a log. Each worker has a stream: a full checkpoint, and behind it one
row for each later one, which holds what changed. A full one takes the place of its stream's earlier
rows in the same transaction, so that at every moment the file holds one whole and consistent state.

The file also knows whether the service that wrote it stopped in order, and when it last wrote: what
was not written then is what a kill cost.

    service starts   store = CheckpointStore(path, workers=2, now=...)
                     store.left              how the last run ended
                     store.load(0)           newest first, for Live.resume; shared=store.is_shared
                     store.save(0, blob, full=True, now=...)      at once, so that old rows go
    every seconds    store.save(0, blob, full=False, now=...)     flow records first, then this
    stops            store.save(0, blob, full=True, now=...); store.close(clean_at=...)

Records are kept before the checkpoint that follows them: a connection that is resumed without its
record would wait for its end to be known, a record twice does no harm.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from .aside import move_aside
from .store import StoreError, transaction

SCHEMA_VERSION: Final = 1
# "peck" in ASCII: tells checkpoints from any other SQLite file, flow stores among them.
APPLICATION_ID: Final = 0x7065636B

# A stream of more rows or bytes than these behind its full checkpoint is due for another full one:
# what the next start reads stays a few times the table.
MOST_ROWS: Final = 720
SPARE_BYTES: Final = 4 << 20

_SCHEMA: Final = """
CREATE TABLE checkpoint (
    serial INTEGER PRIMARY KEY AUTOINCREMENT,
    worker INTEGER NOT NULL, full INTEGER NOT NULL, at INTEGER NOT NULL, blob BLOB NOT NULL
);
CREATE INDEX checkpoint_worker ON checkpoint (worker, serial);
CREATE TABLE run (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    workers INTEGER NOT NULL, clean INTEGER NOT NULL, at INTEGER NOT NULL
);
"""


class _Run(NamedTuple):
    """The row of `run`."""

    workers: int
    clean: bool
    at: int


@dataclass
class _Stream:
    """What a worker's stream holds: bytes of its full checkpoint and behind it, rows behind it."""

    full_bytes: int = 0
    later_bytes: int = 0
    later_rows: int = 0

    def add(self, size: int, *, full: bool) -> None:
        if full:
            self.full_bytes, self.later_bytes, self.later_rows = size, 0, 0
        elif size:
            self.later_bytes += size
            self.later_rows += 1


class LastRun(NamedTuple):
    """How the service that wrote the file ended.

    `clean`: it stopped in order, and nothing is missing. `at`: when it last wrote (ns).
    """

    clean: bool
    at: int

    def lost_seconds(self, now: int) -> float:
        """Before `now` (ns), the seconds in which connections may have begun that are not known."""
        return 0.0 if self.clean else max(0.0, (now - self.at) / 1e9)


class CheckpointStore:
    """Checkpoints in one SQLite file, in WAL mode; opened by one service at a time.

    `workers`: how many streams this run has. A file that is damaged, or of a newer program, does
    not keep the service from starting: it is moved aside, and `set_aside` is a sentence that says
    so. Raises StoreError where a new one cannot be made, the file is in use or an SQLite file of
    something else, or (later) it cannot be written.
    """

    def __init__(
        self, path: str | Path, *, workers: int = 1, now: int, busy_seconds: float = 5.0
    ) -> None:
        self._path = Path(path)
        self._workers = workers
        self._busy_seconds = busy_seconds
        self.set_aside: str | None = None
        self._lock = threading.Lock()
        try:
            self._open()
        except _UnusableError as unusable:
            self.set_aside = self._move_aside(unusable.why, now)
            self._open()
        self._begin(now)

    def _open(self) -> None:
        with self._one_sentence():
            # Transactions are begun by hand: each checkpoint is one.
            self._db = sqlite3.connect(
                self._path,
                timeout=self._busy_seconds,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            with self._one_sentence():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        db = self._db
        # Held until `close`: a second service on this file is refused, not mixed in.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        application, version = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        )
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and application != APPLICATION_ID:
            raise StoreError(
                f"{self._path} is an SQLite file of something else: set another state.directory"
            )
        if version > SCHEMA_VERSION:
            raise _UnusableError(
                self._path,
                f"a newer peeltap wrote it (schema {version}; this one knows {SCHEMA_VERSION})",
            )
        # The blobs have checksums of their own; what has to be whole here is the file itself.
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise _UnusableError(self._path, "it is damaged")
        db.execute("PRAGMA journal_mode = WAL")
        # A power cut may cost the last intervals, as a kill does; it never tears the file.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA journal_size_limit = {SPARE_BYTES}")
        if not tables:
            db.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )

    def _begin(self, now: int) -> None:
        """Takes the last run's end from the file and begins this one."""
        with self._one_sentence(), transaction(self._db):
            row = self._db.execute("SELECT workers, clean, at FROM run").fetchone()
            earlier = _Run(row[0], bool(row[1]), row[2]) if row else None
            self.left = earlier and LastRun(earlier.clean, earlier.at)
            # So many workers wrote what stands here; it stays theirs until all of this run's have
            # written what they took over.
            self._former = earlier.workers if earlier else self._workers
            self.is_shared = self._former != self._workers
            self._pending = set(range(self._workers)) if self.is_shared else set()
            self._write_run(self._pending, clean=False, at=earlier.at if earlier else now)
            self._streams: dict[int, _Stream] = {}
            for worker, full, size in self._db.execute(
                "SELECT worker, full, length(blob) FROM checkpoint ORDER BY serial"
            ):
                self._streams.setdefault(worker, _Stream()).add(size, full=bool(full))

    def _write_run(self, pending: set[int], *, clean: bool, at: int) -> None:
        workers = self._former if pending else self._workers
        self._db.execute(
            "INSERT INTO run VALUES (1, ?, ?, ?) ON CONFLICT (one)"
            " DO UPDATE SET workers = excluded.workers, clean = excluded.clean, at = excluded.at",
            (workers, clean, at),
        )

    def _move_aside(self, why: str, now: int) -> str:
        try:
            target = move_aside(self._path, now)
        except OSError as error:
            raise StoreError(
                f"{self._path} cannot be used ({why}) and cannot be moved aside"
                f" ({error.strerror}): move it away"
            ) from error
        return (
            f"{self._path} cannot be used ({why}): it is now {target.name}, and connections that"
            " began before this start are not known"
        )

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise StoreError(
                    f"{self._path} is in use by another process (waited"
                    f" {self._busy_seconds:g} s): stop that one, or set another state.directory"
                ) from error
            raise StoreError(f"{self._path} cannot hold checkpoints: {error}") from error
        except sqlite3.DatabaseError as error:
            raise _UnusableError(self._path, f"it is damaged: {error}") from error

    def load(self, worker: int) -> Iterator[bytes]:
        """The checkpoints that `worker` resumes from, the newest first, one at a time in memory.

        Where the number of workers is another one than it was (`is_shared`), nobody knows which of
        them the kernel will give a connection to: each is offered all, and resumes them as shared.
        """
        with self._lock, self._one_sentence():
            serials = self._db.execute(
                "SELECT serial FROM checkpoint WHERE worker = ? OR ? ORDER BY serial DESC",
                (worker, self.is_shared),
            ).fetchall()
        for (serial,) in serials:
            with self._lock, self._one_sentence():
                row = self._db.execute(
                    "SELECT blob FROM checkpoint WHERE serial = ?", (serial,)
                ).fetchone()
            if row is not None:
                yield row[0]

    def wants_full(self, worker: int) -> bool:
        """Whether the next checkpoint of `worker` should be a full one, for its stream is long."""
        stream = self._streams.get(worker, _Stream())
        most = SPARE_BYTES + 2 * stream.full_bytes
        return stream.later_rows >= MOST_ROWS or stream.later_bytes > most

    def save(self, worker: int, blob: bytes, *, full: bool, now: int) -> None:
        """Keep one checkpoint of `worker`, taken at `now` (ns); a full one replaces its stream.

        May be called from any thread. An empty one is the word that nothing changed. If this
        raises, the next one has to be a full one.
        """
        with self._lock, self._one_sentence():
            pending = self._pending - {worker} if full else self._pending
            with transaction(self._db):
                if full:
                    self._db.execute("DELETE FROM checkpoint WHERE worker = ?", (worker,))
                if blob:
                    self._db.execute(
                        "INSERT INTO checkpoint (worker, full, at, blob) VALUES (?, ?, ?, ?)",
                        (worker, full, now, blob),
                    )
                if self._pending and not pending:
                    # All that the former workers wrote is in this run's streams.
                    self._db.execute("DELETE FROM checkpoint WHERE worker >= ?", (self._workers,))
                self._write_run(pending, clean=False, at=now)
            self._pending = pending
            self._streams.setdefault(worker, _Stream()).add(len(blob), full=full)

    def close(self, *, clean_at: int | None = None) -> None:
        """Close the file. `clean_at` (ns): all was saved, and the service stops in order."""
        try:
            if clean_at is not None:
                with self._lock, self._one_sentence(), transaction(self._db):
                    self._write_run(self._pending, clean=True, at=clean_at)
        finally:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


class _UnusableError(StoreError):
    """The file is none of ours, or damaged: at the start it is moved aside."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} cannot be used ({why}): move it away, a new one is made")
        self.why = why
