"""Carries events from a source through the Enricher to the sinks, and commits what arrived.

    source ──lines──> Enricher ──blocks──> sinks
       ^                  │ waits             │ acknowledged
       └──── commit ──── ledger <─────────────┘

At least once: a place in the source is committed when every event before it has left the Enricher
and every sink has acknowledged it. After kill -9 what was not committed comes again: at most a
second of events, and with them whatever followed an event that waited for its flow record.

A sink without room stops the reading; events then wait in Suricata's file. Trouble of a source or
a sink is a state that is told in `status`, said once in a while, and tried again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from .enrich import Enricher
from .eve import Clock
from .ledger import Ledger
from .notices import Notices
from .sinks.sink import Sink, SinkError
from .sources.source import Batch, Source, SourceError

# As in `streams`: half of a usual second-level cache.
READ_BYTES: Final = 1 << 16

COMMIT_SECONDS: Final = 1.0
DRAIN_SECONDS: Final = 3.0

_IDLE_SECONDS: Final = 0.1
_SNAPSHOT_SECONDS: Final = 0.5
_RETRY_FIRST_SECONDS: Final = 0.1
_RETRY_MOST_SECONDS: Final = 5.0
_PAUSE_FIRST_SECONDS: Final = 0.02
_PAUSE_MOST_SECONDS: Final = 0.5

_STATS: Final = b'"event_type":"stats"'
_STAMP_AT: Final = len(b'{"timestamp":"')
_STAMP_BYTES: Final = len("2026-01-01T00:00:00.000000+0000")

_log = logging.getLogger("peeltap.events")


class Relay:
    """One thread from `source` to `sinks`.

    `on_stats` is called in that thread with each of Suricata's `stats` events, which go to the
    sinks only with `forward_stats`. `say` takes a level of `logging` and a sentence.
    """

    def __init__(
        self,
        source: Source,
        enricher: Enricher,
        sinks: Sequence[Sink],
        *,
        on_stats: Callable[[dict[str, Any]], None] | None = None,
        forward_stats: bool = False,
        say: Callable[[int, str], None] = _log.log,
        read_bytes: int = READ_BYTES,
        commit_seconds: float = COMMIT_SECONDS,
    ) -> None:
        self._source = source
        self._enricher = enricher
        self._sinks = list(sinks)
        self._on_stats = on_stats
        self._forward_stats = forward_stats
        self._notices = Notices(say)
        self._read_bytes = read_bytes
        self._commit_seconds = commit_seconds
        self._ledger = Ledger()
        self._clock = Clock()
        self._block = 0
        self._commit_at = 0.0
        self._unsaved = False
        self._flush_failed = False
        self._source_trouble: str | None = None
        self._retry = _RETRY_FIRST_SECONDS
        self._retry_at = 0.0
        self._pause = _PAUSE_FIRST_SECONDS
        self._lag_seconds: float | None = None
        self._last_event_ns: int | None = None
        self._suricata_stats = 0
        self._commits = 0
        self._failures = 0
        self._reopen = threading.Event()
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
        self._thread.join(drain_seconds + 2.0)
        return not self._thread.is_alive()

    def reopen(self) -> None:
        """Files of the sinks were rotated: they are opened anew, soon."""
        self._reopen.set()

    def status(self) -> dict[str, Any]:
        """What the thread last knew, at most a second old while it is well.

        `beat`: the moment of time.monotonic() at which it was; `lag_seconds`: by how much the last
        event was late; `source`, `sinks` and `enricher` have their own counters.
        """
        return dict(self._snapshot)

    # The thread.

    def run(self, stop: threading.Event) -> None:
        """Carry events until `stop` is set, then drain, commit and close. Raises nothing."""
        while not stop.is_set():
            self._guarded(lambda: self._step(stop, _IDLE_SECONDS))
        self._guarded(lambda: self._drain(stop))
        for close in [self._source.close, *(sink.close for sink in self._sinks)]:
            self._guarded(close)
        self._take_snapshot(time.monotonic())

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
        # 1. What is kept goes on first.
        if self._reopen.is_set():
            self._reopen.clear()
            self._each_sink(lambda sink: sink.reopen())
        self._each_sink(lambda sink: sink.pump())
        if self._flush_failed or not all(sink.has_room for sink in self._sinks):
            with contextlib.suppress(SourceError, OSError):
                # Whoever rotates the source does not wait for the sink.
                self._source.look()
            self._commit(now)
            self._take_snapshot(now)
            _rest(stop, self._pause)
            self._pause = min(self._pause * 2, _PAUSE_MOST_SECONDS)
            return True
        self._pause = _PAUSE_FIRST_SECONDS
        # 2. One batch in.
        batch = self._read(stop, now, timeout)
        now = time.monotonic()
        if batch is None:
            lines = self._enricher.tick(now)
        else:
            lines = self._feed(self._without_stats(batch.lines), now)
            self._ledger.fed(self._enricher.line_number, batch.token)
        # 3. Out.
        self._write(lines)
        self._commit(now)
        self._take_snapshot(now)
        return batch is not None

    def _each_sink(self, part: Callable[[Sink], None]) -> bool:
        well = True
        for sink in self._sinks:
            try:
                part(sink)
            except SinkError as error:
                well = False
                self._notices.say(f"sink {sink.name}", str(error))
            else:
                if sink.has_room and not self._flush_failed:
                    self._notices.ended(f"sink {sink.name}", f"{sink.name} takes events again")
        return well

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

    def _without_stats(self, lines: bytes) -> bytes:
        """Measure the lag, and take out the `stats` events."""
        self._measure(lines)
        if _STATS not in lines:
            return lines
        kept = []
        for line in lines.splitlines(keepends=True):
            event = _stats_event(line) if _STATS in line else None
            if event is None:
                kept.append(line)
                continue
            self._suricata_stats += 1
            if self._on_stats is not None:
                self._on_stats(event)
            if self._forward_stats:
                kept.append(line)
        return b"".join(kept)

    def _measure(self, lines: bytes) -> None:
        start = lines.rfind(b"\n", 0, -1) + 1 + _STAMP_AT
        at = self._clock.parse(lines[start : start + _STAMP_BYTES].decode("ascii", "replace"))
        if at is not None:
            self._last_event_ns = at
            self._lag_seconds = max(0.0, (time.time_ns() - at) / 1e9)

    def _feed(self, lines: bytes, now: float) -> bytes:
        try:
            return self._enricher.feed(lines, now)
        except Exception as error:
            # Whatever it was, the events are not lost by it: each by itself, and the one at fault
            # as it is.
            self._notices.say("fault", f"events: {type(error).__name__}: {error}", logging.ERROR)
            out = []
            for line in lines.splitlines(keepends=True):
                try:
                    out.append(self._enricher.feed(line, now))
                except Exception:
                    self._failures += 1
                    out.append(line)
            return b"".join(out)

    def _write(self, lines: bytes) -> None:
        if lines:
            self._block += 1
            for sink in self._sinks:
                sink.write(self._block, lines)
        self._ledger.left(self._enricher.oldest_waiting, self._block)

    def _commit(self, now: float, *, at_once: bool = False) -> None:
        if now < self._commit_at and not at_once:
            return
        self._commit_at = now + self._commit_seconds
        arrived = min((sink.acknowledged for sink in self._sinks), default=self._block)
        # 1. What is forgotten in the source must be safe in the sinks.
        if not self._ledger.has_settled(arrived) and not self._unsaved:
            return
        self._flush_failed = not self._each_sink(lambda sink: sink.flush())
        if self._flush_failed:
            return
        # 2. Forgotten.
        self._unsaved = True
        try:
            self._source.commit(self._ledger.settled(arrived))
        except OSError as error:
            self._notices.say(
                "state",
                f"the place in {self._source.name} cannot be saved ({error.strerror}): after a"
                " crash more events would come twice; free the disk of the state directory",
            )
            return
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
        if all(sink.has_room for sink in self._sinks):
            # Corrected or not, they are written once; left for the next start they would come
            # again together with all that followed them.
            self._write(self._enricher.flush())
            self._each_sink(lambda sink: sink.pump())
        self._commit(time.monotonic(), at_once=True)

    def _take_snapshot(self, now: float) -> None:
        if now < self._snapshot_at and not self._stop.is_set():
            return
        self._snapshot_at = now + _SNAPSHOT_SECONDS
        source = self._source.status()
        blocked = not all(sink.has_room for sink in self._sinks)
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
            "sinks": {sink.name: sink.status() for sink in self._sinks},
        }


def _rest(stop: threading.Event, seconds: float) -> None:
    """Wait, for less if we are to stop; while the last is drained there is nobody to wait for."""
    if stop.is_set():
        time.sleep(min(seconds, _IDLE_SECONDS))
    else:
        stop.wait(seconds)


def _stats_event(line: bytes) -> dict[str, Any] | None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if type(event) is dict and event.get("event_type") == "stats":
        return event
    return None
