"""One path through every kind of rotation; and random schedules against what was written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from suricata.sources.follow import Mark
from suricata.sources.position import Position
from suricata.sources.rotation import MAX_DELETED, Rotating

from .writer import Writer


class Reader:
    """Reads, commits, and starts again from what it committed."""

    def __init__(self, path: Path, size: int = 200) -> None:
        self.path = path
        self.size = size
        self.now = 0.0
        self.lines: list[bytes] = []
        self.uncommitted = 0
        self.may_repeat = 0
        self.said: list[str] = []
        self._marks: list[Mark] = []
        self.saved: list[Position] = []
        self.rotating = self._begin()

    def _begin(self) -> Rotating:
        return Rotating(self.path, saved=self.saved, notice=self.said.append, linger_seconds=5)

    def read(self, batches: int = 10_000) -> list[bytes]:
        got: list[bytes] = []
        for _ in range(batches):
            self.now += 0.001
            found = self.rotating.read(self.size, self.now)
            if found is None:
                break
            lines, mark = found
            got += lines.splitlines(keepends=True)
            self._marks.append(mark)
        self.lines += got
        self.uncommitted += len(got)
        return got

    def commit(self) -> None:
        for mark in self._marks:
            self.rotating.settle(mark)
        self._marks = []
        self.uncommitted = 0
        self.saved = self.rotating.positions()

    def restart(self) -> None:
        self.rotating.close()
        self._marks = []
        self.may_repeat += self.uncommitted
        self.uncommitted = 0
        self.rotating = self._begin()


@pytest.fixture
def both(tmp_path: Path) -> tuple[Writer, Reader]:
    return Writer(tmp_path / "eve.json"), Reader(tmp_path / "eve.json")


@pytest.mark.parametrize("kind", ["rename", "copytruncate"])
@pytest.mark.parametrize("while_away", [False, True])
@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_what_was_not_read_yet_comes_first(
    both: tuple[Writer, Reader], kind: str, while_away: bool, rotations: int
) -> None:
    writer, reader = both
    writer.append(30)
    assert len(reader.read(2)) < 30
    reader.commit()
    for _ in range(rotations):
        writer.append(20)
        getattr(writer, kind)()
    writer.append(15)
    if while_away:
        reader.restart()
    reader.read()
    assert reader.lines == writer.lines
    assert reader.said == []


def test_a_writer_that_has_not_heard_of_the_new_file_is_read_on(
    both: tuple[Writer, Reader], tmp_path: Path
) -> None:
    writer, reader = both
    writer.append(3)
    reader.read()
    (tmp_path / "eve.json").rename(tmp_path / "eve.json.1")
    (tmp_path / "eve.json").touch()
    reader.read()
    writer.append(3)
    reader.read()
    assert reader.lines == writer.lines
    # Long after that it is let go, and its last line comes even if it has no end.
    writer.append(1, torn=1)
    reader.read()
    reader.now += 10
    reader.read()
    assert reader.lines == writer.lines
    assert len(reader.rotating.inodes()) == 1


def test_a_file_may_come_later_vanish_and_come_again(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "eve.json")
    assert reader.read() == []
    writer = Writer(tmp_path / "eve.json")
    writer.append(2)
    reader.read()
    (tmp_path / "eve.json").unlink()
    writer.append(1)
    reader.read()
    reader.commit()
    assert reader.lines == writer.lines
    (tmp_path / "eve.json").write_bytes(b"again\n")
    assert reader.read() == [b"again\n"]


def test_an_inode_used_again_is_another_file(both: tuple[Writer, Reader], tmp_path: Path) -> None:
    writer, reader = both
    writer.append(5)
    reader.read()
    reader.commit()
    # In place, as a deleted file's inode may come back.
    os.truncate(tmp_path / "eve.json", 0)
    with (tmp_path / "eve.json").open("ab") as file:
        file.write(b"another\n" * 100)
    reader.restart()
    assert reader.read() == [b"another\n"] * 100
    assert len(reader.said) == 1


@pytest.mark.parametrize("away", [False, True])
def test_a_copy_or_hard_link_in_its_place_is_gone_on_from(
    both: tuple[Writer, Reader], tmp_path: Path, away: bool
) -> None:
    writer, reader = both
    writer.append(5)
    reader.read()
    reader.commit()
    shutil.copyfile(tmp_path / "eve.json", tmp_path / "other")
    (tmp_path / "other").replace(tmp_path / "eve.json")
    os.link(tmp_path / "eve.json", tmp_path / "link")
    (tmp_path / "link").replace(tmp_path / "eve.json")
    if away:
        reader.restart()
    assert reader.read() == []
    with (tmp_path / "eve.json").open("ab") as file:
        file.write(b"more\n")
    assert reader.read() == [b"more\n"]


def test_a_copy_that_somebody_made_is_not_read(both: tuple[Writer, Reader], tmp_path: Path) -> None:
    writer, reader = both
    writer.append(5)
    reader.read()
    shutil.copyfile(tmp_path / "eve.json", tmp_path / "eve.json.9")
    writer.append(5)
    writer.rename()
    writer.append(5)
    reader.read()
    assert reader.lines == writer.lines


def turn_over(writer: Writer, keep: int) -> None:
    """Rotate, and delete what is older than the `keep` last."""
    writer.rename()
    writer.path.with_name(f"eve.json.{keep + 1}").unlink(missing_ok=True)


def test_what_is_deleted_while_nothing_is_read_is_kept_or_named(
    both: tuple[Writer, Reader],
) -> None:
    writer, reader = both
    writer.append(3)
    reader.read()

    def turn_over_unread(times: int) -> None:
        for _ in range(times):
            writer.append(4)
            reader.rotating.look(reader.now)
            turn_over(writer, 2)
        reader.rotating.look(reader.now)

    # 1. All that a sink in trouble left unread is still there.
    turn_over_unread(MAX_DELETED + 2)
    reader.read()
    assert reader.lines == writer.lines
    assert reader.said == []
    # 2. But not without end: the oldest are let go, and said.
    turn_over_unread(MAX_DELETED + 4)
    reader.read()
    assert len(writer.lines) - len(reader.lines) == 4 * len(reader.said) == 8
    assert reader.rotating.gaps == 2
    assert "eve.json was deleted, as were 8 after it: events written to it" in reader.said[0]


def test_what_is_emptied_while_nothing_is_read_is_kept(both: tuple[Writer, Reader]) -> None:
    writer, reader = both
    writer.append(3)
    reader.read()
    for _ in range(5):
        writer.append(4)
        reader.rotating.look(reader.now)
        writer.copytruncate()
        writer.path.with_name("eve.json.2").unlink(missing_ok=True)
        reader.rotating.look(reader.now)
    reader.read()
    assert reader.lines == writer.lines


def test_a_line_just_begun_does_not_tell_a_copy_with_its_files_time(tmp_path: Path) -> None:
    path, begun = tmp_path / "eve.json", b'{"timestamp":"2026-01'
    path.write_bytes(begun)
    reader = Reader(path)
    assert reader.read() == []
    shutil.copy2(path, tmp_path / "eve.json.1")
    path.write_bytes(begun + b'-02"}\n')
    reader.read()
    reader.now += 10
    reader.read()
    assert reader.lines == [begun + b'-02"}\n', begun + b"\n"]
    assert reader.said == []


def test_a_file_of_one_torn_line_hides_no_other_that_begins_alike(tmp_path: Path) -> None:
    path, begun = tmp_path / "eve.json", b'{"timestamp":"0000'
    path.write_bytes(begun)
    os.utime(path, (1, 1))
    reader = Reader(path)
    reader.read()
    path.rename(tmp_path / "eve.json.9")
    writer = Writer(path)
    reader.read()
    reader.now += 10
    assert reader.read() == [begun + b"\n"]
    for _ in range(3):
        writer.append(2)
        writer.rename()
    assert reader.read() == writer.lines


@pytest.mark.parametrize("last", ["eve.json.1.gz", "eve.json-20260101.zst"])
def test_what_is_compressed_is_named_as_lost(
    both: tuple[Writer, Reader], tmp_path: Path, last: str
) -> None:
    writer, reader = both
    writer.append(5)
    reader.read()
    reader.commit()
    writer.append(5)
    writer.rename()
    (tmp_path / "eve.json.1").unlink()
    (tmp_path / last).write_bytes(b"compressed")
    writer.append(2)
    reader.restart()
    assert reader.read() == writer.lines[-2:]
    assert reader.rotating.gaps == 1
    assert last in reader.said[0]


def test_the_history_from_before_the_first_start_is_not_read(
    both: tuple[Writer, Reader],
) -> None:
    writer, reader = both
    writer.append(5)
    writer.rename()
    writer.append(5)
    assert reader.read() == writer.lines[5:]


@pytest.mark.parametrize("kind", ["rename", "copytruncate", "both"])
@pytest.mark.parametrize("while_away", [False, True])
@pytest.mark.parametrize(("earlier", "at_once"), [(0, 1), (0, 2), (1, 1), (3, 1), (3, 2)])
def test_a_rotation_between_any_two_calls_of_the_kernel_loses_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    while_away: bool,
    earlier: int,
    at_once: int,
) -> None:
    """Files take one another's names while they are looked for: at every call in turn."""
    calls = moment = 0
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    while calls >= moment:
        moment += 1
        path = tmp_path / str(moment) / "eve.json"
        path.parent.mkdir()
        writer, reader = Writer(path), Reader(path, 100)
        writer.append(12)
        reader.read(2)
        reader.commit()
        rotate(writer, kind, earlier)
        if while_away:
            reader.restart()
        with monkeypatch.context() as patch:
            interrupted = rotate_at(patch, moment, partial(rotate, writer, kind, at_once))
            reader.read()
            calls = interrupted()
        reader.read()
        reader.rotating.close()
        writer.close()
        assert reader.said == []
        assert reader.lines == writer.lines
    assert moment > 8
    # What other tests left to the collector may go meanwhile.
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_files


def rotate(writer: Writer, kind: str, times: int) -> None:
    for _ in range(times):
        getattr(writer, kind)()
        writer.append(5)


def rotate_at(
    patch: pytest.MonkeyPatch, moment: int, rotate: Callable[[], None]
) -> Callable[[], int]:
    """Rotate before the call number `moment` of the kernel; tells how many there have been."""
    calls = 0
    within = False

    def before() -> None:
        nonlocal calls, within
        if within:
            return
        calls += 1
        if calls == moment:
            within = True
            rotate()
            within = False

    def hook(name: str) -> None:
        original = getattr(os, name)

        def call(*arguments: Any, **named: Any) -> Any:
            before()
            return original(*arguments, **named)

        patch.setattr(os, name, call)

    for name in ("stat", "open", "scandir", "fstat", "pread"):
        hook(name)

    return lambda: calls


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 12), st.integers(0, 20)),
        st.tuples(st.just("read"), st.integers(1, 4)),
        st.sampled_from([("rename",), ("copytruncate",), ("commit",), ("restart",), ("wait",)]),
    ),
    max_size=40,
)


# A line of which a part was read, and the file emptied and begun anew with the same bytes.
@example(steps=[("append", 1, 10), ("read", 1), ("copytruncate",), ("append", 1, 0)], size=16)
@example(
    steps=[("append", 1, 10), ("read", 1), ("copytruncate",), ("append", 1, 0), ("restart",)],
    size=16,
)
# The file that was left empty, filled and emptied, then renamed: its copy comes before it.
@example(steps=[("append", 1, 0), ("copytruncate",), ("restart",), ("rename",)], size=16)
@settings(max_examples=300, deadline=None)
@given(steps=STEPS, size=st.sampled_from([16, 64, 300, 4096]))
def test_any_schedule_loses_nothing_and_repeats_what_was_not_committed(
    steps: list[tuple[object, ...]], size: int
) -> None:
    with tempfile.TemporaryDirectory(prefix="peeltap-") as directory:
        path = Path(directory) / "eve.json"
        writer, reader = Writer(path), Reader(path, size)
        # Of what was there before the first look nothing is promised.
        reader.read()
        reader.commit()
        for step in steps:
            match step:
                case ("append", int(count), int(torn)):
                    writer.append(count, torn=torn if count else 0)
                case ("read", int(batches)):
                    reader.read(batches)
                case ("rename" | "copytruncate",):
                    getattr(writer, str(step[0]))()
                case ("commit",):
                    reader.commit()
                case ("restart",):
                    reader.restart()
                case ("wait",):
                    reader.now += 3
        writer.finish()
        reader.read()
        reader.rotating.close()
        writer.close()
        assert reader.said == []
        assert set(reader.lines) == set(writer.lines)
        assert len(reader.lines) - len(writer.lines) <= reader.may_repeat
        if not reader.may_repeat:
            assert reader.lines == writer.lines
