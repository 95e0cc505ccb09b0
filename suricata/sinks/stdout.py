"""Events onto standard output, for a pipe into another program."""

from __future__ import annotations

import os
import select
from collections import deque
from typing import Any

from .sink import SinkError


class StdoutSink:
    """Writes to descriptor `fd`, and never waits in it: a reader that is slow is a full disk."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._held: deque[tuple[int, bytes]] = deque()
        self._done = 0
        self.acknowledged = 0
        self._trouble: str | None = None
        self._bytes = 0
        self._lines = 0

    @property
    def name(self) -> str:
        """How a configuration calls it."""
        return "stdout"

    @property
    def has_room(self) -> bool:
        """Nothing is kept."""
        return not self._held

    def write(self, number: int, lines: bytes) -> None:
        """See Sink."""
        self._held.append((number, lines))
        if len(self._held) == 1:
            try:
                self.pump()
            except SinkError:
                return

    def pump(self) -> None:
        """See Sink; a reader that is only slow is no error."""
        while self._held:
            number, lines = self._held[0]
            # The descriptor is shared with whoever started us: it is not made non-blocking. A pipe
            # that is ready takes PIPE_BUF bytes without waiting, a file all.
            if not self._is_ready():
                return
            try:
                piece = memoryview(lines)[self._done : self._done + select.PIPE_BUF]
                self._done += os.write(self._fd, piece)
            except BlockingIOError:
                return
            except BrokenPipeError as error:
                self._trouble = "standard output was closed by its reader: start that one again"
                raise SinkError(self._trouble) from error
            except OSError as error:
                self._trouble = f"standard output cannot be written to ({error.strerror})"
                raise SinkError(self._trouble) from error
            if self._done == len(lines):
                self._held.popleft()
                self._done = 0
                self.acknowledged = number
                self._trouble = None
                self._bytes += len(lines)
                self._lines += lines.count(b"\n")

    def _is_ready(self) -> bool:
        poll = select.poll()
        try:
            poll.register(self._fd, select.POLLOUT)
            return bool(poll.poll(0))
        except OSError:
            return True

    def flush(self) -> None:
        """Nothing is buffered here."""

    def reopen(self) -> None:
        """There is no other standard output."""

    def status(self) -> dict[str, Any]:
        """See Sink."""
        return {
            "kind": "stdout",
            "lines": self._lines,
            "bytes": self._bytes,
            "held": sum(len(lines) for _, lines in list(self._held)) - self._done,
            "trouble": self._trouble,
        }

    def close(self) -> None:
        """What is kept is dropped."""
        self._held.clear()
