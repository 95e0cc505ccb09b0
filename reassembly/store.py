"""Stores of flow records: which connection does an event belong to?

    FlowStore    what every store does
    MemoryStore  for one run: `peeltap replay`, `peeltap enrich`
    SqliteStore  for a service that lives long: one file, survives a restart
    choose       the rule both share: which epoch of a 5-tuple holds a moment

A record may come twice, open and later closed: `add` puts it in the place of the earlier one with
the same id and epoch.
"""

from __future__ import annotations

import gc
import sqlite3
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Protocol, Self

from .records import (
    Endpoints,
    FlowRecord,
    RecordError,
    canonical_ip,
    emit_record,
    parse_record,
)

Confidence = Literal["exact", "time", "late"]

# An event may carry a time slightly before its connection's first packet: captures of one packet
# at two points differ by the path between them, and microsecond stamps are cut, not rounded.
EARLY_NS: Final = 1_000_000

MAX_RECORDS: Final = 1_000_000

# Beyond every moment, and an SQLite integer still.
FAR: Final = 1 << 62

_Ends = tuple[str, int, str, int]


class StoreError(Exception):
    """A store's file cannot be used; the text is one sentence that names the file."""


class DamagedError(StoreError):
    """What is in the file is no flow store, or no whole one."""


class Match(NamedTuple):
    """The connection that an event belongs to.

    `reversed`: the event's source is the connection's server. `by`: which of the record's tuples
    the event carries (`true` only in restore mode). `confidence`: `exact` the flow's own start lies
    in the record's lifetime, `time` the event's time does, `late` the time lies after its end.

    `since`, `until`: while the store stays as it is, every moment (ns) from the one to the other,
    both included, gives the same record; empty (`since > until`) where only this moment is sure.
    """

    record: FlowRecord
    reversed: bool
    by: Literal["observed", "true"]
    confidence: Confidence
    since: int = 1
    until: int = 0


class FlowStore(Protocol):
    """Keeps flow records and finds them again."""

    @property
    def version(self) -> int:
        """Changes whenever a lookup may answer differently than before."""
        ...

    def add(self, record: FlowRecord) -> None:
        """Keep `record`, in the place of an earlier one with its id and epoch."""
        ...

    def add_many(self, records: Iterable[FlowRecord]) -> int:
        """Keep all of `records`, in batches; how many there were."""
        ...

    def lookup(
        self,
        proto: str,
        src_ip: str,
        src_port: int,
        dest_ip: str,
        dest_port: int,
        at: int,
        *,
        started: int | None = None,
        vlan: Sequence[int] | None = None,
    ) -> Match | None:
        """The connection of an event seen `at` (ns), whose flow `started` (ns) if that is known.

        Looks in both directions. `vlan`: the event's tags, or None if they are not known.
        """
        ...

    def __len__(self) -> int: ...

    def close(self) -> None:
        """Let go of everything; a closed store is not used again."""
        ...


def keys_of(record: FlowRecord) -> list[tuple[Endpoints, Literal["observed", "true"]]]:
    """The tuples under which a record is found, from its client's side.

    Where packets were restored, Suricata saw the true tuple; the observed one stays a key too, for
    packets that left before the header was known.
    """
    if record.restored and record.true is not None and record.true != record.observed:
        return [(record.observed, "observed"), (record.true, "true")]
    return [(record.observed, "observed")]


def choose(
    ends: Endpoints,
    forward: Sequence[FlowRecord],
    backward: Sequence[FlowRecord],
    at: int,
    started: int | None,
    vlan: Sequence[int] | None,
    following: int = FAR,
) -> Match | None:
    """The epoch that holds a moment: the latest that had begun.

    `forward` and `backward` are the candidates for the event's tuple, `ends`, as it stands and
    turned round; any that are left out begin at `following` or later, and not within EARLY_NS of
    the moment. The flow's own start decides where it is known; an event's time may lie in a later
    epoch when Suricata reports late. Starts are compared in whole microseconds, as EVE cuts its
    times.
    """
    moment = at if started is None else started
    # 1. What had begun, or was about to.
    limit = moment + EARLY_NS
    following = min([following, *(r.start for r in (*forward, *backward) if _begun(r) > limit)])
    forward = [r for r in forward if _begun(r) <= limit]
    backward = [r for r in backward if _begun(r) <= limit]
    # 2. Of those the ones on the event's VLAN, if there are any.
    if vlan is not None:
        tags = tuple(vlan)
        if any(r.vlan == tags for r in (*forward, *backward)):
            forward = [r for r in forward if r.vlan == tags]
            backward = [r for r in backward if r.vlan == tags]
    # 3. The latest of them that had begun; if none had, the latest that was about to.
    until = following - following % 1000 - EARLY_NS - 1
    found: FlowRecord | None = None
    turned = False
    for latest in (moment, limit):
        for candidates, is_turned in ((forward, False), (backward, True)):
            for candidate in candidates:
                begun = _begun(candidate)
                if begun > latest:
                    until = min(until, begun - 1)
                elif found is None or candidate.start > found.start:
                    found, turned = candidate, is_turned
        if found is not None:
            break
    if found is None:
        return None
    by: Literal["observed", "true"] = "observed"
    if found.observed != (ends.reverse() if turned else ends):
        by = "true"
    if found.end is not None:
        if moment > found.end:
            return Match(found, turned, by, "late")
        until = min(until, found.end)
    since = _begun(found)
    # Found only because it was about to begin: that holds for this moment.
    if moment < since:
        since = until = moment
    return Match(found, turned, by, "time" if started is None else "exact", since, until)


def _begun(record: FlowRecord) -> int:
    return record.start - record.start % 1000


_start = attrgetter("start")


def event_ip(ip: str) -> str:
    """An event's address as the index spells it; one that is no address finds nothing."""
    if ":" not in ip:
        return ip
    try:
        return canonical_ip(ip)
    except ValueError:
        return ip


def _listed(known: FlowRecord | list[FlowRecord] | None) -> Sequence[FlowRecord]:
    """What the index holds under a tuple, as a sequence."""
    if known is None:
        return ()
    # Not isinstance with tuple: a record is one itself.
    return known if isinstance(known, list) else (known,)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without garbage collection inside: for what makes many lasting values and no cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class MemoryStore:
    """Flow records in memory, at most `max_records`: the one that came first leaves first."""

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        self._max = max_records
        self._records: dict[tuple[str, int], FlowRecord] = {}
        # By protocol, then by tuple. Nearly always a tuple has one record; where it has more, they
        # stand in a list in the order of their starts.
        self._index: dict[str, dict[_Ends, FlowRecord | list[FlowRecord]]] = {}
        self._version = 0
        self.evicted = 0

    @property
    def version(self) -> int:
        """Changes with every record."""
        return self._version

    def add(self, record: FlowRecord) -> None:
        """Keep `record`, in the place of an earlier one with its id and epoch."""
        name = (record.id, record.epoch)
        earlier = self._records.pop(name, None)
        if earlier is not None:
            self._forget(earlier)
        self._records[name] = record
        index = self._index.get(record.proto)
        if index is None:
            index = self._index[record.proto] = {}
        for ends, _ in keys_of(record):
            known = index.setdefault(ends, record)
            if known is record:
                continue
            if isinstance(known, list):
                insort(known, record, key=_start)
            else:
                index[ends] = sorted((known, record), key=_start)
        self._version += 1
        if len(self._records) > self._max:
            oldest = next(iter(self._records))
            self._forget(self._records.pop(oldest))
            self.evicted += 1

    def add_many(self, records: Iterable[FlowRecord]) -> int:
        """Keep all of `records`; how many there were."""
        count = 0
        # Records hold no cycles; the collector would only walk them again and again.
        with collector_paused():
            for record in records:
                self.add(record)
                count += 1
        return count

    def _forget(self, record: FlowRecord) -> None:
        index = self._index[record.proto]
        for ends, _ in keys_of(record):
            known = index[ends]
            if isinstance(known, list):
                known[:] = [other for other in known if other is not record]
                if len(known) == 1:
                    index[ends] = known[0]
            else:
                del index[ends]

    def lookup(
        self,
        proto: str,
        src_ip: str,
        src_port: int,
        dest_ip: str,
        dest_port: int,
        at: int,
        *,
        started: int | None = None,
        vlan: Sequence[int] | None = None,
    ) -> Match | None:
        """See FlowStore."""
        index = self._index.get(proto)
        if index is None:
            return None
        if ":" in src_ip:
            src_ip, dest_ip = event_ip(src_ip), event_ip(dest_ip)
        ends = (src_ip, src_port, dest_ip, dest_port)
        turned_ends = (dest_ip, dest_port, src_ip, src_port)
        forward, backward = index.get(ends), index.get(turned_ends)
        record = forward or backward
        if record is None:
            return None
        if isinstance(record, list) or (forward and backward):
            return choose(Endpoints(*ends), _listed(forward), _listed(backward), at, started, vlan)
        # Nearly always there is but one: what `choose` would say of it.
        moment = at if started is None else started
        since = _begun(record) - EARLY_NS
        if moment < since:
            return None
        turned = forward is None
        seen = turned_ends if turned else ends
        by: Literal["observed", "true"] = "observed" if record.observed == seen else "true"
        until = FAR if record.end is None else record.end
        if moment > until:
            return Match(record, turned, by, "late")
        return Match(record, turned, by, "time" if started is None else "exact", since, until)

    def __len__(self) -> int:
        return len(self._records)

    def close(self) -> None:
        """Forget everything."""
        self._records.clear()
        self._index.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


SCHEMA_VERSION: Final = 1
# "peel" in ASCII: tells a flow store from any other SQLite file.
APPLICATION_ID: Final = 0x7065656C

_SCHEMA: Final = """
CREATE TABLE record (
    id TEXT NOT NULL, epoch INTEGER NOT NULL, start INTEGER NOT NULL, line BLOB NOT NULL,
    PRIMARY KEY (id, epoch)
) WITHOUT ROWID;
CREATE INDEX record_start ON record (start);
CREATE TABLE tuple (
    proto TEXT NOT NULL, src_ip TEXT NOT NULL, src_port INTEGER NOT NULL,
    dest_ip TEXT NOT NULL, dest_port INTEGER NOT NULL,
    start INTEGER NOT NULL, id TEXT NOT NULL, epoch INTEGER NOT NULL, by TEXT NOT NULL,
    PRIMARY KEY (proto, src_ip, src_port, dest_ip, dest_port, start, id, epoch, by)
) WITHOUT ROWID;
CREATE INDEX tuple_record ON tuple (id, epoch);
"""

_LOOKUP: Final = """
SELECT r.line FROM tuple t
JOIN record r ON r.id = t.id AND r.epoch = t.epoch
WHERE t.proto = ? AND t.src_ip = ? AND t.src_port = ? AND t.dest_ip = ? AND t.dest_port = ?
  AND t.start <= ?
ORDER BY t.start DESC LIMIT 16
"""

_NEXT: Final = """
SELECT min(start) FROM tuple
WHERE proto = ? AND src_ip = ? AND src_port = ? AND dest_ip = ? AND dest_port = ? AND start > ?
"""

_BATCH: Final = 1000


class SqliteStore:
    """Flow records in one SQLite file, in WAL mode, bounded by number and age.

    `retention_seconds` counts back from the newest record's start, not from a clock: a capture of
    last year keeps its records while it is worked on. A reader in another process, or another
    store on the same file, sees what is added. Used by one thread at a time. Raises StoreError
    with one sentence for a file that is corrupt, locked, no flow store or newer than this program.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_records: int = MAX_RECORDS,
        retention_seconds: float = 7 * 86_400,
        busy_seconds: float = 5.0,
    ) -> None:
        self._path = Path(path)
        self._max = max_records
        self._retention_ns = int(retention_seconds * 1e9)
        self._busy_seconds = busy_seconds
        self._added = 0
        self.evicted = 0
        with self._one_sentence():
            # Transactions are begun by hand, so that a batch is one.
            self._db = sqlite3.connect(
                self._path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
            )
        try:
            with self._one_sentence():
                self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        db = self._db
        application, version = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        )
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and application != APPLICATION_ID:
            raise StoreError(f"{self._path} is an SQLite file of something else, not a flow store")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self._path} was written by a newer peeltap (schema {version}; this one knows"
                f" {SCHEMA_VERSION}): use that one, or another file"
            )
        db.execute("PRAGMA journal_mode = WAL")
        # A record lost to a power cut is seen again by nobody; a torn file would lose all of them,
        # and WAL with NORMAL excludes that.
        db.execute("PRAGMA synchronous = NORMAL")
        if not tables:
            db.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
        # Count once, then keep count: COUNT(*) walks the whole table.
        self._count: int = db.execute("SELECT count(*) FROM record").fetchone()[0]

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise StoreError(
                    f"{self._path} is locked by another process (waited"
                    f" {self._busy_seconds:g} s): stop that one, or use another file"
                ) from error
            raise StoreError(f"{self._path} cannot be used as a flow store: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DamagedError(
                f"{self._path} is damaged or not a flow store ({error}): move it away,"
                " a new one is made"
            ) from error

    @property
    def version(self) -> int:
        """Changes with every record, also with those that another process adds."""
        with self._one_sentence():
            others: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        return (others << 40) + self._added

    def add(self, record: FlowRecord) -> None:
        """Keep `record`, in the place of an earlier one with its id and epoch."""
        self.add_many((record,))

    def add_many(self, records: Iterable[FlowRecord]) -> int:
        """Keep all of `records`, a thousand a transaction; how many there were."""
        source = iter(records)
        total = 0
        while batch := list(islice(source, _BATCH)):
            with self._one_sentence(), self._transaction():
                self._write(batch)
            total += len(batch)
        return total

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _write(self, batch: Sequence[FlowRecord]) -> None:
        # 1. The last word on each record of this batch.
        latest = {(record.id, record.epoch): record for record in batch}
        names = list(latest)
        # 2. What was known of them before goes.
        before = self._db.total_changes
        self._db.executemany("DELETE FROM record WHERE id = ? AND epoch = ?", names)
        self._count -= self._db.total_changes - before
        self._db.executemany("DELETE FROM tuple WHERE id = ? AND epoch = ?", names)
        # 3. They come in anew.
        self._db.executemany(
            "INSERT INTO record (id, epoch, start, line) VALUES (?, ?, ?, ?)",
            [(r.id, r.epoch, r.start, emit_record(r)) for r in latest.values()],
        )
        self._db.executemany(
            "INSERT INTO tuple VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (r.proto, *ends, r.start, r.id, r.epoch, by)
                for r in latest.values()
                for ends, by in keys_of(r)
            ],
        )
        self._count += len(latest)
        self._added += len(batch)
        # 4. Bounds.
        self._retain()

    def _retain(self) -> None:
        newest = self._db.execute("SELECT max(start) FROM record").fetchone()[0]
        old = self._db.execute(
            "SELECT id, epoch FROM record WHERE start < ?", (newest - self._retention_ns,)
        ).fetchall()
        surplus = self._count - len(old) - self._max
        if surplus > 0:
            old = self._db.execute(
                "SELECT id, epoch FROM record ORDER BY start LIMIT ?", (len(old) + surplus,)
            ).fetchall()
        if not old:
            return
        self._db.executemany("DELETE FROM tuple WHERE id = ? AND epoch = ?", old)
        self._db.executemany("DELETE FROM record WHERE id = ? AND epoch = ?", old)
        self._count -= len(old)
        self.evicted += len(old)

    def lookup(
        self,
        proto: str,
        src_ip: str,
        src_port: int,
        dest_ip: str,
        dest_port: int,
        at: int,
        *,
        started: int | None = None,
        vlan: Sequence[int] | None = None,
    ) -> Match | None:
        """See FlowStore."""
        ends = Endpoints(event_ip(src_ip), src_port, event_ip(dest_ip), dest_port)
        # Starts are compared in whole microseconds.
        limit = (at if started is None else started) + EARLY_NS + 999
        forward, next_forward = self._candidates(proto, ends, limit)
        backward, next_backward = self._candidates(proto, ends.reverse(), limit)
        if not forward and not backward:
            return None
        # What begins later is not read, but it ends the time for which the answer holds.
        following = min(next_forward, next_backward)
        return choose(ends, forward, backward, at, started, vlan, following)

    def _candidates(self, proto: str, ends: Endpoints, limit: int) -> tuple[list[FlowRecord], int]:
        """Records of a tuple that begin up to `limit`, and when the next one begins."""
        with self._one_sentence():
            rows = self._db.execute(_LOOKUP, (proto, *ends, limit)).fetchall()
            later = self._db.execute(_NEXT, (proto, *ends, limit)).fetchone()[0]
        try:
            return [parse_record(line) for (line,) in rows], FAR if later is None else later
        except RecordError as error:
            raise StoreError(
                f"{self._path} is damaged (a record in it cannot be read: {error}): move it away,"
                " a new one is made"
            ) from error

    def __len__(self) -> int:
        with self._one_sentence():
            count: int = self._db.execute("SELECT count(*) FROM record").fetchone()[0]
        return count

    def close(self) -> None:
        """Close the file; everything added is in it."""
        with self._one_sentence():
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
