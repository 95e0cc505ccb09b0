"""Events onto standard output, for a pipe into another program."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Sequence
from typing import Any, Final

from .client import Outgoing, Rejected, Unavailable

# A reader that takes nothing for so long is told of.
PATIENCE_SECONDS: Final = 5.0

_LOOK_SECONDS: Final = 0.25


class StdoutClient:
    """Writes to descriptor `fd`, and never waits in it: a reader that is slow is a full disk."""

    kind = "stdout"

    def __init__(self, fd: int = 1, *, patience: float = PATIENCE_SECONDS) -> None:
        self._fd = fd
        self._patience = patience
        self._lines = b""
        self._done = 0
        self._aborted = threading.Event()

    def deliver_lines(self, lines: bytes) -> None:
        """See LineClient."""
        if lines is not self._lines:
            self._lines, self._done = lines, 0
        waited = 0.0
        while self._done < len(self._lines):
            # The descriptor is shared with whoever started us: it is not made non-blocking. A pipe
            # that is ready takes PIPE_BUF bytes without waiting, a file all.
            if not self._is_ready():
                waited += _LOOK_SECONDS
                if self._aborted.is_set() or waited > self._patience:
                    raise Unavailable(
                        "standard output takes nothing: whoever reads it is slow, or hangs"
                    )
                continue
            waited = 0.0
            try:
                piece = memoryview(self._lines)[self._done : self._done + select.PIPE_BUF]
                self._done += os.write(self._fd, piece)
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise Unavailable(
                    "standard output was closed by its reader: start that one again"
                ) from error
            except OSError as error:
                raise Unavailable(
                    f"standard output cannot be written to ({error.strerror}): see where it leads"
                ) from error
        self._lines, self._done = b"", 0

    def deliver(self, batch: Sequence[Outgoing]) -> list[Rejected]:
        """See Client."""
        lines = b"".join([one.line + b"\n" for one in batch])
        # The same batch is the same lines, of which a part may be there.
        self.deliver_lines(self._lines if lines == self._lines else lines)
        return []

    def _is_ready(self) -> bool:
        poll = select.poll()
        try:
            poll.register(self._fd, select.POLLOUT)
            return bool(poll.poll(_LOOK_SECONDS * 1000))
        except OSError:
            return True

    def check(self) -> str:
        """See Client."""
        try:
            os.fstat(self._fd)
        except OSError as error:
            raise Unavailable(
                f"standard output cannot be written to ({error.strerror}): see where it leads"
            ) from error
        return "standard output is open"

    def abort(self) -> None:
        """See Client."""
        self._aborted.set()

    def reopen(self) -> None:
        """There is no other standard output."""

    def status(self) -> dict[str, Any]:
        """See Client."""
        return {}

    def close(self) -> None:
        """Nothing to let go of."""
