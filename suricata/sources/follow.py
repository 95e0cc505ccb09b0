"""One generation of an EVE file: new whole lines, and whether the file is still the same.

A writer that empties the file in place (copytruncate) keeps its inode, and may have written more
than there was before anybody looks. So every read begins a little before its place, and what is
found there must be what was read then: one system call, no race between the look and the read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from ..enrich import MAX_LINE_BYTES
from ..ids import Places, file_identity
from .position import HEAD_BYTES, WINDOW_BYTES, Position, Print
from .source import SourceError


class Mark(NamedTuple):
    """A place up to which a generation was read: the token of a batch."""

    generation: Generation
    offset: int
    window: bytes
    skipping: bool


class Generation:
    """An open file that is read from `offset` on; `window` are the bytes before that.

    `fd` becomes its own. A closed generation is kept until all that was read of it is committed.
    """

    def __init__(
        self, fd: int, *, offset: int = 0, skipping: bool = False, at_end: bool = False
    ) -> None:
        self.fd = fd
        status = os.fstat(fd)
        self.device, self.inode = status.st_dev, status.st_ino
        self.mtime_ns = status.st_mtime_ns
        if at_end:
            offset = status.st_size
            # In the middle of a line its rest is no line.
            skipping = offset > 0 and os.pread(fd, 1, offset - 1) != b"\n"
        self.offset = offset
        self._skipping = skipping
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        # Where the lines begin that were given last.
        self._begin = offset
        self._identity: bytes | None = None
        self._head = os.pread(fd, min(HEAD_BYTES, offset), 0)
        # Before the last whole line's end, and before all that was read.
        self._window = os.pread(fd, min(WINDOW_BYTES, offset), max(0, offset - WINDOW_BYTES))
        self._seen = self._window
        self.superseded_at: float | None = None
        self.too_long = 0
        self.given = self.committed = Mark(self, offset, self._window, skipping)

    def mark(self) -> Mark:
        """The place up to which lines are given with this."""
        self.given = Mark(self, self.offset, self._window, self._skipping)
        return self.given

    def position(self) -> Position:
        """The committed place."""
        return self._position(self.committed)

    def read_position(self) -> Position:
        """The place up to which lines were given, committed or not."""
        return self._position(Mark(self, self.offset, self._window, self._skipping))

    def _position(self, at: Mark) -> Position:
        return Position(
            self.inode,
            at.offset,
            Print.of(self._head if self._tells else b""),
            Print.of(at.window),
            self.mtime_ns,
            at.skipping,
        )

    def is_file(self, status: os.stat_result) -> bool:
        """Whether this is the file of `status`, whatever it is called."""
        return (status.st_dev, status.st_ino) == (self.device, self.inode)

    def is_at(self, position: Position) -> bool:
        """Whether this is where the file was left, with what was read before it."""
        return self.offset == position.offset and Print.of(self._window) == position.window

    def ids(self) -> Places:
        """The ids of the lines that were given last."""
        if self._identity is None:
            # Behind a whole line, so the first one is whole, too.
            self._identity = file_identity(self._head)
        return Places(self._identity, self._begin)

    @property
    def _tells(self) -> bool:
        """Whether what was read tells this file from others: a whole line does.

        The first bytes of a line are the same in every file of that day.
        """
        return b"\n" in self._head or len(self._head) == HEAD_BYTES

    @property
    def is_settled(self) -> bool:
        """Whether all that was given is committed."""
        return self.committed.offset >= self.given.offset

    @property
    def partial_bytes(self) -> int:
        """Bytes of a last line that is not whole yet."""
        return self._partial_bytes

    def size(self) -> int:
        """The file's size in bytes now. Raises OSError."""
        return os.fstat(self.fd).st_size

    def was_touched(self) -> bool:
        """Whether a file without a whole line was written since: nothing in it can tell."""
        return not self._tells and self.modified() != self.mtime_ns

    def was_emptied(self) -> bool:
        """Whether what was read is not there any more."""
        at = self.offset + self._partial_bytes - len(self._seen)
        return os.pread(self.fd, len(self._seen), at) != self._seen

    def modified(self) -> int:
        """When the file was last written, ns."""
        return os.fstat(self.fd).st_mtime_ns

    def read(self, max_bytes: int) -> bytes | None:
        """New whole lines, up to `max_bytes` and a line more; None if the file was emptied.

        None as well if nothing tells whether it was (`was_touched`). Raises OSError.
        """
        while True:
            at = self.offset + self._partial_bytes
            # Before the read: what is written after this must be seen as a change.
            modified = self.modified()
            data = os.pread(self.fd, len(self._seen) + max_bytes, at - len(self._seen))
            if not data.startswith(self._seen):
                return None
            if not self._tells and not modified == self.mtime_ns == self.modified():
                # It may have been emptied right before the read.
                return None
            fresh = data[len(self._seen) :]
            if not fresh:
                return b""
            self.mtime_ns = modified
            lines = self._take(fresh, data)
            # Of a long line only a part has come; there may be more.
            if lines or len(fresh) < max_bytes:
                return lines

    def _take(self, fresh: bytes, data: bytes) -> bytes:
        if len(self._head) < HEAD_BYTES:
            self._head = (self._head + fresh)[:HEAD_BYTES]
        cut = fresh.rfind(b"\n") + 1
        self._seen = data[-WINDOW_BYTES:]
        if not cut:
            self._keep(fresh)
            return b""
        lines = fresh[:cut]
        if self._skipping:
            lines = lines[lines.index(b"\n") + 1 :]
            self._skipping = False
        elif self._partial:
            lines = b"".join(self._partial) + lines
        self.offset += self._partial_bytes + cut
        end = len(data) - len(fresh) + cut
        self._window = data[max(0, end - WINDOW_BYTES) : end]
        self._partial = []
        self._partial_bytes = 0
        if cut < len(fresh):
            self._keep(fresh[cut:])
        # A writer that does not append leaves a hole of NULs where the file was emptied under it.
        if lines.startswith(b"\0"):
            lines = lines.lstrip(b"\0")
        self._begin = self.offset - len(lines)
        return lines

    def _keep(self, piece: bytes) -> None:
        if not self._skipping:
            self._partial.append(piece)
            self._partial_bytes += len(piece)
            if self._partial_bytes <= MAX_LINE_BYTES:
                return
            if any(part.strip(b"\0") for part in self._partial):
                self.too_long += 1
            piece = b""
            self._skipping = True
        self.offset += self._partial_bytes + len(piece)
        self._window = self._seen
        self._partial = []
        self._partial_bytes = 0

    def rest(self) -> bytes:
        """The last line of a file that nobody writes any more, newline put to it."""
        lines = b"".join(self._partial)
        self._begin = self.offset
        self.offset += self._partial_bytes
        self._window = self._seen
        self._partial = []
        self._partial_bytes = 0
        return lines + b"\n" if lines else b""

    def close(self) -> None:
        """Let go of the file; the marks stay."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_file(path: Path) -> int | None:
    """A descriptor for reading a regular file, None if there is no file.

    Raises SourceError for what cannot be read, or is no file.
    """
    try:
        # A FIFO of that name must not hold us.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read ({error.strerror}): let the service's user read it"
        ) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise SourceError(
            f"{path} is no regular file: name Suricata's EVE file, or events.unix_stream"
        )
    return fd
