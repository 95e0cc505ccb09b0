"""Speaks to the service manager (sd_notify(3)), and knows which threads are alive.

    READY=1      packets are taken, events are corrected; the interface itself may still be absent
    STATUS=...   one line for `systemctl status`
    WATCHDOG=1   only while every thread of the data's way has shown a sign of life; a service that
                 looks alive and moves nothing is what the watchdog is for
    STOPPING=1   the stop has begun

Without a service manager all of it does nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import MutableMapping
from typing import Final

SILENT_SECONDS: Final = 15.0
"""A thread that shows no sign of life for so long counts as dead."""


class Notifier:
    """One service manager's socket; `path` is None where there is none."""

    def __init__(self, path: str | None, watchdog_seconds: float | None = None) -> None:
        self._path = path
        self.watchdog_seconds = watchdog_seconds
        self._said: str | None = None
        self._alive_at = 0.0

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """Read what the manager told us, and take it out: it is not for our children."""
        path = environment.pop("NOTIFY_SOCKET", None)
        microseconds = environment.pop("WATCHDOG_USEC", "")
        meant_for = environment.pop("WATCHDOG_PID", "")
        watchdog = None
        if microseconds.isdigit() and meant_for in ("", str(os.getpid())):
            watchdog = int(microseconds) / 1e6 or None
        return cls(path or None, watchdog)

    def ready(self, status: str) -> None:
        """Say that the service is up."""
        self._send("READY=1", status)

    def status(self, status: str) -> None:
        """Say what is going on, if it is something new."""
        if status != self._said:
            self._send(None, status)

    def alive(self, now: float) -> None:
        """Say that everything moves, four times in the time after which the manager acts."""
        if self.watchdog_seconds is not None and now >= self._alive_at:
            self._alive_at = now + self.watchdog_seconds / 4
            self._send("WATCHDOG=1", None)

    def stopping(self, status: str) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1", status)

    def _send(self, state: str | None, status: str | None) -> None:
        if self._path is None:
            return
        lines = [state] if state else []
        if status is not None:
            self._said = status
            lines.append("STATUS=" + " ".join(status.split()))
        # An abstract socket's name begins with a NUL, which an environment cannot hold.
        where = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        # A manager that does not listen has no say in whether packets are handled.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel,
        ):
            channel.connect(where)
            channel.send("\n".join(lines).encode())


class Pulse:
    """The last sign of life of each thread, by its name; `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def beat(self, name: str, now: float) -> None:
        """Take a sign of life."""
        with self._lock:
            self._last[name] = now

    def end(self, name: str) -> None:
        """Expect no more of this thread: it has ended as it should."""
        with self._lock:
            self._last.pop(name, None)

    def silent(self, now: float, seconds: float = SILENT_SECONDS) -> list[str]:
        """Name the threads without a sign of life for `seconds`."""
        with self._lock:
            return sorted(name for name, last in self._last.items() if now - last > seconds)
