"""Events into a file: whole lines, whatever the disk does and whoever rotates it.

A disk that is full takes a part of a line. While we live, the rest follows when there is room, so
that a reader sees the line once, and whole. Where the line cannot be ended in its file (it was
rotated, we stop), its beginning is cut off again; and of what an earlier process left torn, as a
killed one may, likewise. That line was never acknowledged, so it comes again.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..enrich import MAX_LINE_BYTES
from .client import Outgoing, Rejected, Unavailable
from .rotate import Rotation

_SEARCH_BYTES: Final = 1 << 16


class FileClient:
    """Appends to `path`, which is made with mode 0640 where it is absent.

    `rotation` turns it over; without it, others do, and `reopen` follows. `mends=False` leaves a
    torn last line alone: it may be another process's, which is not done with it.
    """

    kind = "file"

    def __init__(self, path: Path, rotation: Rotation | None = None, *, mends: bool = True) -> None:
        self._path = path
        self._rotation = rotation
        self._mends = mends
        self._fd = -1
        self._is_regular = True
        # What is being delivered: its lines, and how much of them is in the file.
        self._lines = b""
        self._done = 0
        self._size = 0
        self._unsynced = False

    def deliver_lines(self, lines: bytes) -> None:
        """See LineClient."""
        if lines is not self._lines:
            self._lines, self._done = lines, 0
        try:
            self._turn_over()
            while self._done < len(self._lines):
                if self._is_deleted():
                    self._leave()
                if self._fd < 0:
                    self._open()
                # One call for a whole block: another appender never comes between its lines. If it
                # takes less than all, the next one says why.
                written = os.write(self._fd, memoryview(self._lines)[self._done :])
                self._done += written
                self._size += written
                self._unsynced = True
        except OSError as error:
            raise self._failed(error) from error
        self._lines, self._done = b"", 0

    def deliver(self, batch: Sequence[Outgoing]) -> list[Rejected]:
        """See Client."""
        lines = b"".join([one.line + b"\n" for one in batch])
        # The same batch is the same lines, of which a part may be there.
        self.deliver_lines(self._lines if lines == self._lines else lines)
        return []

    def flush(self) -> None:
        """See DurableClient."""
        if not self._unsynced or self._fd < 0:
            return
        if self._is_regular:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                raise self._failed(error) from error
        self._unsynced = False

    def check(self) -> str:
        """See Client."""
        try:
            if self._fd < 0:
                self._open()
            free = os.statvfs(self._path).f_bavail * os.statvfs(self._path).f_frsize
        except OSError as error:
            raise self._failed(error) from error
        return f"{self._path} can be written to; its disk has {free >> 20:,} MiB left"

    def _turn_over(self) -> None:
        """Rotate if it is time, between lines only. Raises OSError."""
        if self._rotation is None or self._done:
            return
        if self._fd < 0:
            self._open()
        if self._size and self._rotation.is_due(self._size, time.time()):
            self._leave()
            self._rotation.turn(self._path)

    def _is_deleted(self) -> bool:
        """Whether nobody will ever read what is written now: of a deletion no signal tells."""
        return self._fd >= 0 and self._is_regular and os.fstat(self._fd).st_nlink == 0

    def _failed(self, error: OSError) -> Unavailable:
        return Unavailable(
            f"{self._path} cannot be written to ({error.strerror}): events wait until it can; make"
            " room, or correct the key sinks"
        )

    def _open(self) -> None:
        # Read as well, to find a torn line; a FIFO without a reader must not hold us.
        try:
            status = self._path.stat()
            self._is_regular = stat.S_ISREG(status.st_mode)
        except FileNotFoundError:
            status, self._is_regular = None, True
        access = os.O_RDWR if self._is_regular else os.O_WRONLY | os.O_NONBLOCK
        fd = os.open(
            self._path, access | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o640
        )
        try:
            if self._is_regular and self._mends:
                _cut_torn(fd)
            self._size = os.fstat(fd).st_size
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        if self._rotation is not None:
            self._rotation.opened(time.time() if status is None else status.st_mtime)

    def _leave(self) -> None:
        """Close the file; a line that is not whole in it is taken back, to go to the next."""
        if self._fd < 0:
            return
        if self._done:
            whole = self._lines.rfind(b"\n", 0, self._done) + 1
            if self._is_regular and whole < self._done:
                with contextlib.suppress(OSError):
                    _cut_torn(self._fd)
            # What is whole in it stays there, and does not come again.
            self._done = whole
        # A disk that fails now is told of at the next file.
        with contextlib.suppress(Unavailable):
            self.flush()
        os.close(self._fd)
        self._fd = -1

    def abort(self) -> None:
        """See Client: nothing here waits."""

    def reopen(self) -> None:
        """See Client: whoever renamed the file finds a new one in its place."""
        self._leave()
        with contextlib.suppress(OSError):
            self._open()

    def status(self) -> dict[str, Any]:
        """See Client."""
        turned = {} if self._rotation is None else self._rotation.status()
        return {"path": str(self._path), **turned}

    def close(self) -> None:
        """See Client."""
        self._leave()
        if self._rotation is not None:
            self._rotation.close()


def _cut_torn(fd: int) -> None:
    """Cut what stands behind the file's last newline; a line longer than any event is ended.

    Raises OSError.
    """
    size = os.fstat(fd).st_size
    at = size
    while at > max(0, size - MAX_LINE_BYTES):
        step = min(_SEARCH_BYTES, at)
        block = os.pread(fd, step, at - step)
        newline = block.rfind(b"\n")
        if newline >= 0:
            at = at - step + newline + 1
            if at < size:
                os.ftruncate(fd, at)
            return
        at -= step
    if at == 0:
        os.ftruncate(fd, 0)
    else:
        os.write(fd, b"\n")
