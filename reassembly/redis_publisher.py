"""A sensor's flow records on their way to Redis.

    datapath ──add_lines──> queue, bounded ──> thread ──> Redis
                                                 ^  │
    the local store ──what Redis lacks───────────┘  └─> "all until then are there"

Packets never wait: what the queue cannot hold is left to the local store, which has it too. After a
start, after the queue ran over, and where Redis turns out to have lost what it had been told,
the local store's records since the last moment at which all was there are published again; to do it
twice does no harm. Meanwhile the sensor's word stays where it was, so that no worker takes an open
connection for the last one of its port.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from . import redis_flows
from .records import FlowRecord, RecordError, emit_time, parse_record
from .redis_flows import Link, Site
from .store import SqliteStore, StoreError

MAX_QUEUED_BYTES: Final = 32 << 20

# A record of a packet is announced after it was captured: a worker's turn takes as long as that.
ALLOWANCE_SECONDS: Final = 0.1

_BEAT_SECONDS: Final = 0.25
_GATHER_SECONDS: Final = 0.05
_RETRY_FIRST_SECONDS: Final = 0.1
_RETRY_MOST_SECONDS: Final = 5.0
_PIECE: Final = 1000
# What is in the file was in the queue, but for what is written in between.
_MARGIN_NS: Final = 5 * 10**9

_log = logging.getLogger("peeltap.store")


class FlowPublisher:
    """Publishes the records of `sensor` to `site`; `path` is the local store's file.

    `allowance_seconds`: how long after a packet its record may come. `say` takes a level of
    `logging` and a sentence. Its thread runs from `start` to `close`.
    """

    def __init__(
        self,
        link: Link,
        site: Site,
        sensor: str,
        path: Path,
        *,
        allowance_seconds: float = ALLOWANCE_SECONDS,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        say: Callable[[int, str], None] = _log.log,
    ) -> None:
        self._link = link
        self._site = site
        self._sensor = sensor
        self._path = path
        self._allowance_ns = int(allowance_seconds * 1e9)
        self._max_queued = max_queued_bytes
        self._say = say
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._closing = threading.Event()
        self._overflowed = False
        # What the sensor last said in Redis; None: nothing that we know of.
        self._told: int | None = None
        # From which moment on the file has to be read through, and behind which number; None: not.
        self._since: int | None = None
        self._behind = 0
        self._trouble: str | None = None
        self._counts = {"published": 0, "again": 0, "overflowed": 0, "garbage": 0, "retries": 0}
        self._thread = threading.Thread(target=self._run, name="flow-publisher", daemon=True)

    # Other threads.

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def add_lines(self, lines: bytes) -> None:
        """Publish the records of `lines`. Does not wait."""
        if not lines:
            return
        with self._changed:
            if self._queued_bytes + len(lines) > self._max_queued:
                self._counts["overflowed"] += lines.count(b"\n")
                self._overflowed = True
                return
            self._queue.append(lines)
            self._queued_bytes += len(lines)
            self._changed.notify()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self, seconds: float = 2.0) -> None:
        """Publish what is queued, for `seconds` at most; what is left, the next start does."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                self._link.abort()
                self._thread.join(seconds)
        self._link.close()

    def status(self) -> dict[str, Any]:
        """Counters; `until`: up to which moment (ns) Redis has all."""
        return {
            **self._counts,
            "queued_bytes": self._queued_bytes,
            "until": self._told,
            "behind": self._since is not None,
            "trouble": self._trouble,
        }

    # The thread.

    def _run(self) -> None:
        rest = _RETRY_FIRST_SECONDS
        lines = b""
        while True:
            # 1. What has come, and the moment before which nothing else will.
            with self._changed:
                if not self._queue and not lines and self._since is None:
                    self._changed.wait(_BEAT_SECONDS)
            if not self._closing.is_set() and self._since is None:
                # A trickle goes in one step.
                self._closing.wait(_GATHER_SECONDS)
            closing = self._closing.is_set()
            moment = time.time_ns() - self._allowance_ns
            with self._changed:
                lines += b"".join(self._queue)
                self._queue.clear()
                # Counted until it is sent: what waits for a dead Redis is bounded as well.
                self._queued_bytes = len(lines)
                overflowed, self._overflowed = self._overflowed, False
            # 2. Out with it.
            try:
                if self._told is None:
                    self._begin()
                if overflowed:
                    self._fall_behind(self._told or 0)
                self._publish(lines)
                lines = b""
                with self._changed:
                    self._queued_bytes = sum(map(len, self._queue))
                if self._since is not None and not closing:
                    self._catch_up()
                if self._since is None:
                    self._tell(moment)
            except Exception as error:  # the library takes garbage for answers, and falls over it
                self._fail(error)
                if closing:
                    return
                self._closing.wait(rest)
                rest = min(rest * 2, _RETRY_MOST_SECONDS)
                continue
            rest = _RETRY_FIRST_SECONDS
            if self._trouble is not None:
                self._trouble = None
                self._say(logging.INFO, "flow records are published again")
            if closing:
                return

    def _fail(self, error: Exception) -> None:
        self._counts["retries"] += 1
        sentence = str(error) if isinstance(error, StoreError) else self._link.broken(error)
        if self._trouble is None:
            self._say(
                logging.WARNING,
                f"flow records are not published, and workers wait for them: {sentence}",
            )
        self._trouble = sentence

    def _begin(self) -> None:
        """Where an earlier run of this sensor stopped."""
        told = self._link.connected().get(self._site.sensor_key(self._sensor))
        self._told = int(told or 0)
        self._fall_behind(self._told)

    def _fall_behind(self, moment: int) -> None:
        """The file is to be read through for what happened since `moment`."""
        oldest = time.time_ns() - int(self._site.open_seconds * 1e9)
        since = max(moment - _MARGIN_NS, oldest)
        self._since = since if self._since is None else min(self._since, since)
        self._behind = 0

    def _publish(self, lines: bytes) -> None:
        """Of those that came twice only the last."""
        newest: dict[tuple[str, int], FlowRecord] = {}
        for line in lines.splitlines():
            try:
                record = parse_record(line)
            except RecordError:
                self._counts["garbage"] += 1
                continue
            newest[record.id, record.epoch] = record
        records = list(newest.values())
        for at in range(0, len(records), _PIECE):
            redis_flows.put(self._link, self._site, records[at : at + _PIECE], self._sensor)
        self._counts["published"] += len(records)

    def _catch_up(self) -> None:
        """A piece of the file; what is queued meanwhile comes in between."""
        assert self._since is not None  # noqa: S101 - for the type checker
        oldest = time.time_ns() - int(self._site.open_seconds * 1e9)
        store = SqliteStore(self._path, busy_seconds=0.5)
        try:
            rows = store.lines_since(oldest, self._behind, _PIECE)
        finally:
            store.close()
        if not rows:
            self._since = None
            return
        since = emit_time(self._since)[:26].encode()
        records = []
        for _, line in rows:
            at = line.find(b'"end":"')
            # In UTC, as the engine writes times, their texts are in their own order.
            if at < 0 or line[at + 7 : at + 33] >= since:
                records.append(parse_record(line))
        redis_flows.put(self._link, self._site, records, self._sensor)
        self._counts["again"] += len(records)
        self._behind = rows[-1][0]

    def _tell(self, moment: int) -> None:
        """Say that all until `moment` is there; and hear what Redis knew of that."""
        key = self._site.sensor_key(self._sensor)
        lifetime = int(self._site.open_seconds * 1000)
        before = self._link.connected().set(key, moment, px=lifetime, get=True)
        known = int(before or 0)
        if self._told and known < self._told:
            # It was begun anew, or has failed over, without what it had acknowledged.
            self._say(
                logging.WARNING,
                "Redis has lost flow records that it had acknowledged; they are published again",
            )
            self._link.connected().set(key, known, px=lifetime)
            self._told = known
            self._fall_behind(known)
            return
        self._told = moment
