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
from collections import deque
from pathlib import Path
from typing import Any, Final

from ..enrich import MAX_LINE_BYTES
from .sink import SinkError

_SEARCH_BYTES: Final = 1 << 16


class FileSink:
    """Appends to `path`, which is made with mode 0640 where it is absent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._is_regular = True
        # Blocks that are not delivered; of the first one so much is.
        self._held: deque[tuple[int, bytes]] = deque()
        self._done = 0
        self.acknowledged = 0
        self._unsynced = False
        self._trouble: str | None = None
        self._bytes = 0
        self._lines = 0
        self._waits = 0

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    @property
    def has_room(self) -> bool:
        """Nothing is kept."""
        return not self._held

    def write(self, number: int, lines: bytes) -> None:
        """See Sink."""
        self._held.append((number, lines))
        if len(self._held) == 1:
            # What is in the way is told by the next `pump`.
            with contextlib.suppress(SinkError):
                self.pump()

    def pump(self) -> None:
        """See Sink."""
        while self._held:
            number, lines = self._held[0]
            if self._is_deleted():
                self._leave()
            if self._fd < 0:
                self._open()
            try:
                # One call for a whole block: another appender never comes between its lines.
                self._done += os.write(self._fd, memoryview(lines)[self._done :])
            except OSError as error:
                raise self._failed(error) from error
            if self._done < len(lines):
                # The next call says why.
                continue
            self._held.popleft()
            self._done = 0
            self.acknowledged = number
            self._unsynced = True
            self._trouble = None
            self._bytes += len(lines)
            self._lines += lines.count(b"\n")

    def flush(self) -> None:
        """See Sink."""
        if not self._unsynced or self._fd < 0:
            return
        if self._is_regular:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                raise self._failed(error) from error
        self._unsynced = False

    def reopen(self) -> None:
        """See Sink."""
        self._leave()
        self._open()

    def _is_deleted(self) -> bool:
        """Whether nobody will ever read what is written now: of a deletion no signal tells."""
        return self._fd >= 0 and self._is_regular and os.fstat(self._fd).st_nlink == 0

    def _failed(self, error: OSError) -> SinkError:
        if self._trouble is None:
            self._waits += 1
        self._trouble = (
            f"{self._path} cannot be written to ({error.strerror}): events wait in Suricata's own"
            " file until it can"
        )
        return SinkError(self._trouble)

    def _open(self) -> None:
        # Read as well, to find a torn line; a FIFO without a reader must not hold us.
        try:
            try:
                mode = self._path.stat().st_mode
            except FileNotFoundError:
                mode = stat.S_IFREG
            self._is_regular = stat.S_ISREG(mode)
            access = os.O_RDWR if self._is_regular else os.O_WRONLY | os.O_NONBLOCK
            self._fd = os.open(
                self._path, access | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o640
            )
            if self._is_regular:
                _cut_torn(self._fd)
        except OSError as error:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            raise self._failed(error) from error

    def _leave(self) -> None:
        """Close the file; a line that is not whole in it is taken back, to go to the next."""
        if self._fd < 0:
            return
        if self._held and self._done:
            lines = self._held[0][1]
            whole = lines.rfind(b"\n", 0, self._done) + 1
            if self._is_regular and whole < self._done:
                with contextlib.suppress(OSError):
                    _cut_torn(self._fd)
            # What is whole in it stays there, and does not come again.
            self._held[0] = self._held[0][0], lines[whole:]
            self._done = 0
        # A disk that fails now is told of at the next file.
        with contextlib.suppress(SinkError):
            self.flush()
        os.close(self._fd)
        self._fd = -1

    def status(self) -> dict[str, Any]:
        """See Sink."""
        return {
            "kind": "file",
            "path": str(self._path),
            "lines": self._lines,
            "bytes": self._bytes,
            "held": sum(len(lines) for _, lines in list(self._held)) - self._done,
            "waits": self._waits,
            "trouble": self._trouble,
        }

    def close(self) -> None:
        """See Sink."""
        self._leave()
        self._held.clear()


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
