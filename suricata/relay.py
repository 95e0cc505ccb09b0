"""Carries events from a source through the Enricher to the spool, and commits what arrived.

    source ──lines──> Enricher ──> stage ────blocks──> spool ──> a thread for each sink
       ^                  │ waits                         │ safe in all sinks, or on disk
       └──── commit ──── ledger <─────────────────────────┘

At least once: a place in the source is committed when every event before it has left the Enricher
and is safe. After kill -9 what was not committed comes again, with the same ids: at most some
seconds of events, and with them whatever followed an event that waited for its flow record.

A sink that lags holds nobody back; only where its backlog is full, and it is told not to lose any,
the reading stops, and events wait in Suricata's file. Trouble of a source or a sink is a state that
is told in `status`, said once in a while, and tried again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import orjson

from .delivery.outbound import Outbound
from .enrich import Enricher
from .eve import Clock
from .ids import Ids, Named, Numbering, Places
from .ledger import Ledger
from .notices import Notices
from .sources.source import Batch, Source, SourceError

# As in `streams`: half of a usual second-level cache.
READ_BYTES: Final = 1 << 16

COMMIT_SECONDS: Final = 1.0
DRAIN_SECONDS: Final = 3.0

_IDLE_SECONDS: Final = 0.1
_SNAPSHOT_SECONDS: Final = 0.5
_RETRY_FIRST_SECONDS: Final = 0.1
_RETRY_MOST_SECONDS: Final = 5.0
_LAST_SECONDS: Final = 0.5
_PAUSE_FIRST_SECONDS: Final = 0.02
_PAUSE_MOST_SECONDS: Final = 0.5

_STATS: Final = b'"event_type":"stats"'
_STAMP_AT: Final = len(b'{"timestamp":"')
_STAMP_BYTES: Final = len("2026-01-01T00:00:00.000000+0000")

_log = logging.getLogger("peeltap.events")


class Stage(Protocol):
    """Adds to corrected events what is known beyond their connection. The relay's thread calls."""

    def start(self) -> None:
        """Begin whatever threads it has."""
        ...

    def process(self, lines: bytes, now: float) -> bytes:
        """Whole lines as they go on; `now`: seconds that never run backwards. Must not wait."""
        ...

    def tick(self, now: float) -> bytes:
        """Time has passed: events of its own that are due, whole lines."""
        ...

    def status(self) -> dict[str, Any]:
        """Counters."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Relay:
    """One thread from `source` to `outbound`, which has one for each sink.

    `on_stats` is called in that thread with each of Suricata's `stats` events, which go to the
    sinks only with `forward_stats`; `on_lines` with what goes to the sinks, and may neither wait
    nor raise. `stage` sees every event, at the price of parsing it once more. `say` takes a level
    of `logging` and a sentence.
    """

    def __init__(
        self,
        source: Source,
        enricher: Enricher,
        outbound: Outbound,
        *,
        stage: Stage | None = None,
        on_stats: Callable[[dict[str, Any]], None] | None = None,
        on_lines: Callable[[bytes], None] | None = None,
        forward_stats: bool = False,
        say: Callable[[int, str], None] = _log.log,
        read_bytes: int = READ_BYTES,
        commit_seconds: float = COMMIT_SECONDS,
    ) -> None:
        self._source = source
        self._enricher = enricher
        self._outbound = outbound
        self._stage = stage
        self._numbering = Numbering()
        self._on_stats = on_stats
        self._on_lines = on_lines
        self._forward_stats = forward_stats
        self._notices = Notices(say)
        self._read_bytes = read_bytes
        self._commit_seconds = commit_seconds
        self._ledger = Ledger()
        self._clock = Clock()
        self._block = outbound.last
        self._commit_at = 0.0
        self._unsaved = False
        self._tokens: list[object] = []
        self._sync_failed = False
        self._source_trouble: str | None = None
        self._retry = _RETRY_FIRST_SECONDS
        self._retry_at = 0.0
        self._pause = _PAUSE_FIRST_SECONDS
        self._lag_seconds: float | None = None
        self._last_event_ns: int | None = None
        self._suricata_stats = 0
        self._commits = 0
        self._failures = 0
        self._stop = threading.Event()
        self._drain_seconds = DRAIN_SECONDS
        self._thread: threading.Thread | None = None
        self._snapshot_at = 0.0
        self._snapshot: dict[str, Any] = {}
        self._take_snapshot(time.monotonic())

    # From other threads.

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(
            target=self.run, args=(self._stop,), name="events", daemon=True
        )
        self._thread.start()

    def stop(self, drain_seconds: float = DRAIN_SECONDS) -> bool:
        """Read to the end, for `drain_seconds` at most, commit and close; whether it has ended."""
        self._drain_seconds = drain_seconds
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(drain_seconds + 4.0)
        return not self._thread.is_alive()

    def reopen(self) -> None:
        """Files of the sinks were rotated: they are opened anew, soon."""
        self._outbound.reopen()

    def status(self) -> dict[str, Any]:
        """What the thread last knew, at most a second old while it is well.

        `beat`: the moment of time.monotonic() at which it was; `lag_seconds`: by how much the last
        event was late; `source`, `sinks` and `enricher` have their own counters.
        """
        return dict(self._snapshot)

    # The thread.

    def run(self, stop: threading.Event) -> None:
        """Carry events until `stop` is set, then drain, commit and close. Raises nothing."""
        self._outbound.start()
        if self._stage is not None:
            self._guarded(self._stage.start)
        while not stop.is_set():
            self._guarded(lambda: self._step(stop, _IDLE_SECONDS))
        self._guarded(lambda: self._drain(stop))
        self._take_snapshot(time.monotonic())
        self.close()

    def close(self) -> None:
        """Let go of everything; by itself only where nothing was started."""
        closes = [self._source.close, self._outbound.close]
        if self._stage is not None:
            closes.append(self._stage.close)
        for close in closes:
            self._guarded(close)

    def _guarded(self, part: Callable[[], object]) -> None:
        try:
            part()
        except Exception as error:  # a fault of ours must not end the events for good
            self._failures += 1
            _log.debug("events", exc_info=True)
            self._notices.say("fault", f"events: {type(error).__name__}: {error}", logging.ERROR)
            time.sleep(_RETRY_FIRST_SECONDS)

    def _step(self, stop: threading.Event, timeout: float) -> bool:
        """Move one batch; whether there was one."""
        now = time.monotonic()
        # 1. What is there goes on first.
        self._outbound.tidy(now)
        if not self._outbound.has_room or self._sync_failed:
            with contextlib.suppress(SourceError, OSError):
                # Whoever rotates the source does not wait for the sink.
                self._source.look()
            self._commit(now)
            self._take_snapshot(now)
            self._outbound.spool.wait_room(self._pause)
            self._pause = min(self._pause * 2, _PAUSE_MOST_SECONDS)
            return True
        self._pause = _PAUSE_FIRST_SECONDS
        # 2. One batch in.
        batch = self._read(stop, now, timeout)
        now = time.monotonic()
        if batch is None:
            lines = self._enricher.tick(now)
        else:
            ids = batch.ids or self._numbering.take(batch.lines)
            lines = self._take(batch.lines, ids, now)
            self._ledger.fed(self._enricher.line_number, batch.token)
        # 3. Out.
        self._write(lines, now)
        self._commit(now)
        self._take_snapshot(now)
        return batch is not None

    def _read(self, stop: threading.Event, now: float, timeout: float) -> Batch | None:
        if now < self._retry_at:
            _rest(stop, min(timeout, self._retry_at - now))
            return None
        try:
            batch = self._source.read(self._read_bytes, timeout)
        except SourceError as error:
            self._source_trouble = str(error)
            self._notices.say("source", str(error))
            self._retry_at = now + self._retry
            self._retry = min(self._retry * 2, _RETRY_MOST_SECONDS)
            return None
        if self._source_trouble is not None:
            self._source_trouble = None
            self._notices.ended("source", f"{self._source.name} is read again")
        self._retry = _RETRY_FIRST_SECONDS
        return batch

    def _take(self, lines: bytes, ids: Ids, now: float) -> bytes:
        """Correct a batch; Suricata's `stats` have a way of their own."""
        self._measure(lines)
        if _STATS not in lines:
            return self._feed(lines, ids, now)
        out = []
        for line, id_ in zip(_split(lines), _each(lines, ids), strict=False):
            event = _stats_event(line) if _STATS in line else None
            if event is not None:
                self._suricata_stats += 1
                if self._on_stats is not None:
                    self._on_stats(event)
                if not self._forward_stats:
                    continue
            out.append(self._feed(line, id_, now))
        return b"".join(out)

    def _measure(self, lines: bytes) -> None:
        start = lines.rfind(b"\n", 0, -1) + 1 + _STAMP_AT
        at = self._clock.parse(lines[start : start + _STAMP_BYTES].decode("ascii", "replace"))
        if at is not None:
            self._last_event_ns = at
            self._lag_seconds = max(0.0, (time.time_ns() - at) / 1e9)

    def _feed(self, lines: bytes, ids: Ids, now: float) -> bytes:
        try:
            return self._enricher.feed(lines, now, ids)
        except Exception as error:
            # Whatever it was, the events are not lost by it: each by itself, and the one at fault
            # as it is.
            self._notices.say("fault", f"events: {type(error).__name__}: {error}", logging.ERROR)
            out = []
            for line, id_ in zip(_split(lines), _each(lines, ids), strict=False):
                try:
                    out.append(self._enricher.feed(line, now, id_))
                except Exception:
                    self._failures += 1
                    out.append(line)
            return b"".join(out)

    def _write(self, lines: bytes, now: float) -> None:
        if self._stage is not None:
            lines = self._staged(self._stage, lines, now)
        if lines:
            self._block = self._outbound.put(lines, now)
            if self._on_lines is not None:
                self._on_lines(lines)
        self._ledger.left(self._enricher.oldest_waiting, self._block)

    def _staged(self, stage: Stage, lines: bytes, now: float) -> bytes:
        try:
            return stage.process(lines, now) + stage.tick(now) if lines else stage.tick(now)
        except Exception as error:
            # As they are rather than not at all.
            self._failures += 1
            self._notices.say("stage", f"events: {type(error).__name__}: {error}", logging.ERROR)
            return lines

    def _commit(self, now: float, *, at_once: bool = False) -> None:
        if now < self._commit_at and not at_once:
            return
        self._commit_at = now + self._commit_seconds
        # 1. What is forgotten in the source must be safe in the sinks, or on the spool's disk.
        try:
            safe = self._outbound.sync()
        except OSError as error:
            self._sync_failed = True
            self._notices.say("sync", f"the spool cannot be made safe ({error}): reading stops")
            return
        self._sync_failed = False
        # 2. Forgotten.
        self._tokens += self._ledger.settled(safe)
        if not (self._tokens or self._unsaved or self._outbound.has_moved):
            return
        self._unsaved = True
        try:
            self._outbound.commit(lambda: self._source.commit(self._tokens))
        except OSError as error:
            self._notices.say(
                "state",
                f"the place in {self._source.name} cannot be saved ({_cause(error)}): after a crash"
                " more events would come twice",
            )
            return
        self._tokens.clear()
        self._unsaved = False
        self._commits += 1
        self._notices.ended("state", f"the place in {self._source.name} is saved again")

    def _drain(self, stop: threading.Event) -> None:
        deadline = time.monotonic() + self._drain_seconds
        self._retry_at = 0.0
        while time.monotonic() < deadline:
            moved = self._step(stop, _IDLE_SECONDS)
            if not moved and not self._enricher.waiting:
                break
        now = time.monotonic()
        if self._outbound.has_room:
            # Corrected or not, they are written once; left for the next start they would come
            # again together with all that followed them.
            self._write(self._enricher.flush(), now)
        self._outbound.finish(max(deadline, now + _LAST_SECONDS))
        self._commit(time.monotonic(), at_once=True)

    def _take_snapshot(self, now: float) -> None:
        if now < self._snapshot_at and not self._stop.is_set():
            return
        self._snapshot_at = now + _SNAPSHOT_SECONDS
        source = self._source.status()
        blocked = not self._outbound.has_room
        lag = self._lag_seconds
        if self._last_event_ns is not None and (blocked or source["backlog"]):
            lag = max(0.0, (time.time_ns() - self._last_event_ns) / 1e9)
        self._snapshot = {
            "beat": now,
            "state": "waiting" if self._source_trouble else "blocked" if blocked else "running",
            "trouble": self._source_trouble,
            "lag_seconds": lag,
            "backlog_bytes": source["backlog"],
            "in_flight_batches": len(self._ledger),
            "commits": self._commits,
            "unsaved": self._unsaved,
            "suricata_stats": self._suricata_stats,
            "failures": self._failures,
            "enricher": self._enricher.stats(),
            "source": source,
            "spool": self._outbound.spool.state(),
            "stage": {} if self._stage is None else self._stage.status(),
            "sinks": self._outbound.status(),
        }


def _rest(stop: threading.Event, seconds: float) -> None:
    """Wait, for less if we are to stop; while the last is drained there is nobody to wait for."""
    if stop.is_set():
        time.sleep(min(seconds, _IDLE_SECONDS))
    else:
        stop.wait(seconds)


def _cause(error: OSError) -> str:
    """What went wrong, where, and the remedy: in a file of ours, or in the source's own words."""
    if error.filename is None:
        return str(error.strerror)
    return f"{error.strerror}: {error.filename}; see whether its disk has room"


def _stats_event(line: bytes) -> dict[str, Any] | None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if type(event) is dict and event.get("event_type") == "stats":
        return event
    return None


def _split(lines: bytes) -> list[bytes]:
    return [line + b"\n" for line in lines.split(b"\n")[:-1]]


def _each(lines: bytes, ids: Ids) -> list[Ids]:
    """The ids of `lines`, for each line by itself."""
    if isinstance(ids, Places):
        at, each = 0, []
        for line in lines.split(b"\n")[:-1]:
            each.append(ids.behind(at))
            at += len(line) + 1
        return list(each)
    return [Named([id_]) for id_ in ids.ids]
