"""Records from one thread, answers in another; memory and file together answer as one store."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reassembly.live_store import LiveStore
from reassembly.records import Counters, Endpoints, FlowRecord, HeaderSeen, emit_record
from reassembly.store import MemoryStore, SqliteStore, StoreError

SECOND = 1_000_000_000
ROOT = Path(__file__).parents[2]


def record(number: int, epoch: int = 0, *, port: int | None = None, end: bool = True) -> FlowRecord:
    start = (1_767_225_600 + number) * SECOND
    return FlowRecord(
        id=f"{number:016x}",
        epoch=epoch,
        proto="TCP",
        observed=Endpoints("172.16.23.1", port or 1000 + number, "172.16.23.2", 9000),
        vlan=(),
        true=Endpoints("203.0.113.7", 40_000, "192.168.110.2", 80),
        headers=(HeaderSeen("proxy-v2", 28, {}),),
        start=start,
        end=start + SECOND // 2 if end else None,
        verdict="stripped",
        restored=False,
        packets=Counters(1, 2),
        bytes=Counters(3, 4),
    )


def text(*records: FlowRecord) -> bytes:
    return b"".join(emit_record(one) + b"\n" for one in records)


def ask(store: LiveStore | MemoryStore, one: FlowRecord, at: int) -> str | None:
    found = store.lookup("TCP", *one.observed, at)
    return None if found is None else f"{found.record.id} {found.confidence}"


def test_what_is_added_is_found_at_once_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "flows.sqlite"
    one = record(1)
    store = LiveStore(path)
    version = store.version
    store.add_lines(text(one, record(2)))
    assert store.flush(60)
    assert store.version != version
    assert ask(store, one, one.start) == f"{one.id} time"
    assert store.stats()["from_memory"] == 1
    store.close()
    store = LiveStore(path)
    assert store.stats()["before"] == 2
    for _ in range(3):
        assert ask(store, one, one.start) == f"{one.id} time"
        assert ask(store, record(3), one.start) is None
    # The file was asked once for each; what it said is kept.
    assert (store.stats()["from_file"], store.stats()["from_file_kept"]) == (2, 4)
    store.add_lines(text(record(3)))
    assert store.flush(60)
    assert ask(store, record(3), record(3).start) == f"{record(3).id} time"
    store.close()


def test_a_damaged_file_is_moved_aside_and_said(tmp_path: Path) -> None:
    path = tmp_path / "flows.sqlite"
    path.write_bytes(b"no SQLite file at all" * 100)
    said: list[str] = []
    store = LiveStore(path, say=lambda level, text: said.append(text))
    store.add_lines(text(record(1)))
    assert store.flush(60)
    assert ask(store, record(1), record(1).start)
    store.close()
    [aside] = tmp_path.glob("flows.sqlite.bad-*")
    assert aside.read_bytes().startswith(b"no SQLite file")
    assert said == [
        f"{path} is damaged: it is now {aside.name}, and events of connections that ended before"
        " this start are not corrected"
    ]
    # What is merely of something else is not ours to move.
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE other (x)")
    with pytest.raises(StoreError, match="an SQLite file of something else"):
        LiveStore(other)


def test_memory_and_file_answer_as_one_store(tmp_path: Path) -> None:
    rng = random.Random(5)
    store, plain = LiveStore(tmp_path / "flows.sqlite", recent_records=20), MemoryStore()
    for step in range(40):
        records = [
            record(
                step * 5 + n,
                rng.randrange(3),
                port=rng.randrange(1000, 1010),
                end=rng.random() > 0.3,
            )
            for n in range(5)
        ]
        store.add_lines(text(*records))
        plain.add_many(records)
        assert store.flush(60)
        for _ in range(60):
            at = (1_767_225_600 + rng.randrange(200)) * SECOND + rng.randrange(SECOND)
            one = record(0, port=rng.randrange(1000, 1012))
            assert ask(store, one, at) == ask(plain, one, at)
    assert store.stats()["from_file_kept"] > 0
    store.close()


def test_announced_and_closed_within_a_batch_is_one_write(tmp_path: Path) -> None:
    path = tmp_path / "flows.sqlite"
    store = LiveStore(path)
    # Held back, the first two meet in one block; the others meet on their way to the file.
    with store._lock:
        for n in (1, 2):
            store.add_lines(text(record(n, end=False)))
            store.add_lines(b"garbage\n" + text(record(n)))
    assert store.flush(60)
    # A later batch finds it in the file, and takes its place there.
    store.add_lines(text(record(3, end=False)))
    assert store.flush(60)
    store.add_lines(text(record(3)))
    store.close()
    stats = store.stats()
    assert (stats["superseded"], stats["garbage"]) == (2, {"not_json": 2})
    assert stats["records"] + stats["superseded"] >= 6
    with SqliteStore(path) as kept:
        assert len(kept) == 3
        for n in (1, 2, 3):
            match = kept.lookup("TCP", *record(n).observed, record(n).start)
            assert match is not None
            assert match.record == record(n)


def test_two_threads(tmp_path: Path) -> None:
    store = LiveStore(tmp_path / "flows.sqlite", recent_records=100)
    records = [record(n) for n in range(3000)]

    def add() -> None:
        for at in range(0, len(records), 30):
            store.add_lines(text(*records[at : at + 30]))

    thread = threading.Thread(target=add)
    thread.start()
    seen = 0
    while seen < len(records):
        if ask(store, records[seen], records[seen].start):
            seen += 1
    thread.join()
    store.close()
    stats = store.stats()
    assert (stats["records"], stats["overflowed"], stats["not_saved"]) == (3000, 0, 0)


def test_garbage_and_overflow_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LiveStore(tmp_path / "flows.sqlite")
    store.add_lines(b"garbage\n" + text(record(1)))
    store.add_lines(b"")
    assert store.flush(60)
    monkeypatch.setattr("reassembly.live_store.MAX_QUEUED_BYTES", 10)
    store.add_lines(text(record(2), record(3)))
    store.close()
    stats = store.stats()
    assert stats["garbage"] == {"not_json": 1}
    assert (stats["records"], stats["overflowed"]) == (1, 2)


# In a mount namespace of its own, with a disk of 256 KiB.
FULL = """
import subprocess, sys
from pathlib import Path
from reassembly.live_store import LiveStore
from tests.reassembly.test_live_store import ask, record, text
place = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=True)
said = []
store = LiveStore(place / "flows.sqlite", say=lambda _, what: said.append(what))
filler = place / "filler"
filler.write_bytes(b"x" * 100_000)
for at in range(0, 1000, 100):
    store.add_lines(text(*[record(n) for n in range(at, at + 100)]))
    assert store.flush(60)
stats = store.stats()
assert stats["unsaved"] > 0 and stats["trouble"], stats
for n in range(1000):
    assert ask(store, record(n), record(n).start), n
assert len(said) == 1 and "full" in said[0], said
subprocess.run(["mount", "-o", "remount,size=8m", place], check=True)
while store.stats()["unsaved"]:
    store.add_lines(text(record(5000)))
    store.flush(1)
store.close()
assert len(said) == 2 and "again" in said[1], said
store = LiveStore(place / "flows.sqlite")
assert store.stats()["before"] == 1001, store.stats()
print("found")
"""


@pytest.mark.netns
def test_a_full_disk_leaves_what_memory_holds(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", FULL, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert (done.stdout, done.stderr) == ("found\n", "")


def test_what_memory_holds_the_core_has_too(tmp_path: Path) -> None:
    store = LiveStore(tmp_path / "flows.sqlite", recent_records=3)
    store.add_lines(text(*(record(number, end=False) for number in range(5))))
    assert store.flush()
    assert len(store.index) == len(store) == 3
    # The same one, closed; and another use of its tuple.
    store.add_lines(text(record(4), record(5, port=1004)))
    assert store.flush()
    assert len(store.index) == len(store) == 3
    store.close()
