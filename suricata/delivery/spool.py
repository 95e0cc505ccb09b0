"""What the relay wrote and not every sink has: in memory, on disk as soon as a sink lags.

              acked        delivered          taken            last
    sink a ────┴──────────────┴─────────────────┴─────────────────┤
               safe from a    its client        being             put
               power cut      has them          delivered

In memory while every sink keeps up. Once one is two seconds behind, or memory is full, all that not
every sink has goes to disk, and what comes next, until all have caught up; so the source can forget
what was read though that sink has nothing of it. From a source that gives nothing twice all goes to
disk at once.

A sink's backlog is what it has not taken. Where it reaches the sink's limit, either nothing more
is read (`block`), or the sink's place moves on (`drop-oldest`): it finds a gap in its blocks, whose
size their frames tell, to the next run as well until what lies behind it is acknowledged. A disk
that takes nothing makes every sink one that blocks.

Where events wait in the source itself for whoever comes next (`spills` is false), nothing goes to
disk: once memory is full, nothing more is read.

The relay's thread puts and tidies, each sink's takes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from peeltap_core import count_lines

from .positions import Count
from .segments import SEGMENT_BYTES, Block, Cursor, Segment, Segments

MEMORY_BYTES: Final = 8 << 20

# A longer block is cut; only lines that waited for their record come so many at once.
BLOCK_BYTES: Final = 1 << 20

SPILL_SECONDS: Final = 2.0
"""So far may a sink be behind before its backlog goes to disk."""

_FULL_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 1.0


class Limit(NamedTuple):
    """What may wait for a sink, and what becomes of more."""

    bytes: int
    drops: bool = False


class Gap(NamedTuple):
    """Events that a sink will not get."""

    events: int
    bytes: int


class Taken(NamedTuple):
    """What a sink goes on with; `gap` lies before the first of `blocks`."""

    blocks: list[Block]
    gap: Gap | None = None


class _Place:
    """How far a sink got."""

    def __init__(self, limit: Limit, number: int) -> None:
        self.limit = limit
        self.acked = self.delivered = self.taken = number
        # Put up to the end of what was taken; None until the first block tells.
        self.bytes: int | None = None
        self.lines: int | None = None
        # The same up to `acked`; and the ends of the blocks that were taken since.
        self.count: Count | None = None
        self.ends: deque[tuple[int, Count]] = deque()
        # Taken before it was moved on, and perhaps not delivered yet.
        self.held = number
        self.cursor = Cursor()
        self.dropped = Gap(0, 0)


class Spool:
    """One for all sinks; `limits` by their names, `places` how far each got in earlier runs.

    `counts` is what was put up to there, `forgotten` up to where the source gives nothing again;
    `rereads`: whether the source gives again what was not committed. Raises OSError where the
    directory cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        limits: Mapping[str, Limit],
        places: Mapping[str, int],
        *,
        counts: Mapping[str, Count] = MappingProxyType({}),
        forgotten: int = 0,
        rereads: bool = True,
        notice: Callable[[str], None] = lambda _: None,
        memory_bytes: int = MEMORY_BYTES,
        spill_seconds: float = SPILL_SECONDS,
        spills: bool = True,
    ) -> None:
        smallest = min((limit.bytes for limit in limits.values()), default=SEGMENT_BYTES * 8)
        self._segments = Segments(
            directory,
            segment_bytes=max(1 << 16, min(SEGMENT_BYTES, smallest // 8)),
            notice=notice,
        )
        self._directory = directory
        self._memory_bytes = memory_bytes
        self._spill_seconds = spill_seconds
        self._spills = spills
        self._rereads = rereads
        newest = self._segments.last
        self.last = max([*places.values(), 0 if newest is None else newest.number])
        self._bytes = 0 if newest is None else newest.bytes_after
        self._lines = 0 if newest is None else newest.lines_after
        # Contiguous by number; of each, when it was put.
        self._memory: dict[int, tuple[Block, float]] = {}
        self._first = self.last + 1
        self._held_bytes = 0
        # On disk is all from `_disk_first` to `_disk_last`, safe up to `_synced`.
        self._disk_on = newest is not None or not rereads
        self._disk_first = self._segments.all[0].first if newest is not None else self.last + 1
        self._disk_last = self._synced = self.last
        self._retry_at = 0.0
        self._trouble: str | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._places = {
            # A sink that is new wants what comes from now on.
            name: _Place(limit, places.get(name, self.last))
            for name, limit in limits.items()
        }
        for name, place in self._places.items():
            known = counts.get(name) if name in places else None
            self._begin(place, newest, known, forgotten)
        self.forget({name: place.acked for name, place in self._places.items()})

    def _begin(
        self, place: _Place, newest: Block | None, known: Count | None, forgotten: int
    ) -> None:
        """Where a sink goes on that has all up to `place.acked`, as earlier runs left it."""
        before = place.acked
        early = max(before, self.last if newest is None else self._disk_first - 1)
        place.acked = place.delivered = place.taken = place.held = early
        if newest is None or before > newest.number:
            place.count = Count(self._bytes, self._lines)
        elif before >= self._disk_first:
            place.count = known
        else:
            oldest = self._segments.all[0]
            place.count = Count(oldest.bytes_before, oldest.lines_before)
            if (
                known is not None
                and known.lines < oldest.lines_before
                and (before < forgotten or before == early)
            ):
                # It was moved on, and has not been told.
                place.count = known
                place.held = early - 1
            # Or what lies between its place and the disk was never forgotten in the source: it
            # comes again.
        if place.count is not None:
            place.bytes, place.lines = place.count

    # The relay's thread.

    def put(self, lines: bytes, now: float) -> int:
        """Take over whole lines; the number of their last block. Never raises: see `trouble`."""
        at = 0
        while at < len(lines):
            end = len(lines)
            if end - at > BLOCK_BYTES:
                end = lines.rfind(b"\n", at, at + BLOCK_BYTES) + 1 or lines.index(b"\n", at) + 1
            piece = lines[at:end]
            at = end
            with self._changed:
                block = Block(self.last + 1, piece, count_lines(piece), self._bytes, self._lines)
                self._memory[block.number] = block, now
                self.last = block.number
                self._bytes, self._lines = block.bytes_after, block.lines_after
                self._held_bytes += len(piece)
                self._changed.notify_all()
        self.tidy(now)
        return self.last

    def tidy(self, now: float) -> None:
        """Time has passed: to disk with what is late, out of memory with what all have."""
        if not self._disk_on:
            with self._changed:
                self._evict(min(place.delivered for place in self._places.values()))
                oldest = self._memory.get(self._first)
            if oldest is not None and self._spills:
                age = now - oldest[1]
                full = self._held_bytes >= self._memory_bytes
                if age >= self._spill_seconds or (full and age >= _FULL_SECONDS):
                    self._spill()
        if self._disk_on:
            self._write_out(now)
            self._drop()
            with self._changed:
                low = min(place.delivered for place in self._places.values())
                if self._held_bytes > self._memory_bytes // 2:
                    self._evict(self._disk_last, to_bytes=self._memory_bytes // 2)
                if low == self.last and self._rereads and self._disk_last == self.last:
                    self._disk_on = False

    def spill(self, now: float) -> None:
        """All that not every sink has goes to disk; see `trouble`."""
        if not self._spills:
            return
        with self._changed:
            self._evict(min(place.delivered for place in self._places.values()))
        if not self._disk_on and self._memory:
            self._spill()
        if self._disk_on:
            self._retry_at = 0.0
            self._write_out(now)

    def _spill(self) -> None:
        self._disk_on = True
        self._disk_first = self._first
        self._disk_last = self._synced = self._first - 1

    def _write_out(self, now: float) -> None:
        if self._disk_last == self.last or now < self._retry_at:
            return
        try:
            for number in range(self._disk_last + 1, self.last + 1):
                self._segments.append(self._memory[number][0])
                with self._changed:
                    self._disk_last = number
        except OSError as error:
            self._retry_at = now + _RETRY_SECONDS
            self._trouble = (
                f"{self._directory} takes nothing ({error.strerror}): reading stops until every"
                " sink takes events, or its disk has room"
            )
        else:
            self._trouble = None

    def _evict(self, number: int, to_bytes: int = -1) -> None:
        """Out of memory with blocks up to `number`, oldest first, until `to_bytes` are left."""
        while self._first <= number and self._held_bytes > to_bytes:
            block, _ = self._memory.pop(self._first)
            self._held_bytes -= len(block.lines)
            self._first += 1

    def _drop(self) -> None:
        """Move on the sinks whose backlog is too large, by whole files of the disk."""
        for place in self._places.values():
            if not place.limit.drops or self._backlog(place) < place.limit.bytes:
                continue
            for segment in self._segments.all:
                if self._bytes - segment.bytes_before < place.limit.bytes and segment.last >= 0:
                    with self._changed:
                        if segment.first - 1 > place.taken:
                            place.taken = segment.first - 1
                    break

    def _backlog(self, place: _Place) -> int:
        """Bytes that it has not taken."""
        if place.taken >= self.last:
            return 0
        with self._changed:
            after = self._memory.get(place.taken + 1)
        if after is not None:
            return self._bytes - after[0].bytes_before
        if place.bytes is not None and place.taken <= place.held:
            return self._bytes - place.bytes
        for segment in self._segments.all:
            if segment.last > place.taken:
                return self._bytes - segment.bytes_before
        return 0

    @property
    def has_room(self) -> bool:
        """Whether more may be put: no sink that blocks is at its limit, nor memory at its own."""
        if self._held_bytes >= self._memory_bytes and (
            not self._disk_on or self._disk_last < self.last
        ):
            return False
        return all(
            place.limit.drops or self._backlog(place) < place.limit.bytes
            for place in self._places.values()
        )

    def wait_room(self, seconds: float) -> None:
        """Until a sink has moved on, or `seconds` have passed."""
        with self._changed:
            self._changed.wait(seconds)

    def sync(self) -> None:
        """What is on disk is safe from a power cut when this returns. Raises OSError."""
        if self._disk_on and self._synced < self._disk_last:
            last = self._disk_last
            self._segments.sync()
            self._synced = last

    @property
    def safe(self) -> int:
        """Up to this number nothing is needed of the source any more."""
        low = min(place.acked for place in self._places.values())
        if self._disk_on and low >= self._disk_first - 1:
            return max(low, self._synced)
        return low

    def acked(self) -> dict[str, int]:
        """Each sink's place, as it may be saved."""
        return {name: place.acked for name, place in self._places.items()}

    def kept(self) -> tuple[dict[str, int], dict[str, Count]]:
        """The same, and what was put up to there."""
        with self._changed:
            places = self._places.items()
            counts = {name: place.count for name, place in places if place.count is not None}
            return {name: place.acked for name, place in places}, counts

    def forget(self, saved: Mapping[str, int]) -> None:
        """The places in `saved` are kept for the next start: files that nobody needs go."""
        with self._changed:
            # Together, as they belong together: a sink's thread is about to move them.
            places = [
                (saved.get(name, 0), place.taken, place.held)
                for name, place in self._places.items()
            ]

        def unneeded(segment: Segment) -> bool:
            for number, taken, held in places:
                if segment.last > max(taken, number):
                    return False
                # What it took before it was moved on, and has not delivered.
                if number < segment.last and segment.first <= held:
                    return False
            return True

        if self._segments.all:
            if not self._disk_on:
                try:
                    self._segments.finish()
                except OSError:
                    return
            self._segments.forget(unneeded)

    @property
    def trouble(self) -> str | None:
        """Why the disk takes nothing, while that is so."""
        return self._trouble

    # Each sink's thread.

    def take(self, name: str, max_bytes: int, timeout: float) -> Taken:
        """The next blocks of sink `name`, about `max_bytes`; none after `timeout` seconds.

        Raises OSError where the disk cannot be read.
        """
        place = self._places[name]
        until = time.monotonic() + timeout
        while True:
            with self._changed:
                while place.taken >= self.last and not self._closed:
                    rest = until - time.monotonic()
                    if rest <= 0 or not self._changed.wait(rest):
                        break
                blocks, size, number = [], 0, place.taken + 1
                while size < max_bytes and (found := self._memory.get(number)) is not None:
                    blocks.append(found[0])
                    size += len(found[0].lines)
                    number += 1
                if blocks:
                    return self._taken(place, blocks)
                if place.taken >= self._disk_last:
                    return Taken([])
                first, last = place.taken + 1, self._disk_last
            block = self._read(place, first, last)
            with self._changed:
                if block is not None:
                    return self._taken(place, [block])
                # It is gone, by the disk's fault or since this sink was moved on meanwhile.
                place.taken = max(place.taken, min(last, self._first - 1))

    def _read(self, place: _Place, first: int, last: int) -> Block | None:
        for segment in self._segments.all:
            if segment.last < first:
                continue
            try:
                block = place.cursor.read(segment, max(first, segment.first), last)
            except FileNotFoundError:
                continue
            if block is not None:
                return block
        return None

    def _taken(self, place: _Place, blocks: list[Block]) -> Taken:
        gap = None
        if place.lines is not None and place.bytes is not None:
            events = blocks[0].lines_before - place.lines
            if events > 0:
                gap = Gap(events, blocks[0].bytes_before - place.bytes)
                place.dropped = Gap(*(a + b for a, b in zip(place.dropped, gap, strict=True)))
        place.ends += [(one.number, Count(one.bytes_after, one.lines_after)) for one in blocks]
        place.bytes, place.lines = blocks[-1].bytes_after, blocks[-1].lines_after
        place.taken = max(place.taken, blocks[-1].number)
        place.held = blocks[-1].number
        return Taken(blocks, gap)

    def delivered(self, name: str, number: int) -> None:
        """The client of `name` has all up to `number`."""
        with self._changed:
            place = self._places[name]
            place.delivered = max(place.delivered, number)
            self._changed.notify_all()

    def ack(self, name: str, number: int) -> None:
        """What sink `name` has up to `number` is safe there."""
        with self._changed:
            place = self._places[name]
            place.acked = max(place.acked, number)
            while place.ends and place.ends[0][0] <= number:
                place.count = place.ends.popleft()[1]

    # Any thread.

    def names(self) -> Iterable[str]:
        """The sinks."""
        return self._places.keys()

    def status(self, name: str) -> dict[str, Any]:
        """Of a sink: bytes that wait for it, and what it will never get."""
        place = self._places[name]
        return {
            "backlog": self._backlog(place),
            "dropped": place.dropped.events,
            "dropped_bytes": place.dropped.bytes,
        }

    def state(self) -> dict[str, Any]:
        """Of the whole."""
        return {
            "on_disk": self._disk_on,
            "disk_bytes": self._segments.size,
            "memory_bytes": self._held_bytes,
            "trouble": self._trouble,
        }

    def wake(self) -> None:
        """Let `take` return: a sink's thread is to look at something else."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """After all threads: let go of the files. Raises OSError."""
        for place in self._places.values():
            place.cursor.close()
        self._segments.close()
