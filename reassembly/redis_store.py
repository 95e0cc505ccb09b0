"""Flow records that sensors anywhere published to Redis, looked up by a worker.

    block of events ──prefetch──> one round trip ──> cache ──lookup──> Enricher
                                                       ^
    events that wait ──> wanted ──now and then─────────┘

An answer must not be older than the event: an epoch of a reused port may be on its way. So each
sensor says up to which moment its records are all there (`redis_flows`), and that is read *before*
the records are. A closed connection that holds the event's moment is sure. An open one is sure up
to its sensor's word; beyond that it counts as `late`, as if it had ended, and the event waits for
the sensor's next word, as it waits for a record that is not there at all.

While Redis does not answer, everything waits: events uncorrected are of no use, and wait in Redis
themselves.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from peeltap_core import FlowIndex

from . import redis_flows
from .records import Endpoints, FlowRecord, RecordError, keys_of
from .redis_flows import Kept, Link, Site
from .schema import FAR
from .store import EARLY_NS, Match, StoreError, choose, event_ip

CACHED: Final = 1 << 16
"""Tuples that are remembered, mostly with one record each: about 2 KB."""

# A tuple is asked for again at most so often; while it is wanted with growing rests.
FRESH_SECONDS: Final = 0.25
_REST_MOST_SECONDS: Final = 2.0
_MAX_WANTED: Final = 20_000
_PIPELINE: Final = 1000
_RETRY_FIRST_SECONDS: Final = 0.1
_RETRY_MOST_SECONDS: Final = 2.0

# As Suricata writes it. Within a text its quotes are escaped.
_TUPLE: Final = re.compile(
    rb'"src_ip":"([0-9a-fA-F.:]{2,45})","src_port":([0-9]{1,5}),'
    rb'"dest_ip":"([0-9a-fA-F.:]{2,45})","dest_port":([0-9]{1,5}),"proto":"TCP"'
)

_log = logging.getLogger("peeltap.store")


@dataclass(slots=True)
class _Entry:
    """What Redis said of a tuple."""

    raw: dict[bytes, bytes]
    kept: list[Kept]
    # By sensor, up to which moment (ns) its records had been there.
    known: dict[str, int]
    at: float


@dataclass(slots=True)
class _Wanted:
    """A tuple that had no sure answer for some event; another one's may be sure all the while."""

    again: float
    rest: float
    # Whether there was no sure answer since it was asked for last.
    missed: bool = True


class RedisStore:
    """A FlowStore of the records of `site`. Used by one thread; `abort` by any.

    `say` takes a level of `logging` and a sentence. Raises StoreError after `abort` only.
    """

    # What is sure of a record depends on its sensor's word.
    index: FlowIndex | None = None

    def __init__(
        self,
        link: Link,
        site: Site = Site(),  # noqa: B008 - an immutable value
        *,
        cached: int = CACHED,
        say: Callable[[int, str], None] = _log.log,
    ) -> None:
        self._link = link
        self._site = site
        self._cached = cached
        self._say = say
        # By key, the one that was asked for last at the end.
        self._entries: dict[str, _Entry] = {}
        self._wanted: dict[str, _Wanted] = {}
        self._known: dict[str, int] = {}
        self._version = 0
        self._poll_at = 0.0
        self._stop = threading.Event()
        self._trouble: str | None = None
        self._counts = {
            "lookups": 0,
            "asked": 0,
            "round_trips": 0,
            "unsettled": 0,
            "garbage": 0,
            "waits": 0,
        }

    # The Enricher's side.

    @property
    def version(self) -> int:
        """Changes whenever a lookup may answer differently; asks again for what is wanted."""
        now = time.monotonic()
        if self._wanted and now >= self._poll_at:
            self._poll_at = now + FRESH_SECONDS
            due = []
            for key, one in [item for item in self._wanted.items() if item[1].again <= now]:
                if not one.missed:
                    del self._wanted[key]
                    continue
                due.append(key)
                one.missed = False
                one.rest = min(one.rest * 2, _REST_MOST_SECONDS)
                one.again = now + one.rest
            if due:
                self._fetch(due)
                self._version += 1
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
        """See FlowStore."""
        self._counts["lookups"] += 1
        ends = Endpoints(event_ip(src_ip), src_port, event_ip(dest_ip), dest_port)
        key = self._site.key(proto, ends)
        entry = self._entries.get(key)
        if entry is None:
            self._fetch([key])
            entry = self._entries[key]
        found = self._choose(entry, ends, at, started, vlan)
        if found is None or found.confidence == "late":
            wanted = self._wanted.get(key)
            if wanted is not None:
                wanted.missed = True
            else:
                while len(self._wanted) >= _MAX_WANTED:
                    del self._wanted[next(iter(self._wanted))]
                now = time.monotonic()
                self._wanted[key] = _Wanted(now + FRESH_SECONDS, FRESH_SECONDS)
        return found

    def _choose(
        self,
        entry: _Entry,
        ends: Endpoints,
        at: int,
        started: int | None,
        vlan: Sequence[int] | None,
    ) -> Match | None:
        if not entry.kept:
            return None
        if len(entry.kept) == 1 and not entry.kept[0].record.restored:
            found = _only(entry.kept[0].record, ends, at, started)
        else:
            found = self._of_many(entry, ends, at, started, vlan)
        if found is None or found.record.end is not None:
            return found
        sensor = next(k.sensor for k in entry.kept if k.record is found.record)
        if not sensor:
            return found
        known = entry.known.get(sensor, 0) - EARLY_NS - 1000
        moment = at if started is None else started
        if moment > known:
            self._counts["unsettled"] += 1
            return found._replace(confidence="late", since=1, until=0)
        return found._replace(until=min(found.until, known))

    def _of_many(
        self,
        entry: _Entry,
        ends: Endpoints,
        at: int,
        started: int | None,
        vlan: Sequence[int] | None,
    ) -> Match | None:
        turned = ends.reverse()
        forward = [k.record for k in entry.kept if any(e == ends for e, _ in keys_of(k.record))]
        backward = [k.record for k in entry.kept if any(e == turned for e, _ in keys_of(k.record))]
        return choose(ends, forward, backward, at, started, vlan)

    def prefetch(self, lines: bytes) -> None:
        """Ask for the connections of all events in `lines` at once."""
        now = time.monotonic()
        entries, wanted = self._entries, dict.fromkeys(_TUPLE.findall(lines))
        keys = []
        for src_ip, src_port, dest_ip, dest_port in wanted:
            ends = Endpoints(
                event_ip(src_ip.decode()),
                int(src_port),
                event_ip(dest_ip.decode()),
                int(dest_port),
            )
            key = self._site.key("TCP", ends)
            entry = entries.get(key)
            if entry is None or now >= entry.at + FRESH_SECONDS:
                keys.append(key)
        # An answer that is sure stays so, whatever comes: only those that were not are to be
        # asked again.
        if keys and self._fetch(keys) and any(key in self._wanted for key in keys):
            self._version += 1

    # Redis.

    def _fetch(self, keys: Sequence[str]) -> bool:
        """Ask for `keys`; whether anything is other than it was."""
        changed = False
        pending = iter(dict.fromkeys(keys))
        while piece := list(islice(pending, _PIPELINE)):
            known, answers = self._insist(piece)
            now = time.monotonic()
            for key, raw in zip(piece, answers, strict=True):
                before = self._entries.pop(key, None)
                if before is not None and before.raw == raw:
                    changed = changed or before.known != known
                    kept = before.kept
                else:
                    changed = True
                    kept = list(self._parse(raw))
                self._entries[key] = _Entry(raw, kept, known, now)
        while len(self._entries) > max(self._cached, len(keys)):
            del self._entries[next(iter(self._entries))]
        return changed

    def _insist(self, keys: Sequence[str]) -> tuple[dict[str, int], list[dict[bytes, bytes]]]:
        """As long as it takes. Raises StoreError after `abort`."""
        rest = _RETRY_FIRST_SECONDS
        while not self._stop.is_set():
            try:
                answer = self._ask(keys)
            except Exception as error:  # the library takes garbage for answers, and falls over it
                sentence = self._link.broken(error)
                if self._trouble is None and not self._stop.is_set():
                    self._say(
                        logging.WARNING, f"flow records cannot be had, events wait: {sentence}"
                    )
                self._trouble = sentence
                self._counts["waits"] += 1
                self._stop.wait(rest)
                rest = min(rest * 2, _RETRY_MOST_SECONDS)
                continue
            if self._trouble is not None:
                self._trouble = None
                self._say(logging.INFO, "flow records are to be had again")
            return answer
        raise StoreError("flow records cannot be had: stopped")

    def _ask(self, keys: Sequence[str]) -> tuple[dict[str, int], list[dict[bytes, bytes]]]:
        client = self._link.connected()
        # 1. How far the sensors were, before their records are read.
        sensors = list(self._known)
        if sensors:
            pipe = client.pipeline(transaction=False)
            for sensor in sensors:
                pipe.get(self._site.sensor_key(sensor))
            for sensor, told in zip(sensors, pipe.execute(), strict=True):
                self._known[sensor] = int(told or 0)
            self._counts["round_trips"] += 1
        # 2. The records.
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.hgetall(key)
        answers = [dict(one) for one in pipe.execute()]
        self._counts["round_trips"] += 1
        self._counts["asked"] += len(keys)
        return dict(self._known), answers

    def _parse(self, raw: dict[bytes, bytes]) -> Iterator[Kept]:
        for field in sorted(raw):
            try:
                kept = redis_flows.parse(field, raw[field])
            except RecordError:
                self._counts["garbage"] += 1
                continue
            if kept.sensor:
                # From now on it is asked how far it is.
                self._known.setdefault(kept.sensor, 0)
            yield kept

    # The rest of a FlowStore.

    def add(self, record: FlowRecord) -> None:
        """Keep `record`, as no sensor's: what is open of it is taken to be all that there is."""
        self.add_many((record,))

    def add_many(self, records: Iterable[FlowRecord]) -> int:
        """As `add`; how many there were. Raises StoreError where Redis does not take them."""
        source, total = iter(records), 0
        while batch := list(islice(source, _PIPELINE)):
            try:
                redis_flows.put(self._link, self._site, batch, "")
            except Exception as error:  # as above
                raise StoreError(self._link.broken(error)) from None
            total += len(batch)
        self._entries.clear()
        self._version += 1
        return total

    def __len__(self) -> int:
        """Tuples that are remembered here; Redis has others."""
        return len(self._entries)

    def abort(self) -> None:
        """From another thread: wait for nothing any more."""
        self._stop.set()
        self._link.abort()

    def close(self) -> None:
        """Let go of everything."""
        self._stop.set()
        self._entries.clear()
        self._link.close()

    def stats(self) -> dict[str, Any]:
        """Counters, and what is remembered."""
        return {
            **self._counts,
            "cached": len(self._entries),
            "wanted": len(self._wanted),
            "sensors": len(self._known),
            "trouble": self._trouble,
        }


def _only(record: FlowRecord, ends: Endpoints, at: int, started: int | None) -> Match | None:
    """What `choose` says of the only record of a tuple, as it nearly always is."""
    moment = at if started is None else started
    since = record.start - record.start % 1000 - EARLY_NS
    if moment < since:
        return None
    turned = record.observed != ends
    if turned and record.observed != ends.reverse():
        return None
    if record.end is not None and moment > record.end:
        return Match(record, turned, "observed", "late")
    until = FAR if record.end is None else record.end
    return Match(record, turned, "observed", "time" if started is None else "exact", since, until)
