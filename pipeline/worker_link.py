"""What a worker tells its parent: a report a second, over the socket that is its standard input.

    Receiver   the parent's end: the last report, and when it came
    Sender     the worker's end; says nothing where standard input is something else

Each message is whole or not at all (SEQPACKET), and neither side ever waits for the other: what
finds no room is not sent, the next report tells the same and more. That the worker's end can be
read to its end says that the parent is gone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Mapping
from typing import Any, Final

import orjson

Report = dict[str, Any]

# More than a socket's buffer takes by default, so that no message is cut.
_MOST_BYTES: Final = 1 << 20


class Receiver:
    """The parent's end; `report` is what came last, at the moment `at`."""

    def __init__(self) -> None:
        self.socket, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.setblocking(False)
        self.report: Report | None = None
        self.at = 0.0

    def receive(self, now: float) -> bool:
        """Take what came; False: nothing more will."""
        while True:
            try:
                data = self.socket.recv(_MOST_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            with contextlib.suppress(orjson.JSONDecodeError):
                told = orjson.loads(data)
                if isinstance(told, dict):
                    self.report, self.at = told, now

    def close(self) -> None:
        """Let go: whoever has the other end reads its end."""
        self.socket.close()
        self.other.close()


class Sender:
    """The worker's end, on `fd`."""

    def __init__(self, fd: int = 0) -> None:
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                found = socket.socket(fileno=os.dup(fd))
                if found.type == socket.SOCK_SEQPACKET:
                    self._socket = found
                else:
                    found.close()

    def send(self, report: Mapping[str, Any]) -> None:
        """Tell it, if there is anybody to be told and room for it."""
        if self._socket is None:
            return
        try:
            self._send(report)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                # Hundreds of sinks; the rest is worth more than nothing.
                events = {**report.get("events", {}), "sinks": {}}
                with contextlib.suppress(OSError):
                    self._send({**report, "events": events})

    def _send(self, report: Mapping[str, Any]) -> None:
        assert self._socket is not None  # noqa: S101 - for the type checker
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        self._socket.send(orjson.dumps(report, default=str), flags)

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
