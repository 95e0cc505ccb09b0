from __future__ import annotations

from pathlib import Path

import pytest

from suricata.session_store import SessionStore, SessionStoreError


def test_what_is_saved_is_there_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    store = SessionStore(path)
    store.save({"a": {"n": 1}, "b": {"n": 2}}, [])
    store.save({"b": {"n": 3}}, ["a"])
    store.close()
    again = SessionStore(path)
    assert again.load() == [{"n": 3}]
    again._db.execute("INSERT INTO sessions VALUES ('c', 'no json'), ('d', '[1]')")
    assert again.load() == [{"n": 3}]
    again.close()


def test_a_save_is_all_or_nothing(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "s")
    store.save({"a": {"n": 1}}, [])
    store._db.execute(
        "CREATE TRIGGER no BEFORE INSERT ON sessions WHEN new.peer = 'c'"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(SessionStoreError, match="sessions cannot be kept"):
        store.save({"b": {"n": 2}, "c": {"n": 3}}, ["a"])
    assert store.load() == [{"n": 1}]
    store.close()


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(SessionStoreError, match="remove the file"):
        SessionStore(path)
    with pytest.raises(SessionStoreError):
        SessionStore(tmp_path / "absent" / "s")
