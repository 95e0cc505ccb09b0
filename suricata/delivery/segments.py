"""The spool's disk: blocks in files of some MiB, each block framed, numbered and checked.

    00000000000000000041.spool   41 42 43 ... 97
    00000000000000000098.spool   98 99 ...            <- written

A frame is a header and the block's bytes:

    length, CRC-32 of all that follows it, lines, number, bytes and lines before it

What is before it counts everything that was ever put, so that a gap between two frames says how
much is missing. A crash leaves a torn frame at most, at the end of the last file: it is cut off. A
frame that is broken elsewhere (the disk's own doing) takes the rest of its file with it.

One thread writes; others read, up to the number that they were told of.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

SEGMENT_BYTES: Final = 16 << 20

# Twice what the relay reads at once, and a line of the greatest length corrected.
_MAX_FRAME: Final = 64 << 20

_HEAD: Final = struct.Struct("<IIIQQQ")
_CHECKED: Final = struct.Struct("<IQQQ")
_NAME: Final = re.compile(r"(\d{20})\.spool", re.ASCII)


class Block(NamedTuple):
    """Whole lines, `events` of them; `bytes_before` and `lines_before` of all that was put."""

    number: int
    lines: bytes
    events: int
    bytes_before: int
    lines_before: int

    @property
    def bytes_after(self) -> int:
        """What was put up to its end."""
        return self.bytes_before + len(self.lines)

    @property
    def lines_after(self) -> int:
        """What was put up to its end."""
        return self.lines_before + self.events


@dataclass(slots=True)
class Segment:
    """One file; `last` is the number of its last frame, `bytes_before` that of its first."""

    path: Path
    first: int
    last: int
    bytes_before: int
    lines_before: int
    size: int


class Cursor:
    """A reader's place; each reader has its own."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._fd = -1
        self._at = 0

    def read(self, segment: Segment, number: int, last: int | None = None) -> Block | None:
        """The first block of `segment` from `number` on, None if there is none up to `last`.

        Raises OSError.
        """
        if self._path != segment.path:
            self.close()
            self._fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
            self._path, self._at = segment.path, 0
        while True:
            head = os.pread(self._fd, _HEAD.size, self._at)
            if len(head) < _HEAD.size:
                return None
            length, check, count, found, bytes_before, lines_before = _HEAD.unpack(head)
            if length > _MAX_FRAME or (last is not None and found > last):
                # It is still to be read when more is asked for.
                return None
            if found < number:
                self._at += _HEAD.size + length
                continue
            lines = os.pread(self._fd, length, self._at + _HEAD.size)
            if len(lines) < length or _check(lines, count, found, bytes_before, lines_before) != (
                check
            ):
                return None
            self._at += _HEAD.size + length
            return Block(found, lines, count, bytes_before, lines_before)

    def rewind(self) -> None:
        """Look for the next number from the file's beginning."""
        self._at = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._path = -1, None


class Segments:
    """The files of `directory`, which is made if it is absent. Raises OSError.

    `notice` takes a sentence about what was found broken.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._notice = notice
        self._fd = -1
        self._unsynced = False
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        # Replaced, never changed in place, when others may read it.
        self.all: list[Segment] = list(self._recover())

    @property
    def last(self) -> Block | None:
        """Without its lines' bytes being kept: the last block, None if there is none."""
        if not self.all:
            return None
        cursor, found = Cursor(), None
        try:
            while block := cursor.read(self.all[-1], 0 if found is None else found.number + 1):
                found = block
        finally:
            cursor.close()
        return found

    def _recover(self) -> Iterator[Segment]:
        paths = sorted(path for path in self._directory.iterdir() if _NAME.fullmatch(path.name))
        after = -1
        for path in paths:
            segment = _scan(path)
            size = path.stat().st_size
            if segment is None or segment.first <= after:
                if size:
                    self._notice(f"{path} is damaged: the events that waited in it are lost")
                path.unlink()
                continue
            if segment.size < size:
                if path != paths[-1]:
                    self._notice(f"{path} is damaged: some events that waited in it are lost")
                os.truncate(path, segment.size)
            after = segment.last
            yield segment

    def append(self, block: Block) -> None:
        """Write `block`; its number is greater than all before. Raises OSError, nothing is torn."""
        newest = self.all[-1] if self.all else None
        if self._fd < 0 or newest is None or newest.size >= self._segment_bytes:
            self._begin(block)
            newest = self.all[-1]
        head = _HEAD.pack(
            len(block.lines),
            _check(block.lines, block.events, block.number, block.bytes_before, block.lines_before),
            block.events,
            block.number,
            block.bytes_before,
            block.lines_before,
        )
        try:
            written = os.pwritev(self._fd, [head, block.lines], newest.size)
            if written < len(head) + len(block.lines):
                # The next call says why; a disk that is full says it by taking less.
                rest = (head + block.lines)[written:]
                written += os.pwrite(self._fd, rest, newest.size + written)
                if written < len(head) + len(block.lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(newest.path))
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, newest.size)
            raise
        self._unsynced = True
        newest.size += written
        newest.last = block.number

    def _begin(self, block: Block) -> None:
        self.finish()
        path = self._directory / f"{block.number:020d}.spool"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        # Empty until its first frame is there.
        begun = Segment(path, block.number, -1, block.bytes_before, block.lines_before, 0)
        self.all = [*(one for one in self.all if one.last >= 0), begun]

    def finish(self) -> None:
        """Go on in another file with the next block. Raises OSError."""
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1

    def sync(self) -> None:
        """What was appended is safe from a power cut when this returns. Raises OSError."""
        if self._unsynced:
            os.fdatasync(self._fd)
            self._unsynced = False

    def forget(self, unneeded: Callable[[Segment], bool]) -> None:
        """Remove files that nobody needs, but for the one that is written."""
        kept, written = [], self.all[-1] if self._fd >= 0 else None
        for segment in self.all:
            if segment is not written and unneeded(segment):
                with contextlib.suppress(OSError):
                    segment.path.unlink()
            else:
                kept.append(segment)
        self.all = kept

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(segment.size for segment in self.all)

    def close(self) -> None:
        """Let go; what is there stays for the next start. Raises OSError."""
        self.finish()


def _scan(path: Path) -> Segment | None:
    """The file up to its first frame that is not right, None if the first is not."""
    cursor, found = Cursor(), None
    number = int(path.stem)
    blank = Segment(path, number, number, 0, 0, 0)
    try:
        while block := cursor.read(blank, number if found is None else found.last + 1):
            if found is None:
                found = Segment(
                    path, block.number, block.number, block.bytes_before, block.lines_before, 0
                )
            found.last = block.number
            found.size += _HEAD.size + len(block.lines)
    finally:
        cursor.close()
    return found


def _check(lines: bytes, count: int, number: int, bytes_before: int, lines_before: int) -> int:
    return zlib.crc32(lines, zlib.crc32(_CHECKED.pack(count, number, bytes_before, lines_before)))
