"""The spool: what each sink takes, what is safe, what is dropped; driven block by block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suricata.delivery.positions import Count
from suricata.delivery.spool import Limit, Spool, Taken

WIDE = Limit(1 << 30)
LINE = 100


def lines(first: int, count: int) -> bytes:
    return b"".join(b"%06d" % n + b"x" * (LINE - 7) + b"\n" for n in range(first, first + count))


def spool(place: Path, names: str = "ab", **more: Any) -> Spool:
    limits = more.pop("limits", dict.fromkeys(names, WIDE))
    return Spool(place, limits, more.pop("places", {}), **more)


def take(spool: Spool, name: str, size: int = 1 << 20) -> Taken:
    return spool.take(name, size, 0)


def firsts(taken: Taken) -> list[int]:
    return [int(block.lines[:6]) for block in taken.blocks]


def drain(spool: Spool, name: str) -> list[int]:
    """Everything that is there for a sink: the number of each line."""
    found: list[int] = []
    while (taken := take(spool, name)).blocks:
        for block in taken.blocks:
            found += [int(line[:6]) for line in block.lines.splitlines()]
    return found


def done(spool: Spool, name: str, number: int) -> None:
    spool.delivered(name, number)
    spool.ack(name, number)


def test_each_sink_takes_everything_at_its_own_pace(tmp_path: Path) -> None:
    both = spool(tmp_path)
    for n in range(5):
        both.put(lines(n, 1), 0)
    assert firsts(take(both, "a")) == [0, 1, 2, 3, 4]
    assert firsts(take(both, "b", size=1)) == [0]
    assert firsts(take(both, "b", size=150)) == [1, 2]
    assert take(both, "a") == Taken([])
    assert both.safe == 0
    done(both, "a", 5)
    assert both.safe == 0
    done(both, "b", 3)
    assert both.safe == 3
    assert both.acked() == {"a": 5, "b": 3}
    assert list(tmp_path.iterdir()) == []


def test_what_a_sink_lags_behind_with_goes_to_disk_until_it_has_caught_up(tmp_path: Path) -> None:
    both = spool(tmp_path, spill_seconds=2)
    both.put(lines(0, 1), 10)
    done(both, "a", 1)
    both.tidy(11)
    assert not both.state()["on_disk"]
    both.tidy(12)
    assert both.state()["on_disk"]
    both.put(lines(1, 1), 12)
    # The source may forget it as soon as it is safe there.
    assert both.safe == 0
    both.sync()
    assert both.safe == 2
    assert firsts(take(both, "b")) == [0, 1]
    done(both, "a", 2)
    done(both, "b", 2)
    both.tidy(13)
    assert not both.state()["on_disk"]
    both.forget(both.acked())
    assert both.state()["disk_bytes"] == 0
    # And in memory again, with nothing left behind.
    both.put(lines(2, 1), 13)
    assert firsts(take(both, "b")) == [2]
    assert both.safe == 2
    both.close()


def test_memory_is_bounded_while_a_sink_sleeps(tmp_path: Path) -> None:
    both = spool(tmp_path, memory_bytes=20_000, spill_seconds=0)
    for n in range(0, 5000, 10):
        both.put(lines(n, 10), n)
        assert both.state()["memory_bytes"] <= 20_000
        assert both.has_room
        drain(both, "a")
        done(both, "a", both.last)
    assert drain(both, "b") == list(range(5000))
    both.close()


def test_reading_stops_before_memory_overflows_but_not_for_long(tmp_path: Path) -> None:
    both = spool(tmp_path, memory_bytes=1000, spill_seconds=60)
    both.put(lines(0, 11), 0)
    assert not both.has_room
    both.tidy(0.4)
    assert not both.has_room
    both.tidy(0.6)
    assert both.has_room
    assert both.state()["on_disk"]
    both.close()


def test_a_source_that_gives_nothing_twice_is_on_disk_at_once(tmp_path: Path) -> None:
    both = spool(tmp_path, rereads=False)
    both.put(lines(0, 3), 0)
    # Killed here: nothing was saved, nothing was said to be done.
    again = spool(tmp_path, rereads=False, places={"a": 0, "b": 0})
    assert drain(again, "a") == drain(again, "b") == [0, 1, 2]
    assert again.last == 1
    both.close()
    again.close()


def test_a_restart_goes_on_where_each_sink_was(tmp_path: Path) -> None:
    first = spool(tmp_path, spill_seconds=0)
    for n in range(10):
        first.put(lines(n, 1), n)
    done(first, "a", 10)
    done(first, "b", 4)
    first.sync()
    saved = first.acked()
    first.close()
    second = spool(tmp_path, "abc", places=saved)
    assert drain(second, "a") == []
    assert drain(second, "b") == [4, 5, 6, 7, 8, 9]
    # One that is new begins with what comes.
    second.put(lines(10, 1), 0)
    assert drain(second, "c") == [10]
    assert drain(second, "a") == [10]
    second.close()


def test_after_a_restart_without_anything_on_disk_numbers_go_on(tmp_path: Path) -> None:
    again = spool(tmp_path, places={"a": 90, "b": 70})
    assert again.put(lines(0, 1), 0) == 91
    assert drain(again, "a") == drain(again, "b") == [0]


def test_what_is_on_disk_but_begins_behind_a_sinks_place_is_taken_all_the_same(
    tmp_path: Path,
) -> None:
    """The blocks between were never forgotten in the source: it gives them again."""
    first = spool(tmp_path, "ab", places={"a": 90, "b": 90}, spill_seconds=0)
    for n in range(3):
        first.put(lines(n, 1), n)
    first.close()
    second = spool(tmp_path, "ab", places={"a": 5, "b": 91})
    assert drain(second, "a") == [0, 1, 2]
    assert drain(second, "b") == [1, 2]
    second.close()


def test_a_full_backlog_blocks_or_drops_what_is_oldest(tmp_path: Path) -> None:
    limits = {"block": Limit(1 << 20), "drop": Limit(1 << 20, drops=True)}
    both = spool(tmp_path, limits=limits, spill_seconds=0)
    put = 0
    while both.has_room:
        both.put(lines(put, 100), put)
        put += 100
    assert put * LINE == pytest.approx(1 << 20, rel=0.02)
    assert both.status("block")["backlog"] >= 1 << 20
    # The one that blocks catches up; then the other loses, by files of the disk.
    assert len(drain(both, "block")) == put
    done(both, "block", both.last)
    for _ in range(200):
        both.put(lines(put, 100), put)
        put += 100
        done(both, "block", both.last)
        drain(both, "block")
    assert both.has_room
    assert both.status("drop")["backlog"] <= 1 << 20
    first = take(both, "drop")
    kept = len(first.blocks) * 100 + len(drain(both, "drop"))
    assert kept * LINE <= 1 << 20
    # Though nothing was taken before.
    assert first.gap == (put - kept, (put - kept) * LINE)
    both.forget(both.acked())
    both.close()


def test_a_gap_tells_how_many_are_missing(tmp_path: Path) -> None:
    one = spool(tmp_path, limits={"a": Limit(1 << 19, drops=True)}, spill_seconds=0)
    one.put(lines(0, 10), 0)
    [block] = take(one, "a").blocks
    put = 10
    for _ in range(200):
        one.put(lines(put, 100), put)
        put += 100
    one.forget(one.acked())
    # What it took, and has not delivered, is still there for the next start.
    assert one.acked() == {"a": 0}
    taken = take(one, "a")
    assert taken.gap is not None
    found = [int(line[:6]) for b in taken.blocks for line in b.lines.splitlines()]
    assert found[0] == 10 + taken.gap.events
    assert taken.gap.bytes == taken.gap.events * LINE
    assert one.status("a")["dropped"] == taken.gap.events
    one.sync()
    one.close()
    # Killed: it is the same gap again, and the blocks in front of it again.
    again = spool(tmp_path, limits={"a": Limit(1 << 30)}, places={"a": 0})
    first = take(again, "a", size=1)
    assert first.blocks == [block]
    gap = None
    while gap is None:
        gap = take(again, "a").gap
    assert gap.events <= taken.gap.events
    again.close()


class Runs:
    """A sink `a` that may lose, and what is kept from run to run, each ended by a kill."""

    def __init__(self, place: Path, limit: int = 1 << 19, spill_seconds: float = 0) -> None:
        self._place = place
        self._more = {"spill_seconds": spill_seconds}
        self._limit = Limit(limit, drops=True)
        self._kept: tuple[dict[str, int], dict[str, Count]] = ({}, {})
        self.forgotten = 0
        self.spool = self._begin()
        self.put = 0

    def _begin(self) -> Spool:
        numbers, counts = self._kept
        more = {"counts": counts, "forgotten": self.forgotten, **self._more}
        begun = spool(self._place, limits={"a": self._limit}, places=numbers, **more)
        self._kept = begun.kept()
        return begun

    def fill(self, blocks: int) -> None:
        for _ in range(blocks):
            self.spool.put(lines(self.put, 100), self.put)
            self.put += 100

    def save(self) -> None:
        """As a commit does it."""
        self.spool.sync()
        self.forgotten = self.spool.safe
        self._kept = self.spool.kept()
        self.spool.forget(self._kept[0])

    def kill(self) -> None:
        self.spool = self._begin()

    def all(self) -> tuple[int, int]:
        """Events that are there, and those that are told to be missing."""
        found = missing = 0
        while (taken := take(self.spool, "a")).blocks:
            found += sum(block.events for block in taken.blocks)
            missing += taken.gap.events if taken.gap else 0
        return found, missing


def test_a_gap_is_told_after_a_kill_until_what_lies_behind_it_is_acknowledged(
    tmp_path: Path,
) -> None:
    runs = Runs(tmp_path)
    runs.fill(1)
    done(runs.spool, "a", take(runs.spool, "a").blocks[-1].number)
    runs.spool.tidy(runs.put)
    runs.save()
    # It has all, takes nothing more, and is moved on; of what was before the gap nothing is left.
    runs.fill(200)
    runs.save()
    for _ in range(2):
        runs.kill()
        assert runs.spool.status("a")["backlog"] <= 1 << 19
        taken = take(runs.spool, "a", size=1)
        assert taken.gap is not None
        assert taken.blocks[0].lines_before == 100 + taken.gap.events
    # Moved on still more, before it was told.
    runs.fill(100)
    runs.save()
    runs.kill()
    found, missing = runs.all()
    assert (missing > taken.gap.events, found + missing) == (True, runs.put - 100)
    # Told and acknowledged it is not told again.
    done(runs.spool, "a", runs.spool.last)
    runs.save()
    runs.fill(1)
    runs.kill()
    assert runs.all() == (100, 0)


def test_what_the_source_gives_again_is_no_gap(tmp_path: Path) -> None:
    # A sink is said to have what its client took and has not made safe yet; the rest goes to disk.
    runs = Runs(tmp_path, 1 << 30, spill_seconds=1e9)
    runs.fill(11)
    take(runs.spool, "a")
    runs.spool.delivered("a", 5)
    runs.spool.spill(0)
    runs.save()
    assert runs.forgotten == 0
    for _ in range(2):
        runs.kill()
        assert runs.all() == (600, 0)


def test_numbers_that_were_in_memory_alone_are_no_gap(tmp_path: Path) -> None:
    runs = Runs(tmp_path, 1 << 30)
    runs.fill(3)
    done(runs.spool, "a", take(runs.spool, "a").blocks[-1].number)
    runs.spool.tidy(runs.put)
    runs.save()
    runs.kill()
    assert runs.spool.last == 3
    runs.fill(2)
    assert runs.all() == (200, 0)


def test_a_long_block_is_cut_between_lines(tmp_path: Path) -> None:
    one = spool(tmp_path, "a")
    long = lines(0, 30_000)
    assert one.put(long + b"y" * (3 << 20) + b"\n", 0) == 4
    taken = take(one, "a", size=1 << 30)
    assert b"".join(block.lines for block in taken.blocks) == long + b"y" * (3 << 20) + b"\n"
    assert all(block.lines.endswith(b"\n") for block in taken.blocks)
    assert [block.events for block in taken.blocks][-1] == 1


class Full:
    """A disk that takes nothing, and then does."""

    def __init__(self, spool: Spool) -> None:
        self.full = True
        self._append = spool._segments.append

    def __call__(self, block: Any) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self._append(block)


def test_a_full_disk_stops_the_reading_says_so_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = spool(tmp_path, "a", spill_seconds=0, memory_bytes=1000)
    disk = Full(one)
    monkeypatch.setattr(one._segments, "append", disk)
    one.put(lines(0, 6), 0)
    one.put(lines(6, 6), 0)
    assert not one.has_room
    assert one.trouble is not None
    assert "takes nothing (No space left on device): reading stops" in one.trouble
    assert one.safe == 0
    disk.full = False
    one.tidy(0.5)
    assert one.trouble is not None, "not tried at every turn"
    one.tidy(1.5)
    assert one.trouble is None
    assert one.has_room
    assert drain(one, "a") == list(range(12))
    one.close()


def test_a_stop_brings_to_disk_what_a_sink_has_not(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.put(lines(0, 3), 0)
    done(one, "a", 1)
    one.spill(0)
    one.sync()
    assert one.safe == 1
    saved = one.acked()
    one.close()
    again = spool(tmp_path, places=saved)
    assert (drain(again, "a"), drain(again, "b")) == ([], [0, 1, 2])
    again.close()


def test_where_events_wait_in_the_source_nothing_goes_to_disk(tmp_path: Path) -> None:
    both = spool(tmp_path, memory_bytes=1000, spill_seconds=0, spills=False)
    number = 0
    while both.has_room:
        both.put(lines(number, 1), now=float(number))
        number += 1
    both.tidy(now=1e6)
    both.spill(1e6)
    assert not both.has_room
    assert both.state()["disk_bytes"] == 0
    assert list(tmp_path.rglob("*.spool")) == []
    for name in "ab":
        drain(both, name)
        done(both, name, both.last)
    both.tidy(now=1e6)
    assert both.has_room
    assert both.safe == both.last
    both.close()
