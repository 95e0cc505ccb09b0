"""One open file: whole lines, and whether it is still the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suricata.enrich import MAX_LINE_BYTES
from suricata.sources import follow
from suricata.sources.follow import Generation, open_file
from suricata.sources.source import SourceError


def opened(path: Path, **more: int) -> Generation:
    fd = open_file(path)
    assert fd is not None
    return Generation(fd, **more)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_line_comes_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.touch()
    file = opened(path)
    seen = []
    for byte in b"one\ntwo\n\nthree":
        append(path, bytes([byte]))
        if file.was_touched():
            # Before a whole line is there nothing in the file tells whether it was emptied.
            assert file.read(100) is None
            file.mtime_ns = file.modified()
        if lines := file.read(100):
            seen.append(lines)
    assert seen == [b"one\n", b"two\n", b"\n"]
    assert file.partial_bytes == 5
    assert file.rest() == b"three\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_pieces_of_any_size_give_the_same(tmp_path: Path, size: int) -> None:
    path = tmp_path / "eve.json"
    text = b"".join(b"%d\n" % n * 3 for n in range(300))
    path.write_bytes(text)
    file = opened(path)
    out = b""
    while lines := file.read(size):
        out += lines
    assert out == text
    assert file.offset == len(text)


@pytest.mark.parametrize("offset", [0, 6, 12])
def test_a_place_is_gone_on_from(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "eve.json"
    path.write_bytes(b"first\nother\nthird\n")
    file = opened(path, offset=offset)
    here = file.read_position()
    assert file.is_at(here)
    assert file.read(100) == b"first\nother\nthird\n"[offset:]
    # A file that was emptied under its name has another past there.
    path.write_bytes(b"fresh\n" * 3)
    assert opened(path, offset=offset).is_at(here) == (offset == 0)


@pytest.mark.parametrize("now", [b"", b"x\n", b"y" * 400 + b"\n", b"z" * 9000 + b"\n"])
def test_a_file_emptied_in_place_is_known_by_its_bytes(tmp_path: Path, now: bytes) -> None:
    path = tmp_path / "eve.json"
    path.write_bytes(b"a line that was read\n" * 20)
    file = opened(path)
    assert file.read(1000)
    path.write_bytes(now)
    assert file.read(1000) is None


def test_a_line_without_end_is_left_out_and_its_neighbours_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "MAX_LINE_BYTES", 100)
    path = tmp_path / "eve.json"
    path.write_bytes(b"one\n" + b"x" * 500)
    file = opened(path)
    assert file.read(64) == b"one\n"
    assert file.read(64) == b""
    assert file.too_long == 1
    # In the middle of it the place is remembered as such.
    place = file.mark()
    assert place.skipping
    append(path, b"x" * 50 + b"\ntwo\n")
    again = opened(path, offset=place.offset, skipping=place.skipping)
    for one in (file, again):
        assert one.read(1000) == b"two\n"
    assert MAX_LINE_BYTES > 100


def test_a_hole_before_the_first_line_is_no_line(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_bytes(b"old\n")
    with path.open("r+b") as writer:
        writer.seek(5000)
        os.truncate(path, 0)
        writer.write(b"new\n")
    file = opened(path)
    out = b""
    while lines := file.read(1000):
        out += lines
    assert out == b"new\n"
    assert file.too_long == 0


def test_from_the_end_means_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_bytes(b"old\nhalf")
    fd = open_file(path)
    assert fd is not None
    file = Generation(fd, at_end=True)
    append(path, b" a line\nnew\n")
    assert file.read(100) == b"new\n"


def test_what_is_no_file_is_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe is no regular file"):
        open_file(tmp_path / "pipe")
    with pytest.raises(SourceError, match="is no regular file"):
        open_file(tmp_path)
    assert open_file(tmp_path / "absent") is None
