"""EVE files across restarts, and those of threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from suricata.sources import SourceError
from suricata.sources.file import FileSource

from .writer import Writer


def everything(source: FileSource, commit: bool = True) -> list[bytes]:
    tokens, lines = [], []
    while (batch := source.read(100, 0)) is not None:
        lines += batch.lines.splitlines(keepends=True)
        tokens.append(batch.token)
    if commit:
        source.commit(tokens)
    return lines


def test_its_place_is_kept(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "eve.json")
    writer.append(10)
    source = FileSource(tmp_path / "eve.json", tmp_path)
    assert source.status()["backlog"] == 0
    assert everything(source) == writer.lines
    writer.append(5)
    writer.rename()
    writer.append(5)
    source.close()
    source = FileSource(tmp_path / "eve.json", tmp_path)
    assert everything(source, commit=False) == writer.lines[10:]
    source.close()
    source = FileSource(tmp_path / "eve.json", tmp_path)
    assert everything(source) == writer.lines[10:]
    assert source.status()["gaps"] == 0


def test_a_lost_place_means_the_beginning_and_is_said(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "eve.json")
    writer.append(3)
    (tmp_path / "events-position.json").write_bytes(b"{")
    said: list[str] = []
    source = FileSource(tmp_path / "eve.json", tmp_path, notice=said.append)
    assert everything(source) == writer.lines
    assert "EVE is read from its beginning" in said[0]


@pytest.mark.parametrize("there", [True, False])
def test_from_the_end_leaves_out_only_what_was_there(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "eve.json"
    writer = Writer(path) if there else None
    if writer:
        writer.append(3)
    source = FileSource(path, tmp_path, from_end=True)
    assert everything(source) == []
    writer = writer or Writer(path)
    writer.append(3)
    assert everything(source) == writer.lines[-3:]


@pytest.mark.parametrize("threaded", [None, True])
def test_each_thread_has_a_file_and_more_may_come(tmp_path: Path, threaded: bool | None) -> None:
    path = tmp_path / "eve.json"
    source = FileSource(path, tmp_path, threaded=threaded)
    assert everything(source) == []
    writers = [Writer(tmp_path / f"eve.{n}.json", f"{n}-") for n in (1, 2)]
    for writer in writers:
        writer.append(10)
    first = everything(source)
    # In turn, so that a busy thread does not hold up the others.
    assert {line[14:15] for line in first[:8]} == {b"1", b"2"}
    writers[0].rename()
    for writer in writers:
        writer.append(5)
    source.close()
    writers.append(Writer(tmp_path / "eve.10.json", "x-"))
    writers[-1].append(5)
    source = FileSource(path, tmp_path, threaded=threaded)
    rest = everything(source)
    assert sorted(first + rest) == sorted(line for one in writers for line in one.lines)
    assert source.status()["files"] == 3


def test_a_rotated_file_with_a_number_before_its_ending_is_no_threads(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "eve.json")
    writer.append(3)
    source = FileSource(tmp_path / "eve.json", tmp_path)
    everything(source)
    writer.append(3)
    # logrotate's `extension .json`
    (tmp_path / "eve.json").rename(tmp_path / "eve.1.json")
    Writer(tmp_path / "eve.json").append(0)
    assert everything(source) == writer.lines[3:]
    source.close()
    source = FileSource(tmp_path / "eve.json", tmp_path)
    assert everything(source) == []
    assert source.status()["files"] == 1


def test_a_directory_in_its_place_is_trouble_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.mkdir()
    source = FileSource(path, tmp_path)
    with pytest.raises(SourceError, match="is no regular file"):
        source.read(100, 0)
    path.rmdir()
    path.write_bytes(b"one\n")
    assert everything(source) == [b"one\n"]


@pytest.mark.parametrize(("max_bytes", "waits"), [(64, 0), (1 << 16, 1)], ids=["flood", "trickle"])
def test_a_trickle_is_let_gather_and_a_flood_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_bytes: int, waits: int
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("suricata.sources.file.time.sleep", slept.append)
    eve = tmp_path / "eve.json"
    eve.write_bytes(b'{"n":1}\n' * 20)
    source = FileSource(eve, tmp_path, poll_seconds=60)
    assert source.read(max_bytes, 100) is not None
    assert slept == []
    with eve.open("ab") as stream:
        stream.write(b'{"n":2}\n')
    assert source.read(max_bytes, 100) is not None
    assert len(slept) == waits
    assert all(rest <= 30 for rest in slept)
    source.close()
