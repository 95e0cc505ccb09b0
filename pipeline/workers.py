"""`peeltap enrich --workers N`: so many workers on this machine, kept alive.

    SIGTERM, SIGINT   stop all; once more: at once
    SIGHUP            their sinks' files are opened anew

A worker is a process of its own (`worker`): correction is one core's work, and what one of them
dies of is not the others' end. Its standard input is a pipe of ours that nothing is written to, so
that none outlives us.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.config import load_worker
from pipeline.logs import Logger, Logs

STOP_SECONDS: Final = 15.0

_TICK_SECONDS: Final = 1.0
_RESTART_FIRST_SECONDS: Final = 0.5
_RESTART_MOST_SECONDS: Final = 30.0
_WELL_SECONDS: Final = 60.0
_WRONG_USE: Final = 2


@dataclass
class _Worker:
    """One of them; `rest` grows while it does not stay."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    since: float = 0.0
    again: float = 0.0
    rest: float = _RESTART_FIRST_SECONDS


def run(path: str, count: int) -> int:
    """Keep `count` workers until told to stop; the exit code. Raises ConfigError."""
    _, whole = load_worker(path)
    logs = Logs(whole.log.level, whole.log.format)
    try:
        return _Pool(path, count, logs.log).run()
    finally:
        logs.close()


class _Pool:
    def __init__(self, path: str, count: int, log: Logger) -> None:
        self._path = path
        self._log = log
        self._workers = [_Worker(number) for number in range(1, count + 1)]
        self._asked: list[int] = []

    def run(self) -> int:
        with self._signals() as woken:
            try:
                while not any(one in (signal.SIGTERM, signal.SIGINT) for one in self._asked):
                    if self._tend() == _WRONG_USE:
                        return _WRONG_USE
                    if signal.SIGHUP in self._asked:
                        self._asked.remove(signal.SIGHUP)
                        self._tell(signal.SIGHUP)
                    self._rest(woken)
            finally:
                self._stop(woken)
        return 0

    def _tend(self) -> int:
        """Begin who is not there; the exit code of one that cannot ever run, else 0."""
        now = time.monotonic()
        for one in self._workers:
            code = None if one.process is None else one.process.poll()
            if code is not None:
                self._reap(one)
                if code == _WRONG_USE:
                    return code
                if now - one.since >= _WELL_SECONDS:
                    one.rest = _RESTART_FIRST_SECONDS
                one.again = now + one.rest
                one.rest = min(one.rest * 2, _RESTART_MOST_SECONDS)
                self._log.error(
                    "a worker has ended and is begun again", worker=one.number, code=code
                )
            if one.process is None and now >= one.again:
                self._start(one)
        return 0

    def _start(self, one: _Worker) -> None:
        argv = [sys.executable, "-m", "pipeline", "enrich", "--config", self._path]
        one.process = subprocess.Popen([*argv, "--worker", str(one.number)], stdin=subprocess.PIPE)
        one.since = time.monotonic()

    def _reap(self, one: _Worker) -> None:
        assert one.process is not None and one.process.stdin is not None  # noqa: S101, PT018
        one.process.stdin.close()
        one.process = None

    def _tell(self, number: signal.Signals) -> None:
        for one in self._workers:
            if one.process is not None:
                one.process.send_signal(number)

    def _rest(self, woken: int) -> None:
        select.select([woken], [], [], _TICK_SECONDS)
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)

    def _stop(self, woken: int) -> None:
        self._asked.clear()
        self._tell(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        while any(one.process is not None and one.process.poll() is None for one in self._workers):
            if self._asked or time.monotonic() >= until:
                self._tell(signal.SIGKILL)
                break
            time.sleep(0.02)
        for one in self._workers:
            if one.process is not None:
                one.process.wait()
                self._reap(one)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[int]:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {
            one: signal.signal(one, lambda number, _: self._asked.append(number)) for one in wanted
        }
        signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
        try:
            yield reader
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
            signal.set_wakeup_fd(-1)
            os.close(reader)
            os.close(writer)
