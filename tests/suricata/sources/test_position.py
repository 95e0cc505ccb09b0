"""A place in a file: what it recognises, and that it survives."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from suricata.sources.position import Position, Print, load, save

TEXT = b"".join(b'{"timestamp":"%d"}\n' % n for n in range(200))


def position(data: bytes, offset: int, inode: int = 7) -> Position:
    window = data[max(0, offset - 256) : offset]
    return Position(inode, offset, Print.of(data[: min(1024, offset)]), Print.of(window), 5)


SAME = [
    ("the same", TEXT, 400, TEXT, True),
    ("grown", TEXT, 400, TEXT + b"more\n", True),
    ("a copy from before", TEXT, 2000, TEXT[:1500], True),
    ("another", TEXT, 400, TEXT[19:], False),
    ("emptied and grown beyond", TEXT, 400, b"x" * 5000, False),
    ("the head alike, not the rest", TEXT, 2000, TEXT[:1024] + b"x" * 3000, False),
    ("emptied", TEXT, 400, b"", False),
]


@pytest.mark.parametrize(("was", "offset", "now", "same"), [row[1:] for row in SAME])
def test_content_tells_a_file(
    tmp_path: Path, was: bytes, offset: int, now: bytes, same: bool
) -> None:
    (tmp_path / "f").write_bytes(now)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    assert position(was, offset).describes(fd) == same
    os.close(fd)


def test_of_a_file_not_read_the_inode_tells(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(TEXT)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    assert position(b"", 0, os.fstat(fd).st_ino).describes(fd)
    assert not position(b"", 0, 1).describes(fd)
    os.close(fd)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert load(path) == ({}, None)
    known = {"eve.json": [position(TEXT, 400), position(TEXT, 0)]}
    save(path, known)
    assert load(path) == (known, None)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


DAMAGED = [
    b"",
    b"{",
    b"[]",
    b'{"version":2,"files":{}}',
    b'{"version":1,"files":{"a":[{}]}}',
    b'{"version":1,"files":7}',
    json.dumps({"version": 1, "files": {"a": [position(TEXT, 9).as_json() | {"offset": -1}]}}),
    json.dumps(
        {"version": 1, "files": {"a": [position(TEXT, 9).as_json() | {"head": [1 << 40, ""]}]}}
    ),
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_state_is_a_sentence(tmp_path: Path, text: bytes | str) -> None:
    path = tmp_path / "state"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    positions, why = load(path)
    assert positions == {}
    assert why is not None
    assert why.startswith(f"{path} is damaged")
