"""The store of a live service: records come from the datapath, events ask from another thread.

    datapath ──add_lines──> queue ──> writer thread ──> memory, at once
                                           └──────────> SQLite, in batches
    events ──lookup──> memory, then SQLite by a connection of its own

Packets never wait for events: `add_lines` puts bytes into a bounded queue and returns. The newest
records answer from memory; older ones, and those of before a restart, from the file. SQLite's
connections belong to a thread each, and in WAL mode a reader never waits for the writer.

A record that is announced and closes within a batch is one write: what is not in the file yet is
known by its name, and the newest wins. A kill loses the records of the last WRITE_SECONDS.

Where the file cannot be written, events still find what memory holds; it is said once and counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from peeltap_core import FlowIndex

from .aside import move_aside
from .records import FlowRecord, Garbage, RecordError, keys_of, parse_record
from .store import (
    MAX_RECORDS,
    DamagedError,
    Match,
    MemoryStore,
    SqliteStore,
    StoreError,
    event_ip,
)

# Records that answer from memory, about 1 KB each.
RECENT_RECORDS: Final = 32_768

# Lines that the writer has not come to.
MAX_QUEUED_BYTES: Final = 32 << 20

# Records that the file has not taken: more than a full disk's worth of minutes are not kept.
MAX_UNSAVED: Final = 50_000

# Most connections of a scan live shorter. The relay's places in EVE are saved less often still.
WRITE_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 1.0
_TRANSACTION: Final = 1000

# Answers of the file that are kept; about 500 bytes each.
_MAX_OLDER: Final = 1 << 14

_FAR: Final = 1 << 62

_log = logging.getLogger("peeltap.store")

_Key = tuple[str, str, int, str, int]

# A record and the line that it was parsed from.
_Pair = tuple[FlowRecord, bytes]


class LiveStore:
    """Flow records of a running service, in the SQLite file `path`.

    `add_lines` may be called by any thread, `lookup` by one. `say` takes a level of `logging` and
    a sentence. A damaged file is moved aside and said; for one of something else, or of a newer
    program, StoreError is raised.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_records: int = MAX_RECORDS,
        retention_seconds: float = 7 * 86_400,
        recent_records: int = RECENT_RECORDS,
        say: Callable[[int, str], None] = _log.log,
    ) -> None:
        self._path = Path(path)
        self._say = say
        self._store = self._open(max_records, retention_seconds)
        self._before = len(self._store)
        self._reader = SqliteStore(self._path, busy_seconds=0.5)
        # Guards memory and the answers kept from the file.
        self._lock = threading.Lock()
        self._recent = MemoryStore(recent_records)
        # What the file answered, by tuple as an event has it, then by VLAN tags. None: it holds
        # nothing of the tuple at all.
        self._older: dict[_Key, dict[tuple[int, ...] | None, Match | None]] = {}
        self._version = 0
        self._garbage = Garbage()
        # Guards the queue.
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._accepted = 0
        self._handled = 0
        self._closing = self._hurry = False
        # By id and epoch, in the order in which they came last.
        self._unsaved: dict[tuple[str, int], _Pair] = {}
        self._trouble: str | None = None
        self._counts = {
            "records": 0,
            "superseded": 0,
            "overflowed": 0,
            "not_saved": 0,
            "from_memory": 0,
            "from_file": 0,
            "from_file_kept": 0,
            "reader_errors": 0,
        }
        self._reader_said = False
        self._writer = threading.Thread(target=self._write, name="flow-records", daemon=True)
        self._writer.start()

    def _open(self, max_records: int, retention_seconds: float) -> SqliteStore:
        """The file's store; of a damaged one what was in it is missed, but not the next events."""
        try:
            return SqliteStore(
                self._path, max_records=max_records, retention_seconds=retention_seconds
            )
        except DamagedError as error:
            try:
                aside = move_aside(self._path, time.time_ns())
            except OSError:
                raise error from None
            self._say(
                logging.WARNING,
                f"{self._path} is damaged: it is now {aside.name}, and events of connections that"
                " ended before this start are not corrected",
            )
        return SqliteStore(self._path, max_records=max_records, retention_seconds=retention_seconds)

    # The datapath's side.

    def add_lines(self, lines: bytes) -> None:
        """Keep the records of `lines`, as `take_records` gives them. Does not wait.

        Where the writer is too far behind, they are left out and counted.
        """
        if not lines:
            return
        with self._changed:
            if self._queued_bytes + len(lines) > MAX_QUEUED_BYTES:
                self._counts["overflowed"] += lines.count(b"\n")
                return
            self._queue.append(lines)
            self._queued_bytes += len(lines)
            self._accepted += 1
            self._changed.notify_all()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all that was added is in memory and, if it can be, in the file."""
        with self._changed:
            wanted = self._accepted
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: (
                    self._handled >= wanted and (not self._unsaved or self._trouble is not None)
                ),
                timeout,
            )

    @property
    def alive(self) -> bool:
        """Whether the writer's thread runs."""
        return self._writer.is_alive()

    def close(self) -> None:
        """Write what is queued, then close; nobody looks anything up any more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._writer.join()
        self._reader.close()
        self._store.close()

    # The writer thread.

    def _write(self) -> None:
        save_at = 0.0
        while True:
            # 1. Whatever has come is in memory at once.
            now = time.monotonic()
            with self._changed:
                self._changed.wait_for(
                    lambda: self._queue or self._closing or self._hurry,
                    max(0.0, save_at - now) if self._unsaved else None,
                )
                closing = self._closing
                at_once = closing or self._hurry
                self._hurry = False
                blocks = list(self._queue)
                self._queue.clear()
                self._queued_bytes = 0
            pairs = self._parse(b"".join(blocks))
            self._remember(pairs)
            self._gather(pairs)
            # 2. For the file records gather a while: one transaction for all of them.
            now = time.monotonic()
            if self._unsaved and (now >= save_at or at_once):
                self._save()
                save_at = time.monotonic() + (_RETRY_SECONDS if self._trouble else WRITE_SECONDS)
            while len(self._unsaved) > MAX_UNSAVED:
                del self._unsaved[next(iter(self._unsaved))]
                self._counts["not_saved"] += 1
            with self._changed:
                self._handled += len(blocks)
                self._changed.notify_all()
                if closing and not self._queue:
                    break
        self._counts["not_saved"] += len(self._unsaved)

    def _parse(self, text: bytes) -> list[_Pair]:
        """The records of `text`, in order; of those that it has twice only the last."""
        pairs: list[_Pair] = []
        names: set[bytes] = set()
        lines = text.splitlines()
        for number in range(len(lines), 0, -1):
            line = lines[number - 1]
            # The engine's lines begin with id and epoch.
            name = line[: line.find(b',"observed":')]
            if name in names:
                self._counts["superseded"] += 1
                continue
            try:
                pairs.append((parse_record(line), line))
            except RecordError as error:
                self._garbage.count(error.name, number, str(error))
            else:
                names.add(name)
        pairs.reverse()
        return pairs

    def _remember(self, pairs: list[_Pair]) -> None:
        # In pieces, so that a lookup in between waits for a few records only.
        for at in range(0, len(pairs), 64):
            piece = pairs[at : at + 64]
            with self._lock:
                for record, _ in piece:
                    self._recent.add(record)
                self._forget_answers(piece)
                self._version += 1
            self._counts["records"] += len(piece)

    def _gather(self, pairs: list[_Pair]) -> None:
        for pair in pairs:
            name = pair[0].id, pair[0].epoch
            if self._unsaved.pop(name, None) is not None:
                self._counts["superseded"] += 1
            self._unsaved[name] = pair

    def _forget_answers(self, pairs: list[_Pair]) -> None:
        if not self._older:
            return
        for record, _ in pairs:
            for ends, _ in keys_of(record):
                self._older.pop((record.proto, *ends), None)
                self._older.pop((record.proto, *ends.reverse()), None)

    def _saved(self, batch: list[_Pair]) -> None:
        """What left memory before it was in the file was not found meanwhile."""
        if self._recent.evicted:
            with self._lock:
                self._forget_answers(batch)
                self._version += 1

    def _save(self) -> None:
        try:
            while self._unsaved:
                batch = list(islice(self._unsaved.values(), _TRANSACTION))
                self._store.add_lines(batch)
                for record, _ in batch:
                    del self._unsaved[record.id, record.epoch]
                self._saved(batch)
        except StoreError as error:
            if self._trouble is None:
                self._say(
                    logging.WARNING,
                    f"flow records are not saved: {error}; events find the newest"
                    f" {RECENT_RECORDS:,} all the same",
                )
            self._trouble = str(error)
            return
        if self._trouble is not None:
            self._trouble = None
            self._say(logging.INFO, f"flow records are saved to {self._path} again")

    # The events' side.

    @property
    def index(self) -> FlowIndex:
        """What memory holds: `lookup` asks it first, so it may be asked instead."""
        return self._recent.index

    @property
    def version(self) -> int:
        """Changes with every record."""
        return self._version

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
        """See FlowStore. What the file cannot say counts as not known."""
        tags = None if vlan is None else tuple(vlan)
        moment = at if started is None else started
        key = (proto, event_ip(src_ip), src_port, event_ip(dest_ip), dest_port)
        with self._lock:
            # 1. Memory holds every later epoch of a tuple that it holds any of.
            found = self._recent.lookup(*key, at, started=started, vlan=tags)
            if found is not None:
                self._counts["from_memory"] += 1
                return found
            # 2. What the file said before.
            known = self._older.get(key)
            if known is not None and tags in known:
                kept = known[tags]
                if kept is None or kept.since <= moment <= kept.until:
                    self._counts["from_file_kept"] += 1
                    if kept is None:
                        return None
                    return kept._replace(confidence="time" if started is None else "exact")
            version = self._version
        # 3. The file.
        return self._ask(key, at, started, tags, version)

    def _ask(
        self,
        key: _Key,
        at: int,
        started: int | None,
        tags: tuple[int, ...] | None,
        version: int,
    ) -> Match | None:
        try:
            found = self._reader.lookup(*key, at, started=started, vlan=tags)
            # Not begun as yet is another answer than never heard of.
            holds = found is not None or self._reader.lookup(*key, _FAR) is None
        except StoreError as error:
            self._counts["reader_errors"] += 1
            if not self._reader_said:
                self._reader_said = True
                self._say(logging.WARNING, f"flow records cannot be looked up: {error}")
            return None
        self._reader_said = False
        self._counts["from_file"] += 1
        if holds and (found is None or found.since <= found.until):
            with self._lock:
                # A record that came meanwhile may be this tuple's.
                if version == self._version:
                    if len(self._older) >= _MAX_OLDER:
                        self._older.clear()
                    self._older.setdefault(key, {})[tags] = found
        return found

    def __len__(self) -> int:
        return len(self._recent)

    def stats(self) -> dict[str, Any]:
        """Counters. `overflowed` and `not_saved` are records that were lost to the file.

        `superseded`: records whose place a later one took before they were written.
        """
        return {
            **self._counts,
            "recent": len(self._recent),
            "before": self._before,
            "unsaved": len(self._unsaved),
            "queued_bytes": self._queued_bytes,
            "garbage": dict(self._garbage.counts),
            "trouble": self._trouble,
        }
