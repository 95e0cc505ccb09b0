"""Rows and keys of a flow store's file, and a file of 0.1.0 brought to the present schema."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from reassembly.records import Endpoints, FlowRecord, emit_record, keys_of
from reassembly.schema import APPLICATION_ID, SCHEMA_VERSION, ends_key, name_key, row
from reassembly.store import SqliteStore, StoreError
from tests.reassembly.test_store import ATTACK, LEG, LEG6, RECORD, RESTORED, SECOND, S

# As 0.1.0 made it.
SCHEMA_1 = """
CREATE TABLE record (
    id TEXT NOT NULL, epoch INTEGER NOT NULL, start INTEGER NOT NULL, line BLOB NOT NULL,
    PRIMARY KEY (id, epoch)
) WITHOUT ROWID;
CREATE INDEX record_start ON record (start);
CREATE TABLE tuple (
    proto TEXT NOT NULL, src_ip TEXT NOT NULL, src_port INTEGER NOT NULL,
    dest_ip TEXT NOT NULL, dest_port INTEGER NOT NULL,
    start INTEGER NOT NULL, id TEXT NOT NULL, epoch INTEGER NOT NULL, by TEXT NOT NULL,
    PRIMARY KEY (proto, src_ip, src_port, dest_ip, dest_port, start, id, epoch, by)
) WITHOUT ROWID;
CREATE INDEX tuple_record ON tuple (id, epoch);
"""


def file_of_1(path: Path, *records: FlowRecord) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(
            f"{SCHEMA_1} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;"
        )
        for one in records:
            db.execute(
                "INSERT INTO record VALUES (?, ?, ?, ?)",
                (one.id, one.epoch, one.start, emit_record(one)),
            )
            for ends, by in keys_of(one):
                db.execute(
                    "INSERT INTO tuple VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (one.proto, *ends, one.start, one.id, one.epoch, by),
                )
    db.close()


def test_a_file_of_0_1_0_is_brought_to_the_present_schema(tmp_path: Path) -> None:
    path = tmp_path / "flows.db"
    others = [
        RECORD._replace(id=f"{n:016x}", start=(300 + n) * S, observed=LEG._replace(src_port=n))
        for n in range(2000, 500, -1)
    ]
    restored = RESTORED._replace(id="b", observed=LEG._replace(src_port=2), start=120 * S)
    file_of_1(path, SECOND, RECORD, restored, *others)
    with SqliteStore(path, max_records=1510) as store:
        assert len(store) == 1503
        for ends, at, wanted in [
            (LEG, 105, RECORD),
            (LEG.reverse(), 205, SECOND),
            (ATTACK, 125, restored),
            (LEG._replace(src_port=700), 1001, others[1300]),
        ]:
            match = store.lookup("TCP", *ends, at * S)
            assert match is not None
            assert match.record == wanted
        # 1. A record closes that was open.
        store.add(SECOND._replace(end=210 * S))
        assert len(store) == 1503
        # 2. Those that began first leave first.
        store.add_many(
            RECORD._replace(id=f"new {n}", start=5000 * S, observed=LEG._replace(src_port=n))
            for n in range(9)
        )
        assert store.lookup("TCP", *LEG, 105 * S) is None
        assert store.lookup("TCP", *LEG._replace(src_port=2000), 2300 * S) is not None
    with sqlite3.connect(path) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert tables == {"record", "record_name", "record_observed", "record_restored"}


def test_two_that_open_a_file_of_0_1_0_at_once_bring_it_over_once(tmp_path: Path) -> None:
    path = tmp_path / "flows.db"
    file_of_1(path, *(RECORD._replace(id=f"{n}") for n in range(3000)))
    code = (
        "import sys; from reassembly.store import SqliteStore\n"
        "with SqliteStore(sys.argv[1]) as store: print(len(store))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [one.communicate(timeout=180)[0] for one in both] == ["3000\n", "3000\n"]


def test_what_cannot_be_brought_over_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "flows.db"
    file_of_1(path, RECORD)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE record SET line = 'no record'")
    with pytest.raises(StoreError, match="a record in it cannot be read"):
        SqliteStore(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM tuple").fetchone() == (1,)


NAMES = ["0" * 16, "f" * 16, "9f0c2a6e51d3b874", "9F0C2A6E51D3B874", "0x0000000000000a", "a"]
ODD_NAMES = ["", "-000000000000001", "0000_0000_0000_1", "\u0660" * 16, "\ud800", "a" * 17, "z"]


def test_names_are_told_apart() -> None:
    keys = [name_key(name) for name in NAMES + ODD_NAMES]
    assert len(set(keys)) == len(keys)
    assert keys[:2] == [-(1 << 63), (1 << 63) - 1]
    assert all(-(1 << 63) <= key < 1 << 63 for key in keys)


@pytest.mark.parametrize("ends", [LEG, LEG6, ATTACK, Endpoints("10.0.0.1", 0, "10.0.0.1", 65535)])
def test_both_directions_have_one_key_and_neighbours_are_near(ends: Endpoints) -> None:
    key = ends_key("TCP", ends)
    assert key == ends_key("TCP", ends.reverse())
    assert -(1 << 63) <= key < 1 << 63
    assert key != ends_key("UDP", ends)
    assert key != ends_key("TCP", ends._replace(src_ip=ends.dest_ip, dest_ip="192.0.2.1"))
    if ends.src_port > ends.dest_port:
        assert ends_key("TCP", ends._replace(src_port=ends.src_port + 1)) == key + 1


def test_the_file_s_keys_do_not_depend_on_the_process() -> None:
    assert row(RESTORED._replace(id="9f0c2a6e51d3b874"), b"line") == (
        2237209768203892852,
        0,
        100 * S,
        -4750097745970815935,
        6719427078314833237,
        b"line",
    )
    assert row(RECORD, b"")[4] is None
