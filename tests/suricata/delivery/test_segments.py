"""The spool's disk: what was appended is read back, whatever a crash or the disk did to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from suricata.delivery.segments import Block, Cursor, Segments


def block(number: int, size: int = 100) -> Block:
    line = b"%06d" % number + b"x" * (size - 7) + b"\n"
    return Block(number, line, 1, (number - 1) * size, number - 1)


def filled(place: Path, count: int = 10, *, first: int = 1, segment_bytes: int = 500) -> Segments:
    segments = Segments(place, segment_bytes=segment_bytes)
    for number in range(first, first + count):
        segments.append(block(number))
    return segments


def read(segments: Segments, first: int = 1) -> list[int]:
    """The numbers that a reader finds, each block checked against what was appended."""
    cursor, found, number = Cursor(), [], first
    for segment in segments.all:
        while (got := cursor.read(segment, number)) is not None:
            assert got == block(got.number)
            found.append(got.number)
            number = got.number + 1
    cursor.close()
    return found


def test_blocks_come_back_in_files_of_the_size_that_was_asked_for(tmp_path: Path) -> None:
    segments = filled(tmp_path)
    assert read(segments) == list(range(1, 11))
    assert read(segments, 7) == [7, 8, 9, 10]
    assert [(one.first, one.last) for one in segments.all] == [(1, 4), (5, 8), (9, 10)]
    segments.close()
    again = Segments(tmp_path)
    assert read(again) == list(range(1, 11))
    assert again.last == block(10)
    assert [one.bytes_before for one in again.all] == [0, 400, 800]
    assert again.size == sum(path.stat().st_size for path in tmp_path.iterdir())
    again.append(block(11))
    assert read(again, 10) == [10, 11]
    again.close()


def test_what_is_not_wanted_yet_is_still_there_when_it_is(tmp_path: Path) -> None:
    segments = filled(tmp_path, 4)
    [segment] = segments.all
    cursor = Cursor()
    assert cursor.read(segment, 1, 2) == block(1)
    assert cursor.read(segment, 3, 2) is None
    assert cursor.read(segment, 3, 3) == block(3)
    cursor.close()
    segments.close()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    path.write_bytes(data)


def claim_much(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[:4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)


# What happens to the first, the middle, the last file | what is left | of which is something said?
DAMAGE: list[tuple[str, int, Callable[[Path], None], list[int], bool]] = [
    ("a torn end", 2, cut, [1, 2, 3, 4, 5, 6, 7, 8, 9], False),
    ("a bit of the last block", 2, scribble, [1, 2, 3, 4, 5, 6, 7, 8, 9], False),
    ("a bit in the middle", 1, scribble, [1, 2, 3, 4, 5, 6, 7, 9, 10], True),
    ("a length that cannot be", 0, claim_much, [5, 6, 7, 8, 9, 10], True),
    ("an empty last file", 2, lambda path: path.write_bytes(b""), list(range(1, 9)), False),
    ("a file of something else", 1, lambda p: p.write_text("x" * 99), [1, 2, 3, 4, 9, 10], True),
]


@pytest.mark.parametrize(
    ("at", "damage", "left", "told"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE]
)
def test_damage_costs_what_it_hit_and_no_more(
    tmp_path: Path, at: int, damage: Callable[[Path], None], left: list[int], told: bool
) -> None:
    filled(tmp_path).close()
    damage(sorted(tmp_path.iterdir())[at])
    said: list[str] = []
    segments = Segments(tmp_path, notice=said.append)
    assert read(segments) == left
    assert bool(said) == told
    segments.append(block(11))
    assert read(segments)[-1] == 11
    segments.close()


def test_a_file_goes_when_nobody_needs_it_but_not_the_one_that_is_written(tmp_path: Path) -> None:
    segments = filled(tmp_path)
    segments.forget(lambda segment: segment.last <= 8)
    assert read(segments) == [9, 10]
    segments.forget(lambda segment: True)
    assert read(segments) == [9, 10]
    segments.finish()
    segments.forget(lambda segment: True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_goes_on_where_files_are_missing(tmp_path: Path) -> None:
    segments = filled(tmp_path)
    segments.forget(lambda segment: segment.first == 5)
    assert read(segments) == [1, 2, 3, 4, 9, 10]
    segments.close()
