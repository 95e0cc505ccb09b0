"""One worker as its parent sees it: a process that is begun again, and what it said last.

begun ──reports──> running ──ends──> ended ──after a rest──> begun
                                       └ the rest grows while it does not stay
"""

from __future__ import annotations

import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from pipeline.worker_link import Receiver

MUTE_SECONDS: Final = 10.0
"""A worker of which nothing is heard for so long is not up, whatever its process does."""

RESTART_FIRST_SECONDS: Final = 0.5
RESTART_MOST_SECONDS: Final = 30.0
WELL_SECONDS: Final = 60.0
"""Whoever stayed for so long is begun again soon."""


def command(path: str, number: int) -> list[str]:
    """What is run to be worker `number` of the configuration at `path`."""
    argv = [sys.executable, "-m", "pipeline", "enrich", "--config", path]
    return [*argv, "--worker", str(number)]


class WorkerProcess:
    """Worker `number`, begun by `argv`; what it says is taken when `selector` calls."""

    def __init__(self, number: int, argv: Sequence[str], selector: selectors.BaseSelector) -> None:
        self.number = number
        self.restarts = 0
        self._argv = list(argv)
        self._selector = selector
        self._process: subprocess.Popen[bytes] | None = None
        self._receiver: Receiver | None = None
        self._listening = False
        self._now = self._since = self._again = 0.0
        self._rest = RESTART_FIRST_SECONDS
        self.last_end: str | None = None
        """How it ended last, as a clause."""

    @property
    def is_there(self) -> bool:
        """Whether it has a process that has not been found to have ended."""
        return self._process is not None

    def tend(self, now: float) -> int | None:
        """Begin it, if it is time; its exit code, where it is found to have ended."""
        self._now = now
        if self._process is None:
            if now >= self._again:
                self._start(now)
            return None
        code = self._process.poll()
        if code is not None:
            self._ended(code, now)
        return code

    def _start(self, now: float) -> None:
        self._since = now
        receiver = Receiver()
        try:
            self._process = subprocess.Popen(self._argv, stdin=receiver.other.fileno())
        except OSError as error:
            receiver.close()
            self._rest_after(f"it cannot be begun: {error.strerror}", now)
            return
        receiver.other.close()
        if self.last_end is not None:
            self.restarts += 1
        self._receiver = receiver
        self._selector.register(receiver.socket, selectors.EVENT_READ, self._receive)
        self._listening = True

    def _receive(self, events: int) -> None:
        assert self._receiver is not None  # noqa: S101 - it is registered as long as it is there
        if not self._receiver.receive(self._now):
            self._deafen()

    def _deafen(self) -> None:
        if self._listening and self._receiver is not None:
            self._selector.unregister(self._receiver.socket)
            self._listening = False

    def _ended(self, code: int, now: float) -> None:
        assert self._receiver is not None  # noqa: S101 - it came with the process
        # Its last words may say why.
        self._receiver.receive(now)
        said = (self._receiver.report or {}).get("error")
        self.let_go()
        if now - self._since >= WELL_SECONDS:
            self._rest = RESTART_FIRST_SECONDS
        self._rest_after(str(said) if said else _how(code), now)

    def _rest_after(self, end: str, now: float) -> None:
        self.last_end = end
        self._again = now + self._rest
        self._rest = min(self._rest * 2, RESTART_MOST_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self._process is not None:
            self._process.send_signal(number)

    def has_ended(self) -> bool:
        """Whether nothing of it runs."""
        return self._process is None or self._process.poll() is not None

    def wait(self) -> None:
        """Until nothing of it runs."""
        if self._process is not None:
            self._process.wait()

    def let_go(self) -> None:
        """Close what is ours; a process that is still there reads the end of its input."""
        self._deafen()
        if self._receiver is not None:
            self._receiver.close()
        self._process = self._receiver = None

    def status(self, now: float) -> dict[str, Any]:
        """What is known of it, from any thread; `events` and `store` as it said last.

        `up`: it runs and says so. `silent_seconds`: how old its relay's last sign of life is,
        which may be at rest while Redis gives no flow records.
        """
        process, receiver = self._process, self._receiver
        told = None if receiver is None else receiver.report
        if process is None or receiver is None or told is None or "error" in told:
            return {
                "worker": self.number,
                "up": False,
                "state": "starting" if process or self.last_end is None else "ended",
                "pid": None if process is None else process.pid,
                "restarts": self.restarts,
                "last_end": self.last_end,
                "again_seconds": round(max(0.0, self._again - now), 1) if process is None else 0.0,
                "events": {},
                "store": {},
            }
        age = now - receiver.at
        beat = (told.get("events") or {}).get("beat")
        return {
            "worker": self.number,
            "up": age < MUTE_SECONDS,
            "state": told.get("state", "running") if age < MUTE_SECONDS else "mute",
            "pid": process.pid,
            "uptime_seconds": round(now - self._since, 1),
            "restarts": self.restarts,
            "last_end": self.last_end,
            "report_age_seconds": round(age, 1),
            # Time is the same for all processes.
            "silent_seconds": round(max(0.0, now - beat), 1) if beat is not None else None,
            "log_lines_lost": told.get("log_lines_lost", 0),
            "events": told.get("events") or {},
            "store": told.get("store") or {},
        }


def _how(code: int) -> str:
    if code < 0:
        try:
            return f"it was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"it was killed by signal {-code}"
    return f"it ended with code {code}; its log says why"
