"""A sink's file turned over: when, what is kept, and what a crash leaves."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path

import pytest

from suricata.sinks.rotate import Rotation, rotated, tidy

from ..delivery.parts import until

DAY = 86_400

# Limits | last written | size | now | is it due?
DUE = [
    ({"max_bytes": 100}, 0, 99, 0, False),
    ({"max_bytes": 100}, 0, 100, 0, True),
    ({"seconds": DAY}, 10, 1, DAY - 1, False),
    ({"seconds": DAY}, 10, 1, DAY, True),
    ({"seconds": DAY}, DAY - 1, 1, DAY, True),
    ({"seconds": DAY, "max_bytes": 5}, DAY, 5, DAY, True),
]


@pytest.mark.parametrize(("limits", "written", "size", "now", "due"), DUE)
def test_when_it_is_due(
    limits: dict[str, int], written: float, size: int, now: float, due: bool
) -> None:
    rotation = Rotation(max_bytes=limits.get("max_bytes"), seconds=limits.get("seconds"))
    rotation.opened(written)
    assert rotation.is_due(size, now) == due


def test_what_was_turned_over_is_compressed_aside_and_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    rotation = Rotation(max_bytes=1, keep=3)
    for number in range(6):
        path.write_bytes(b"%d\n" % number)
        path.chmod(0o640)
        rotation.turn(path)
    until(lambda: [one.suffix for one in rotated(path)] == [".gz"] * 3)
    rotation.close()
    assert [gzip.decompress(one.read_bytes()) for one in rotated(path)] == [b"3\n", b"4\n", b"5\n"]
    assert {one.stat().st_mode & 0o777 for one in rotated(path)} == {0o640}
    assert rotation.status() == {"rotated": 6, "rotations_failed": 0}
    until(lambda: not any(thread.name == "rotation" for thread in threading.enumerate()))


def test_what_a_crash_left_is_begun_anew_and_others_files_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    names = [f"out.json.20260101T00000{n}.000000" for n in range(4)]
    for name in names:
        (tmp_path / name).write_bytes(b"x\n" * 1000)
    # Killed while one was compressed, and between the last two steps of another.
    (tmp_path / f"{names[0]}.gz.part").write_bytes(b"half")
    (tmp_path / f"{names[2]}.gz").write_bytes(gzip.compress(b"x\n" * 1000))
    others = ["out.json.1", "out.json.old", "other.json.20260101T000000.000000"]
    for name in others:
        (tmp_path / name).write_bytes(b"x")
    tidy(path, 4, compress=True)
    assert [one.name for one in rotated(path)] == [f"{name}.gz" for name in names[1:]]
    assert all(gzip.decompress(one.read_bytes()) == b"x\n" * 1000 for one in rotated(path))
    assert sorted(one.name for one in tmp_path.iterdir() if one not in rotated(path)) == sorted(
        others
    )


def test_a_failure_is_said_and_costs_no_event(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "out.json"
    rotation = Rotation(max_bytes=1, say=lambda _, text: said.append(text))
    # Where the compressed one would go there is a directory.
    path.write_bytes(b"1\n")
    rotation.turn(path)
    until(lambda: [one.suffix for one in rotated(path)] == [".gz"])
    [first] = rotated(path)
    first.unlink()
    first.mkdir()
    (tmp_path / first.name.removesuffix(".gz")).write_bytes(b"1\n")
    path.write_bytes(b"2\n")
    rotation.turn(path)
    until(lambda: said)
    assert "older files of" in said[0]
    assert rotation.status()["rotations_failed"] == 1
    rotation.close()
