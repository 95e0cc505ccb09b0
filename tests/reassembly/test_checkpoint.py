"""Checkpoints in their file: what is loaded is what was saved, whatever happened to the writer."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reassembly.checkpoint import MOST_ROWS, SPARE_BYTES, CheckpointStore, LastRun
from reassembly.store import SqliteStore, StoreError

S = 1_000_000_000
NOW = 1_800_000_000 * S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "connections.db"


# what is saved (worker, blob, full) | what worker 0 and worker 1 load
SAVED = [
    ("nothing", [], [], []),
    ("one", [(0, b"a", True)], [b"a"], []),
    ("the newest first", [(0, b"a", True), (0, b"b", False), (0, b"c", False)], [*b"cba"], []),
    ("a full one replaces", [(0, b"a", True), (0, b"b", False), (0, b"c", True)], [*b"c"], []),
    ("its own stream only", [(0, b"a", True), (1, b"b", True), (0, b"c", True)], [*b"c"], [*b"b"]),
    ("empty ones are none", [(0, b"a", True), (0, b"", False)], [*b"a"], []),
    ("an empty full one", [(0, b"a", True), (0, b"", True)], [], []),
]


@pytest.mark.parametrize(
    ("saved", "first", "second"), [row[1:] for row in SAVED], ids=[row[0] for row in SAVED]
)
def test_what_was_saved_is_loaded(
    path: Path, saved: list[tuple[int, bytes, bool]], first: list[int], second: list[int]
) -> None:
    with CheckpointStore(path, workers=2, now=NOW) as store:
        for worker, blob, full in saved:
            store.save(worker, blob, full=full, now=NOW)
    with CheckpointStore(path, workers=2, now=NOW) as store:
        for worker, wanted in enumerate((first, second)):
            assert list(b"".join(store.load(worker))) == list(map(_number, wanted))


def _number(value: int | bytes) -> int:
    return value if isinstance(value, int) else value[0]


def test_it_is_known_how_the_last_run_ended(path: Path) -> None:
    with CheckpointStore(path, now=NOW) as store:
        assert store.left is None, "there was none"
        store.save(0, b"a", full=True, now=NOW + 5 * S)
    with CheckpointStore(path, now=NOW + 9 * S) as store:
        assert store.left == LastRun(clean=False, at=NOW + 5 * S)
        assert store.left.lost_seconds(NOW + 9 * S) == 4.0
        store.save(0, b"a", full=True, now=NOW + 20 * S)
        store.close(clean_at=NOW + 21 * S)
    store = CheckpointStore(path, now=NOW + 99 * S)
    assert store.left == LastRun(clean=True, at=NOW + 21 * S)
    assert store.left.lost_seconds(NOW + 99 * S) == 0.0
    store.close()
    store = CheckpointStore(path, now=NOW + 199 * S)
    assert store.left == LastRun(clean=False, at=NOW + 21 * S), "killed before it saved anything"
    store.close()


def test_another_number_of_workers_offers_everything_to_each(path: Path) -> None:
    with CheckpointStore(path, workers=3, now=NOW) as store:
        for worker in range(3):
            store.save(worker, b"abc"[worker : worker + 1], full=True, now=NOW)
    # Until every worker has written what it took over, the file stays the former workers'.
    for _ in range(2):
        with CheckpointStore(path, workers=2, now=NOW) as store:
            assert store.is_shared
            assert sorted(store.load(0)) == sorted(store.load(1)) == [b"a", b"b", b"c"]
    with CheckpointStore(path, workers=2, now=NOW) as store:
        store.save(0, b"x", full=True, now=NOW)
        store.save(0, b"x1", full=False, now=NOW)
    with CheckpointStore(path, workers=2, now=NOW) as store:
        assert store.is_shared
        assert list(store.load(1)) == [b"x1", b"x", b"c", b"b"]
        store.save(0, b"y", full=True, now=NOW)
        store.save(1, b"z", full=True, now=NOW)
    with CheckpointStore(path, workers=2, now=NOW) as store:
        assert not store.is_shared
        assert (list(store.load(0)), list(store.load(1))) == ([b"y"], [b"z"])


def test_a_long_stream_asks_for_a_full_one(path: Path) -> None:
    store = CheckpointStore(path, now=NOW)
    assert not store.wants_full(0)
    store.save(0, bytes(100), full=True, now=NOW)
    for _ in range(MOST_ROWS):
        assert not store.wants_full(0)
        store.save(0, b"a", full=False, now=NOW)
    assert store.wants_full(0)
    store.save(0, bytes(100), full=True, now=NOW)
    store.save(0, bytes(SPARE_BYTES + 200), full=False, now=NOW)
    assert not store.wants_full(0)
    store.save(0, b"a", full=False, now=NOW)
    assert store.wants_full(0)
    store.close()
    with CheckpointStore(path, now=NOW) as store:
        assert store.wants_full(0), "after a restart, too"


def _garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)


def _cut(path: Path) -> None:
    with CheckpointStore(path, now=NOW) as store:
        for _ in range(50):
            store.save(0, bytes(5000), full=False, now=NOW)
    path.write_bytes(path.read_bytes()[:100_000])


def _newer(path: Path) -> None:
    CheckpointStore(path, now=NOW).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_garbage, "it is damaged"),
        (_cut, "it is damaged"),
        (_newer, "a newer peeltap wrote it (schema 9;"),
    ],
)
def test_a_file_that_cannot_be_used_is_set_aside(
    path: Path, spoil: Callable[[Path], None], why: str
) -> None:
    for n in range(2):
        spoil(path)
        content = path.read_bytes()
        with CheckpointStore(path, now=NOW) as store:
            assert store.set_aside is not None
            assert store.set_aside.startswith(f"{path} cannot be used ({why}")
            assert list(store.load(0)) == []
            store.save(0, b"a", full=True, now=NOW)
        with CheckpointStore(path, now=NOW) as store:
            assert store.set_aside is None
            assert list(store.load(0)) == [b"a"]
        aside = path.with_name(f"{path.name}.bad-20270115T080000" + ("-2" if n else ""))
        assert aside.read_bytes() == content


def test_a_file_of_something_else_is_left_alone(path: Path) -> None:
    SqliteStore(path).close()
    content = path.read_bytes()
    with pytest.raises(StoreError, match="is an SQLite file of something else: set another"):
        CheckpointStore(path, now=NOW)
    assert path.read_bytes() == content


def test_two_services_do_not_share_a_file(path: Path) -> None:
    with (
        CheckpointStore(path, now=NOW),
        pytest.raises(StoreError, match=r"is in use by another process \(waited 0.1 s\): stop"),
    ):
        CheckpointStore(path, now=NOW, busy_seconds=0.1)


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"absent/connections.db cannot hold checkpoints: "):
        CheckpointStore(tmp_path / "absent" / "connections.db", now=NOW)


# Saves one full checkpoint, then small ones that name their number, and says so.
WRITER = """
import sys
from itertools import count
from reassembly.checkpoint import CheckpointStore

store = CheckpointStore(sys.argv[1], now=0)
store.save(0, bytes(100_000), full=True, now=0)
for number in count(1):
    full = number % 50 == 0
    store.save(0, number.to_bytes(8, "big") * 500, full=full, now=number)
    print(number, flush=True)
"""


def test_a_killed_writer_loses_at_most_what_it_was_writing(path: Path) -> None:
    for round_ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        wanted = 130 + 7 * round_
        said = 0
        while said < wanted:
            said = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        said = max([said, *(int(line) for line in writer.stdout.read().split())])
        writer.wait()
        writer.stdout.close()
        store = CheckpointStore(path, now=NOW)
        assert store.set_aside is None
        assert store.left is not None
        assert not store.left.clean
        last = store.left.at
        assert last in (said, said + 1)
        numbers = [int.from_bytes(blob[:8], "big") for blob in store.load(0)]
        assert numbers == list(range(last, last - last % 50 - 1, -1))
        store.close()
        path.unlink()
