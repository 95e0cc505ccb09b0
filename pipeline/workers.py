"""`peeltap enrich --workers N`: so many workers on this machine, kept alive, and asked about.

    SIGTERM, SIGINT   stop all; once more: at once
    SIGHUP            their sinks' files are opened anew

A worker is a process of its own (`worker`): correction is one core's work, and what one of them
dies of is not the others' end. Its standard input is a socket of ours, on which it reports
(`worker_link`); it ends with that, so that none outlives us. The control socket and the metrics of
all of them are here: one address to ask, that is there while a worker is not.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Iterator
from typing import Any, Final

from pipeline.config import load_worker
from pipeline.config_check import Whole
from pipeline.control import ControlError, ControlServer
from pipeline.errors import RunError
from pipeline.logs import Logs
from pipeline.metrics import MetricsServer
from pipeline.worker_metrics import of_workers
from pipeline.worker_process import WorkerProcess, command
from pipeline.workers_report import WorkersReporter

STOP_SECONDS: Final = 15.0

_TICK_SECONDS: Final = 1.0
_WRONG_USE: Final = 2


def run(path: str, count: int) -> int:
    """Keep `count` workers until told to stop; the exit code. Raises ConfigError, RunError."""
    _, whole = load_worker(path)
    logs = Logs(whole.log.level, whole.log.format)
    try:
        with selectors.DefaultSelector() as selector:
            pool = _Pool(path, count, whole, logs, selector)
            with pool.asked():
                return pool.run()
    except ControlError as error:
        raise RunError(f"{path}: {error}") from error
    finally:
        logs.close()


class _Pool:
    def __init__(
        self, path: str, count: int, whole: Whole, logs: Logs, selector: selectors.BaseSelector
    ) -> None:
        self._whole = whole
        self._logs = logs
        self._log = logs.log
        self._selector = selector
        self._control: ControlServer | None = None
        self._workers = [
            WorkerProcess(number, command(path, number), selector) for number in range(1, count + 1)
        ]
        assert whole.events.redis is not None  # noqa: S101 - load_worker sees to it
        self._reporter = WorkersReporter(
            config=path,
            partitions=whole.events.redis.partitions,
            workers=self._workers,
            log_lines_lost=lambda: logs.lost,
        )
        self._asked: list[int] = []

    def run(self) -> int:
        with self._signals():
            try:
                self._reporter.state = "running"
                while not any(one in (signal.SIGTERM, signal.SIGINT) for one in self._asked):
                    if self._tend() == _WRONG_USE:
                        return _WRONG_USE
                    if signal.SIGHUP in self._asked:
                        self._asked.remove(signal.SIGHUP)
                        self._tell(signal.SIGHUP)
                    self._wait(_TICK_SECONDS)
            finally:
                self._stop()
        return 0

    def _tend(self) -> int:
        """Begin who is not there; the exit code of one that cannot ever run, else 0."""
        now = time.monotonic()
        for one in self._workers:
            code = one.tend(now)
            if code == _WRONG_USE:
                return code
            if code is not None:
                self._log.error(
                    "a worker has ended and is begun again",
                    worker=one.number,
                    code=code,
                    reason=one.last_end,
                )
        self._reporter.tick(now)
        self._logs.tick()
        if self._control is not None:
            self._control.tick(now)
        return 0

    def _tell(self, number: signal.Signals) -> None:
        for one in self._workers:
            one.signal(number)

    def _wait(self, seconds: float) -> None:
        for key, events in self._selector.select(seconds):
            key.data(events)

    def _stop(self) -> None:
        self._reporter.state = "stopping"
        self._asked.clear()
        self._tell(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        while not all(one.has_ended() for one in self._workers):
            if self._asked or time.monotonic() >= until:
                self._tell(signal.SIGKILL)
                break
            self._wait(0.02)
        for one in self._workers:
            one.wait()
            one.let_go()

    # Who asks.

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Answer on the control socket and, if it is wanted, to Prometheus. Raises ControlError."""
        with contextlib.ExitStack() as stack:
            path = self._whole.workers_socket
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ControlError(
                    f"{path.parent} cannot be made ({error.strerror}); name another"
                    " state.directory, or control.workers"
                ) from error
            self._control = ControlServer(
                path,
                {
                    "status": self._reporter.report,
                    "reopen": lambda: self._ask(signal.SIGHUP),
                    "stop": lambda: self._ask(signal.SIGTERM),
                },
                self._selector,
                group=self._whole.control.group,
                now=time.monotonic(),
                ours="state.directory, or control.workers",
            )
            stack.callback(self._control.close)
            listen = self._whole.workers_metrics
            if listen is not None:
                metrics = _listen(listen, self._reporter)
                stack.callback(metrics.close)
                metrics.start()
            self._log.info(
                "workers are begun", count=len(self._workers), control=str(path), metrics=listen
            )
            yield

    def _ask(self, number: signal.Signals) -> dict[str, Any]:
        self._asked.append(number)
        return {}

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals wake the select; what they mean is done outside their handlers."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

        def drain(events: int) -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 4096)

        self._selector.register(reader, selectors.EVENT_READ, drain)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {
            one: signal.signal(one, lambda number, _: self._asked.append(number)) for one in wanted
        }
        signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
            signal.set_wakeup_fd(-1)
            self._selector.unregister(reader)
            os.close(reader)
            os.close(writer)


def _listen(listen: str, reporter: WorkersReporter) -> MetricsServer:
    try:
        return MetricsServer(listen, reporter.report, of_workers)
    except OSError as error:
        raise ControlError(
            f"metrics: {listen} cannot be listened on ({error.strerror}); name another under"
            " metrics.workers"
        ) from error
