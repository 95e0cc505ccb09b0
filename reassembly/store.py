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
from contextlib import closing, contextmanager
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Protocol, Self

from peeltap_core import FlowIndex

from . import core_index
from .records import (
    Endpoints,
    FlowRecord,
    RecordError,
    canonical_ip,
    emit_record,
    keys_of,
    parse_record,
)
from .schema import APPLICATION_ID, FAR, PUT, SCHEMA_VERSION, ends_key, prepare, row

Confidence = Literal["exact", "time", "late"]

# An event may carry a time slightly before its connection's first packet: captures of one packet
# at two points differ by the path between them, and microsecond stamps are cut, not rounded.
EARLY_NS: Final = 1_000_000

MAX_RECORDS: Final = 1_000_000

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
        # All TCP records again, for whoever looks up many at once.
        self._core = FlowIndex()

    @property
    def version(self) -> int:
        """Changes with every record."""
        return self._version

    @property
    def index(self) -> FlowIndex:
        """See FlowStore."""
        return self._core

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
        core_index.put(self._core, record)
        self._version += 1
        if len(self._records) > self._max:
            oldest = next(iter(self._records))
            self._forget(self._records.pop(oldest))
            self.evicted += 1

    def add_many(self, records: Iterable[FlowRecord]) -> int:
        """Keep all of `records`; how many there were."""
        count = 0
        # Records hold no cycles; the collector would only walk them again and again.
        collecting = gc.isenabled()
        gc.disable()
        try:
            for record in records:
                self.add(record)
                count += 1
        finally:
            if collecting:
                gc.enable()
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
        core_index.remove(self._core, record)

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
        self._core.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


_LOOKUP: Final = """
SELECT number, start, line FROM record WHERE {0} = ? AND start <= ? ORDER BY start DESC, number DESC
"""
_OBSERVED: Final = _LOOKUP.format("observed")
_RESTORED: Final = _LOOKUP.format("restored")

_NEXT: Final = """
SELECT min(start) FROM (
    SELECT min(start) AS start FROM record WHERE observed = ?1 AND start > ?2
    UNION ALL SELECT min(start) FROM record WHERE restored = ?1 AND start > ?2
)
"""

# Numbers have no holes.
_ENDS: Final = """
SELECT number, start, (SELECT max(number) FROM record) FROM record ORDER BY number LIMIT 1
"""
_FIRST_SINCE: Final = "SELECT number FROM record WHERE start >= ? ORDER BY number LIMIT 1"
_SINCE: Final = (
    "SELECT number, line FROM record WHERE number > ? AND start >= ? ORDER BY number LIMIT ?"
)

# Of the epochs of a tuple so many are looked at, the latest ones.
_MAX_EPOCHS: Final = 32

_BATCH: Final = 1000

# Pages of the log before they go into the file. A page of an index is written once for all the
# transactions that changed it meanwhile: a quarter less work than with the 1000 of SQLite's own.
_LOG_PAGES: Final = 4000

# A full store makes room for so much of it at once: as for the pages of its log.
_ROOM: Final = 1 / 256


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside, or nothing of it; for connections that begin none themselves."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


class SqliteStore:
    """Flow records in one SQLite file, in WAL mode, bounded by number and age.

    The first to come leaves first. `retention_seconds` counts back from the latest start of what is
    being added, not from a clock: a capture of last year keeps its records while it is worked on. A
    file of an earlier schema is brought to the present one. A reader in another process, or another
    store on the same file, sees what is added. Used by one thread at a time. Raises StoreError
    with one sentence for a file that is corrupt, locked, no flow store or newer than this program.
    """

    index: FlowIndex | None = None

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
        # Room that a full store makes, at least for what comes.
        self._room = int(max_records * _ROOM)
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
        db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        if version < SCHEMA_VERSION:
            with transaction(self._db):
                # Another process may have been first.
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version < SCHEMA_VERSION:
                    with self._readable():
                        prepare(db, version)

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
        return self.add_lines((record, emit_record(record)) for record in records)

    def add_lines(self, records: Iterable[tuple[FlowRecord, bytes]]) -> int:
        """As `add_many`, of records with the lines that they were parsed from."""
        source = iter(records)
        total = 0
        while batch := list(islice(source, _BATCH)):
            with self._one_sentence(), transaction(self._db):
                self._write(batch)
            total += len(batch)
        return total

    def _write(self, batch: Sequence[tuple[FlowRecord, bytes]]) -> None:
        rows = [row(record, line) for record, line in batch]
        self._db.executemany(PUT, rows)
        self._added += len(batch)
        self._retain(max(start for _, _, start, *_ in rows) - self._retention_ns)

    def _retain(self, oldest: int) -> None:
        """Let the first to come leave: surplus ones, and those that began before `oldest`."""
        # 1. The first that may stay by its age, if the first of all may not.
        stays, start, last = self._db.execute(_ENDS).fetchone()
        if start < oldest:
            stays = self._db.execute(_FIRST_SINCE, (oldest,)).fetchone()[0]
        # 2. And by their number.
        if last - stays >= self._max:
            stays = last - self._max + 1 + self._room
        self.evicted += self._db.execute("DELETE FROM record WHERE number < ?", (stays,)).rowcount

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
        moment = max(-FAR, min(at if started is None else started, FAR))
        limit = moment + EARLY_NS + 999
        key = ends_key(proto, ends)
        with self._one_sentence(), self._readable():
            records = self._candidates(proto, ends, key, limit)
            if not records:
                return None
            following = self._db.execute(_NEXT, (key, limit)).fetchone()[0]
        turned = ends.reverse()
        forward = [r for r in records if any(known == ends for known, _ in keys_of(r))]
        backward = [r for r in records if any(known == turned for known, _ in keys_of(r))]
        # What begins later is not read, but it ends the time for which the answer holds.
        return choose(
            ends, forward, backward, at, started, vlan, FAR if following is None else following
        )

    def _candidates(self, proto: str, ends: Endpoints, key: int, limit: int) -> list[FlowRecord]:
        """Records of a connection's ends, in either direction, that begin up to `limit`."""
        either = (ends, ends.reverse())
        found: dict[tuple[int, int], FlowRecord] = {}
        for question in (_OBSERVED, _RESTORED):
            with closing(self._db.execute(question, (key, limit))) as rows:
                count = 0
                for number, start, line in rows:
                    record = parse_record(line)
                    # Others may have the same key.
                    if record.proto != proto or not any(
                        known in either for known, _ in keys_of(record)
                    ):
                        continue
                    found[start, number] = record
                    count += 1
                    if count == _MAX_EPOCHS:
                        break
        return [found[place] for place in sorted(found)]

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except RecordError as error:
            raise StoreError(
                f"{self._path} is damaged (a record in it cannot be read: {error}): move it away,"
                " a new one is made"
            ) from error

    def __len__(self) -> int:
        with self._one_sentence():
            first, _, last = self._db.execute(_ENDS).fetchone() or (1, 0, 0)
        count: int = last - first + 1
        return count

    def lines_since(self, start: int, behind: int, count: int) -> list[tuple[int, bytes]]:
        """Records that begin at `start` (ns) or later: numbers above `behind`, and lines."""
        with self._one_sentence():
            return self._db.execute(_SINCE, (behind, start, count)).fetchall()

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
