"""Places that are kept: together or not at all, through damage and earlier releases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from suricata.delivery.positions import Count, DeliveryState
from suricata.sources import position
from suricata.sources.position import Position, Positions, Print

PLACES: Positions = {"eve.json": [Position(7, 100, Print.of(b"head\n"), Print.of(b"window"), 1)]}


def state(tmp_path: Path) -> DeliveryState:
    return DeliveryState(tmp_path / "events.sqlite", before=tmp_path / "events-position.json")


def test_what_is_saved_together_is_there_again(tmp_path: Path) -> None:
    one = state(tmp_path)
    assert (one.load(), one.sinks()) == (({}, None), {})
    with one.transaction():
        one.save(PLACES)
        one.save_sinks({"a": 3, "b": 1}, {"a": Count(90, 9)}, 7)
    one.save_sinks({"b": 2})
    # Another process, after this one was killed.
    assert state(tmp_path).load() == (PLACES, None)
    assert state(tmp_path).sinks() == {"a": 3, "b": 2}
    assert (state(tmp_path).counts(), state(tmp_path).forgotten()) == ({"a": (90, 9)}, 7)
    assert state(tmp_path).keep_only(["b", "c"]) == ["a"]
    assert one.sinks() == {"b": 2}
    one.close()


def test_a_transaction_that_fails_leaves_what_was(tmp_path: Path) -> None:
    one = state(tmp_path)
    one.save_sinks({"a": 1})

    def fail() -> None:
        with one.transaction():
            one.save_sinks({"a": 2})
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    assert one.sinks() == {"a": 1}
    with one.transaction():
        one.save_sinks({"a": 3})
    assert one.sinks() == {"a": 3}


def test_sqlites_errors_are_the_files(tmp_path: Path) -> None:
    one = state(tmp_path)
    other = sqlite3.connect(tmp_path / "events.sqlite", isolation_level=None)
    other.execute("DROP TABLE sinks")
    other.close()
    with pytest.raises(OSError, match="no such table: sinks"):
        one.save_sinks({"a": 1})


def test_places_of_an_earlier_release_are_taken_over(tmp_path: Path) -> None:
    position.save(tmp_path / "events-position.json", PLACES)
    one = state(tmp_path)
    assert one.load() == (PLACES, None)
    one.save({})
    assert state(tmp_path).load() == ({}, None)


def test_a_file_that_knows_no_counts_is_gone_on_with(tmp_path: Path) -> None:
    before = sqlite3.connect(tmp_path / "events.sqlite", isolation_level=None)
    before.executescript(
        "CREATE TABLE sinks (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;"
        "INSERT INTO sinks VALUES ('a', 3); PRAGMA user_version = 1;"
    )
    before.close()
    for _ in range(2):
        one = state(tmp_path)
        assert (one.sinks(), one.counts(), one.forgotten()) == ({"a": 3}, {}, 0)
        one.close()
    one = state(tmp_path)
    one.save_sinks({"a": 4}, {"a": Count(1, 2)}, 3)
    assert (one.counts(), one.forgotten()) == ({"a": (1, 2)}, 3)


def test_a_damaged_file_is_set_aside_and_named(tmp_path: Path) -> None:
    (tmp_path / "events.sqlite").write_bytes(b"no database at all" * 100)
    one = state(tmp_path)
    assert one.warning is not None
    assert "events.sqlite is damaged" in one.warning
    assert "now events.sqlite.damaged" in one.warning
    assert one.sinks() == {}
    assert (tmp_path / "events.sqlite.damaged").exists()


def test_odd_places_are_named(tmp_path: Path) -> None:
    one = state(tmp_path)
    one.save(PLACES)
    one._connection.execute("UPDATE source SET places = '{\"version\": 9}'")
    places, why = one.load()
    assert places == {}
    assert why is not None
    assert "events.sqlite is damaged (version 9)" in why


def test_a_directory_that_is_not_there_and_a_later_release_are_errors(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"gone/events.sqlite cannot be opened"):
        DeliveryState(tmp_path / "gone" / "events.sqlite")
    one = state(tmp_path)
    one._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(OSError, match="of a later release"):
        state(tmp_path)
