"""EVE that Suricata wrote to Redis: a list or a stream, for any number of workers anywhere.

    Suricata ──> inbox ──by flow──> partition 0 ──leased to──> worker A
                                    partition 1 ──────────────> worker B
                                    ...

Whoever reads divides first: what stands in Suricata's key goes, in its order and in one step of
Redis, to streams of which each has a part of the flows. A partition is read by one worker at a
time, which holds its lease, through a consumer group. So a flow's events stay in their order, and
workers need not know of one another: each takes its share of the leases, and gives up what is more.

    free ──> held ──────────────> leaving ──> free
      ^        │ the worker says      all that was read is delivered
      └────────┘ nothing for a lease's time

Whoever gets a lease begins with what the one before had read and not acknowledged (XAUTOCLAIM), in
its order. A worker that stood still for longer than its lease finds it gone with the next read, and
gets nothing; what it had read comes twice then, with the same ids.

Events wait in Redis: a worker's disk is no place for what another must find when this one is gone.

What Suricata sends (its src/util-log-redis.c, SCConfLogOpenRedis): `LPUSH key TEXT` or `RPUSH key
TEXT`; from version 8 on also `XADD key * eve TEXT`, or, as it is unless `stream-maxlen: 0` is set,
`XADD key MAXLEN ~ 100000 * eve TEXT` (`=` with `stream-trim-exact`), which forgets the oldest
entries whether anybody has read them or not. Of an entry the last value is taken, whatever its
field is called.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final, cast

from redis.exceptions import ResponseError

from ..event_settings import RedisEvents
from ..ids import Named
from ..redis_link import RedisLink
from .redis_scripts import ALONE, DONE, HOLD, LEAVE, PREPARE, TAKE
from .source import Batch, SourceError

# Of a step of Redis, in which nobody else gets an answer: about two milliseconds.
DIVIDED_AT_A_TIME: Final = 500

_POLL_SECONDS: Final = 0.1


@dataclass(slots=True)
class _Part:
    """A partition whose lease is ours."""

    number: int
    # What was read last, and whether there may be pending entries behind it.
    last: bytes = b""
    claiming: bool = True
    # Read and not committed.
    open: int = 0
    leaving: bool = False
    # Workers of before are to be forgotten.
    tidied: bool = True

    @property
    def begin(self) -> bytes:
        """Where pending entries are to be looked for; empty: nowhere."""
        if not self.claiming:
            return b""
        if not self.last:
            return b"0-0"
        moment, _, sequence = self.last.partition(b"-")
        return b"%b-%d" % (moment, int(sequence) + 1)


@dataclass(frozen=True, slots=True)
class Keys:
    """Where all of one inbox lies. In a cluster in one slot: they share a tag."""

    about: str
    workers: str
    streams: list[str]
    leases: list[str]

    @classmethod
    def of(cls, settings: RedisEvents) -> Keys:
        """The keys of the inbox of `settings`."""
        return cls.divided(settings, settings.partitions)

    @classmethod
    def divided(cls, settings: RedisEvents, partitions: int) -> Keys:
        """As `of`, with another number of partitions."""
        key = settings.inbox
        # As Redis Cluster reads braces: what lies within the first pair decides on the node.
        tag = key.partition("{")[2].partition("}")
        base = f"{key}:peeltap" if tag[0] and tag[1] else f"{{{key}}}:peeltap"
        numbers = range(partitions)
        return cls(
            base,
            f"{base}:workers",
            [key] if settings.is_direct else [f"{base}:{n}" for n in numbers],
            [f"{base}:lease:{n}" for n in numbers],
        )


_Token = list[tuple[_Part, bytes, int]]


class RedisSource:
    """One worker's view of the inbox of `settings`.

    `from_end`: a stream that is read as it is begins with what comes from now on, where its group
    is new. Raises ValueError for a file of `settings` that cannot be used.
    """

    def __init__(
        self,
        settings: RedisEvents,
        *,
        from_end: bool = False,
        notice: Callable[[str], None] = lambda _: None,
        worker: str | None = None,
    ) -> None:
        self._settings = settings
        self._from_end = from_end
        self._notice = notice
        self._link = RedisLink(settings)
        # Never the same again: what an earlier process of this name had read is another's to claim.
        host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:32]
        self._worker = (worker or f"{host}-{os.getpid()}-{token_hex(4)}").encode()
        self._lease_ms = int(settings.lease_seconds * 1000)
        self._mode = "direct" if settings.is_direct else settings.mode.replace("list", "lpush")
        keys = Keys.of(settings)
        self._about, self._workers = keys.about, keys.workers
        self._streams, self._leases = keys.streams, keys.leases
        self._name = b""
        self._held: dict[int, _Part] = {}
        self._turn = 0
        self._hold_at = 0.0
        self._present = 0
        self._waiting: int | None = None
        self._pending: int | None = None
        self._counts = {"divided": 0, "events": 0, "claimed": 0, "taken_over": 0, "lost": 0}

    @property
    def name(self) -> str:
        """Server and key."""
        return f"{self._settings.url}/{self._settings.inbox}"

    @property
    def rereads(self) -> bool:
        """See Source."""
        return True

    # Reading.

    def read(self, max_bytes: int, timeout: float) -> Batch | None:
        """See Source."""
        try:
            self._hold()
            batch = self._take(max_bytes)
        except Exception as error:  # the library takes garbage for answers, and falls over it
            raise self._failed(error) from None
        if batch is None and timeout > 0:
            time.sleep(min(timeout, _POLL_SECONDS))
        return batch

    def look(self) -> None:
        """See Source: the leases are kept."""
        try:
            self._hold()
        except Exception as error:  # as above
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> SourceError:
        if isinstance(error, SourceError):
            return error
        if isinstance(error, ResponseError) and "NOGROUP" in str(error):
            # Emptied, or begun anew without its file.
            self._name = b""
        # What was answered and did not arrive is pending, behind what did.
        for part in self._held.values():
            part.claiming = True
        return SourceError(self._link.broken(error))

    def _hold(self) -> None:
        """Keep the leases, and take or give up some as workers come and go."""
        now = time.monotonic()
        if now < self._hold_at and self._name:
            return
        if not self._name:
            self._prepare()
        keys = [self._workers, self._settings.inbox, *self._streams, *self._leases]
        parts = self._settings.partitions
        settings = self._settings
        told = (self._worker, self._lease_ms, parts, settings.group, int(settings.delete))
        answer = self._link.run(HOLD, keys, told)
        self._hold_at = now + self._settings.lease_seconds / 5
        self._present, self._waiting, self._pending, mine = answer
        for number in set(self._held) - set(mine):
            self._lost(number)
        for number in mine:
            if number not in self._held:
                self._held[number] = _Part(number)
                self._counts["taken_over"] += 1
        fair = -(-parts // max(1, self._present))
        staying = [part for part in self._held.values() if not part.leaving]
        for part in staying[fair:]:
            part.leaving = True
        self._leave()
        for part in self._held.values():
            if not part.tidied:
                keys = [self._streams[part.number], self._leases[part.number]]
                self._link.run(ALONE, keys, (self._settings.group, self._worker))
                part.tidied = True

    def _prepare(self) -> None:
        """Agree with the other workers on name and number of partitions; make the groups."""
        settings = self._settings
        begin = "$" if settings.is_direct and self._from_end else "0"
        name, parts = self._link.run(
            PREPARE,
            (self._about, *self._streams),
            (token_hex(6), settings.partitions, settings.group, begin),
        )
        if int(parts) != settings.partitions:
            raise SourceError(
                f"{self.name} is divided into {int(parts)} partitions, and partitions:"
                f" {settings.partitions} is asked for: write {int(parts)}, or let the workers empty"
                f" it, stop them all and delete the key {self._about}"
            )
        self._name = bytes(name)

    def _take(self, max_bytes: int) -> Batch | None:
        settings = self._settings
        reading = [part for part in self._held.values() if not part.leaving]
        if reading:
            # The one after the last that was first: a busy partition does not starve the others.
            self._turn = (self._turn + 1) % len(reading)
            reading = reading[self._turn :] + reading[: self._turn]
        keys = [settings.inbox, *self._streams, *self._leases]
        wishes = [word for part in reading for word in (part.number, part.begin)]
        moved, *answers = self._link.run(
            TAKE,
            keys,
            (
                *(settings.group, self._worker, self._lease_ms, self._mode),
                *(DIVIDED_AT_A_TIME, max_bytes, settings.partitions, *wishes),
            ),
        )
        # 1. What was answered; where it is garbage, nothing has happened.
        found = [
            (int(number), more, claimed, ids.split(), ids, text)
            for number, more, claimed, ids, text in (one for one in answers if len(one) > 1)
        ]
        gone = [int(one[0]) for one in answers if len(one) == 1]
        # 2. What follows from it.
        self._counts["divided"] += moved
        for number in gone:
            self._lost(number)
        names: list[bytes] = []
        lines: list[bytes] = []
        token: _Token = []
        for number, more, claimed, each, ids, text in found:
            part = self._held[number]
            if each:
                prefix = b"%b.%d." % (self._name, number)
                names += [prefix + id_ for id_ in each]
                lines.append(text)
                token.append((part, ids, len(each)))
                part.last = each[-1]
                part.open += len(each)
                self._counts["events"] += len(each)
                self._counts["claimed"] += claimed
            if part.claiming and not more:
                part.claiming = part.tidied = False
        if not token:
            return None
        lines.append(b"")
        return Batch(b"\n".join(lines), token, Named(names))

    def _lost(self, number: int) -> None:
        part = self._held.pop(number, None)
        if part is not None and not (part.leaving and part.open == 0):
            self._counts["lost"] += 1
            self._hold_at = 0.0
            self._notice(
                f"partition {number} of {self.name} went to another worker, since this one said"
                f" nothing for {self._settings.lease_seconds:g} s: what it had read comes twice"
            )

    def _leave(self) -> None:
        """Let go of partitions that are to go to others, once all that was read is delivered."""
        gone = [part for part in self._held.values() if part.leaving and not part.open]
        if gone:
            leases = [self._leases[part.number] for part in gone]
            self._link.run(LEAVE, leases, (self._worker,))
            for part in gone:
                del self._held[part.number]

    # Committing.

    def commit(self, tokens: Sequence[object]) -> None:
        """See Source: acknowledged in the group."""
        delivered: dict[int, list[bytes]] = {}
        parts: list[tuple[_Part, int]] = []
        for token in tokens:
            for part, ids, count in cast("_Token", token):
                delivered.setdefault(part.number, []).append(ids)
                parts.append((part, count))
        settings = self._settings
        try:
            for number, pieces in delivered.items():
                arguments = (settings.group, int(settings.delete), b" ".join(pieces))
                self._link.run(DONE, [self._streams[number]], arguments)
            for part, count in parts:
                part.open -= count
            self._leave()
        except Exception as error:  # as above
            raise OSError(errno.EIO, str(self._failed(error))) from None

    # Any thread.

    def status(self) -> dict[str, Any]:
        """See Source.

        In events, of all workers: `waiting`, which partitions and Suricata's key hold, and of these
        `pending`, which somebody has read. Of this one: `open`, read and not yet delivered;
        `divided`, `events`, and of these `claimed` from workers before it.
        """
        return {
            "kind": "redis",
            "inbox": self._settings.inbox,
            "worker": self._worker.decode(),
            "backlog": None,
            "waiting": self._waiting,
            "pending": self._pending,
            "open": sum(part.open for part in self._held.values()),
            "workers": self._present,
            "partitions": sorted(self._held),
            **self._counts,
        }

    def close(self) -> None:
        """See Source: others need not wait for the leases to run out."""
        if self._name:
            try:
                self._link.run(LEAVE, [self._workers, *self._leases], (self._worker,))
            except Exception:  # they run out
                self._notice(f"{self.name} cannot be told that this worker ends")
        self._link.close()
