"""Whole lines in a file: rotation, torn ends, and a disk that is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from suricata.sinks import SinkError
from suricata.sinks.file import FileSink

ROOT = Path(__file__).parents[3]

# In a mount namespace of its own, with 64 KiB of disk; the events are numbered.
FULL = """
import subprocess, sys
from pathlib import Path
from suricata.sinks.file import FileSink, SinkError
place = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
how = sys.argv[2]
(place / "filler").write_bytes(b"x" * 20_000)
sink = FileSink(place / "out.json")
lines = [b"%07d" % n + b"e" * 90 + b"\\n" for n in range(1000)]
number = 0
at = 0
while sink.has_room:
    number += 1
    sink.write(number, b"".join(lines[at : at + 70]))
    at += 70
assert sink.acknowledged == number - 1
for _ in range(3):
    try:
        sink.pump()
    except SinkError as error:
        said = str(error)
assert "No space left" in said, said
assert sink.status()["waits"] == 1
torn = (place / "out.json").read_bytes()
assert not torn.endswith(b"\\n")
(place / "filler").unlink()
if how == "rotate":
    (place / "out.json").rename(place / "out.json.1")
    sink.reopen()
elif how == "killed":
    # Another process begins where this one was killed, with what was not acknowledged.
    sink = FileSink(place / "out.json")
    sink.write(number, b"".join(lines[at - 70 : at]))
sink.pump()
assert sink.acknowledged == number
assert sink.status()["trouble"] is None
files = [p for p in (place / "out.json.1", place / "out.json") if p.exists()]
found = b"".join(p.read_bytes() for p in files).splitlines(keepends=True)
if how == "killed":
    assert sorted(set(found)) == lines[:at] and all(found.count(l) <= 2 for l in found)
else:
    assert found == lines[:at]
assert all(p.read_bytes().endswith(b"\\n") for p in files)
print("whole")
"""


@pytest.mark.netns
@pytest.mark.parametrize("how", ["stay", "rotate", "killed"])
def test_a_full_disk_tears_and_loses_no_line(tmp_path: Path, how: str) -> None:
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", FULL, str(tmp_path), how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("whole\n", "")


def test_rotation_is_followed_when_told_of(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out")
    sink.write(1, b"one\n")
    (tmp_path / "out").rename(tmp_path / "out.1")
    sink.write(2, b"two\n")
    sink.reopen()
    sink.write(3, b"three\n")
    assert (tmp_path / "out.1").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "out").read_bytes() == b"three\n"
    assert (tmp_path / "out").stat().st_mode & 0o007 == 0


TORN = [
    (b"", b""),
    (b"one\n", b"one\n"),
    (b"one\ntw", b"one\n"),
    (b"half", b""),
    (b"one\n" + b"x" * 200_000, b"one\n"),
]


@pytest.mark.parametrize(("before", "kept"), TORN)
def test_a_torn_line_of_an_earlier_process_is_cut(
    tmp_path: Path, before: bytes, kept: bytes
) -> None:
    (tmp_path / "out").write_bytes(before)
    sink = FileSink(tmp_path / "out")
    sink.write(1, b"new\n")
    assert (tmp_path / "out").read_bytes() == kept + b"new\n"


def test_a_directory_that_is_not_there_holds_the_lines_until_it_is(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "gone" / "out")
    sink.write(1, b"one\n")
    assert not sink.has_room
    with pytest.raises(SinkError, match=r"gone/out cannot be written to \(No such file"):
        sink.pump()
    (tmp_path / "gone").mkdir()
    sink.pump()
    assert sink.acknowledged == 1
    assert (tmp_path / "gone" / "out").read_bytes() == b"one\n"


def test_a_pipe_without_reader_does_not_hold_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    sink = FileSink(tmp_path / "pipe")
    sink.write(1, b"one\n")
    assert not sink.has_room
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    sink.pump()
    sink.flush()
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)


def test_a_file_that_was_deleted_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    sink = FileSink(path)
    sink.write(1, b"one\n")
    path.unlink()
    sink.write(2, b"two\n")
    assert (path.read_bytes(), sink.acknowledged) == (b"two\n", 2)
    # One that was renamed is written to until we are told.
    path.rename(tmp_path / "out.json.1")
    sink.write(3, b"three\n")
    assert not path.exists()
    sink.reopen()
    sink.write(4, b"four\n")
    assert (tmp_path / "out.json.1").read_bytes() == b"two\nthree\n"
    assert path.read_bytes() == b"four\n"
    sink.close()
