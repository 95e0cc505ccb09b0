"""The events that everybody gets, and hands that write a growing file of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

from bench.eve import generate
from bench.measure import MeasureError

ROTATE_BYTES = 128 << 20
AHEAD = 100_000
PIECE = 2_000
TICK_SECONDS = 0.01

_STAMP_FROM = len(b'{"timestamp":"')
_STAMP_TO = _STAMP_FROM + len("2026-01-01T00:00:00.000000+0000")

# Where the flow records of `bench.eve` begin.
_FIRST = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


class Material:
    """An EVE file and its flow records in `directory`."""

    def __init__(self, directory: Path, events: int) -> None:
        directory.mkdir()
        self.eve, self.flows = generate(directory, events)
        self.events = events
        self.size = self.eve.stat().st_size / events

    def place(self, directory: Path, *, link: bool = False) -> Path:
        """A directory for one service: the flow records, and with `link` the whole file."""
        directory.mkdir()
        (directory / "flows.jsonl").symlink_to(self.flows)
        if link:
            # The same file: nobody writes to it.
            (directory / "eve.json").hardlink_to(self.eve)
        return directory

    def open_ended(self) -> None:
        """Let no connection end, so that events of today are theirs."""
        if time.time() < _FIRST:
            raise MeasureError("the clock is before 2026, which is when the connections began")
        text = self.flows.read_bytes()
        ends = b'"end":"'
        out, at = [], 0
        while (found := text.find(ends, at)) >= 0:
            out += [text[at:found], b'"end":null']
            at = text.index(b'"', found + len(ends)) + 1
        self.flows.write_bytes(b"".join([*out, text[at:]]))


class Feed:
    """Appends events of `material` to `directory`/eve.json, again and again, and turns it over.

    As Suricata does: by rename, and what is older than the last goes.
    """

    def __init__(self, directory: Path, material: Material) -> None:
        self._path = directory / "eve.json"
        self._before = directory / "eve.json.1"
        lines = material.eve.read_bytes().splitlines(keepends=True)
        self._lines = lines
        self._pieces: Iterator[list[bytes]] = cycle(
            [lines[at : at + PIECE] for at in range(0, len(lines) - PIECE + 1, PIECE)]
        )
        self._file = self._path.open("ab", buffering=0)
        self._size = 0
        self.written = 0

    def close(self) -> None:
        self._file.close()

    def up_to(self, events: int, acknowledged: int) -> None:
        """Write on until `events`, but stay within AHEAD of what was `acknowledged`."""
        while self.written < min(events, acknowledged + AHEAD):
            piece = next(self._pieces)[: events - self.written]
            # The reader has seen the file before this one.
            if self._size >= ROTATE_BYTES and acknowledged == self.written:
                self._turn()
            self._write(b"".join(piece), len(piece))
            if self._size >= ROTATE_BYTES:
                return

    def pace(self, rate: int, seconds: float) -> Iterator[float]:
        """Write `rate` events a second, stamped with the moment; yields how late each write was."""
        per_tick = int(rate * TICK_SECONDS)
        rests = [line[_STAMP_TO:] for line in self._lines]
        begin, at = time.monotonic(), 0
        for tick in range(int(seconds / TICK_SECONDS)):
            due = begin + tick * TICK_SECONDS
            time.sleep(max(0.0, due - time.monotonic()))
            if at + per_tick > len(rests):
                at = 0
            head = b'{"timestamp":"' + stamp(time.time()).encode()
            self._write(b"".join([head + rest for rest in rests[at : at + per_tick]]), per_tick)
            at += per_tick
            yield time.monotonic() - due

    def _turn(self) -> None:
        self._file.close()
        self._path.replace(self._before)
        self._file = self._path.open("ab", buffering=0)
        self._size = 0

    def _write(self, data: bytes, events: int) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]
        self._size += len(data)
        self.written += events


def stamp(seconds: float) -> str:
    """A moment as Suricata writes it in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f%z")


def moment(line: bytes) -> float:
    """When the event of `line` happened, in seconds since 1970."""
    return datetime.fromisoformat(line[_STAMP_FROM:_STAMP_TO].decode()).timestamp()
