"""Whole lines in a file: rotation, torn ends, and a disk that is full."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suricata.sinks import Outgoing, Unavailable
from suricata.sinks.file import FileClient
from suricata.sinks.rotate import Rotation, rotated

from ..delivery.parts import until

ROOT = Path(__file__).parents[3]

# In a mount namespace of its own, with 64 KiB of disk; the events are numbered.
FULL = """
import subprocess, sys
from pathlib import Path
from suricata.sinks.client import Unavailable
from suricata.sinks.file import FileClient
place = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
how = sys.argv[2]
(place / "filler").write_bytes(b"x" * 20_000)
client = FileClient(place / "out.json")
lines = [b"%07d" % n + b"e" * 90 + b"\\n" for n in range(1000)]
at, said = 0, ""
while not said:
    block = b"".join(lines[at : at + 70])
    at += 70
    try:
        client.deliver_lines(block)
    except Unavailable as error:
        said = str(error)
for _ in range(3):
    try:
        client.deliver_lines(block)
    except Unavailable as error:
        said = str(error)
assert "No space left" in said, said
torn = (place / "out.json").read_bytes()
assert not torn.endswith(b"\\n")
(place / "filler").unlink()
if how == "rotate":
    (place / "out.json").rename(place / "out.json.1")
    client.reopen()
elif how == "killed":
    # Another process begins where this one was killed, with what was not acknowledged.
    client = FileClient(place / "out.json")
    block = b"".join(lines[at - 70 : at])
client.deliver_lines(block)
client.flush()
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
        timeout=180,
    )
    assert (done.stdout, done.stderr) == ("whole\n", "")


def test_rotation_is_followed_when_told_of(tmp_path: Path) -> None:
    client = FileClient(tmp_path / "out")
    client.deliver_lines(b"one\n")
    (tmp_path / "out").rename(tmp_path / "out.1")
    client.deliver_lines(b"two\n")
    client.reopen()
    client.deliver_lines(b"three\n")
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
    FileClient(tmp_path / "out").deliver_lines(b"new\n")
    assert (tmp_path / "out").read_bytes() == kept + b"new\n"
    # A canary leaves alone what another process may not be done with.
    (tmp_path / "out").write_bytes(before)
    FileClient(tmp_path / "out", mends=False).deliver_lines(b"new\n")
    assert (tmp_path / "out").read_bytes() == before + b"new\n"


def test_a_directory_that_is_not_there_is_named_until_it_is(tmp_path: Path) -> None:
    client = FileClient(tmp_path / "gone" / "out")
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"gone/out cannot be written to \(No such file"):
            client.deliver_lines(b"one\n")
    with pytest.raises(Unavailable, match="No such file"):
        client.check()
    (tmp_path / "gone").mkdir()
    assert "can be written to" in client.check()
    client.deliver_lines(b"one\n")
    assert (tmp_path / "gone" / "out").read_bytes() == b"one\n"


def test_a_pipe_without_reader_does_not_hold_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    client = FileClient(tmp_path / "pipe")
    with pytest.raises(Unavailable):
        client.deliver_lines(b"one\n")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    client.deliver_lines(b"one\n")
    client.flush()
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)


def test_a_file_that_was_deleted_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    client = FileClient(path)
    client.deliver_lines(b"one\n")
    path.unlink()
    client.deliver_lines(b"two\n")
    assert path.read_bytes() == b"two\n"
    # One that was renamed is written to until we are told.
    path.rename(tmp_path / "out.json.1")
    client.deliver_lines(b"three\n")
    assert not path.exists()
    client.reopen()
    assert path.exists()
    client.deliver([Outgoing("1", b"four", {}), Outgoing("2", b"five", {})])
    assert (tmp_path / "out.json.1").read_bytes() == b"two\nthree\n"
    assert path.read_bytes() == b"four\nfive\n"
    client.close()


def test_it_turns_over_between_lines_and_an_earlier_period_before_anything(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(b"yesterday\n")
    os.utime(path, (0, 0))
    client = FileClient(path, Rotation(max_bytes=10, seconds=86_400, compress=False))
    for line in (b"one\n", b"two\n", b"three\n", b"four\n"):
        client.deliver_lines(line)
    assert client.status()["rotated"] == 2
    client.close()
    assert [one.read_bytes() for one in rotated(path)] == [b"yesterday\n", b"one\ntwo\nthree\n"]
    assert path.read_bytes() == b"four\n"


def test_twenty_rotations_in_a_burst_keep_every_line_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    rotation = Rotation(max_bytes=5000, keep=1000)
    client = FileClient(path, rotation)
    for block in range(62):
        client.deliver_lines(
            b"".join(b"%06d %s\n" % (block * 20 + n, b"x" * 93) for n in range(20))
        )
    until(lambda: [one.suffix for one in rotated(path)] == [".gz"] * 20)
    client.close()
    data = [gzip.decompress(one.read_bytes()) for one in rotated(path)]
    assert all(one.endswith(b"\n") for one in data)
    lines = b"".join([*data, path.read_bytes()]).splitlines()
    assert [int(line[:6]) for line in lines] == list(range(62 * 20))
