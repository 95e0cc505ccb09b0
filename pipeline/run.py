"""`peeltap run`: the life of the service, from the first check to the last line of its log.

    main thread     signals, control socket, watchdog, a tick a second; waits in one select
    datapath-N      packets (`datapath`)             checkpoints   the connection table on disk
    suricata        its supervisor                   relay         events to their sinks
    metrics         Prometheus, if configured        log           lines to standard error
    page            what a person looks at, if configured

Start: the tap is made, privileges go, then everything else is opened; what cannot be opened ends
the start with one sentence, but for the interface, which is waited for. Stop, in the data's own
order, so that nothing is lost on the way: the last packets leave, Suricata takes them and ends, its
last events are written, the connection table is kept.

    SIGTERM, SIGINT   stop; once more: without waiting for anything
    SIGHUP            sinks are opened anew, Suricata reloads its rules; a storm counts as one
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

import peeltap_core

from pipeline import parts
from pipeline.config import Config, load_live
from pipeline.config_check import Whole
from pipeline.control import ControlError, ControlServer
from pipeline.errors import RunError
from pipeline.logs import Logs
from pipeline.metrics import MetricsServer
from pipeline.notify import Notifier, Pulse
from pipeline.outlet import Outlet
from pipeline.page.server import PageError, PageServer, open_door
from pipeline.privileges import (
    PrivilegeError,
    User,
    drop,
    make_directories,
    require,
    require_writable,
)
from pipeline.status_report import Reporter
from reassembly.capture_filter import FilterError, compile_filter
from suricata import process

TICK_SECONDS: Final = 1.0
CHECK_SECONDS: Final = 10.0
"""How often the tap's quarantine is looked at."""

RELOAD_SECONDS: Final = 1.0
"""SIGHUPs within so long are one."""

# How a stop's five seconds are spent. Each part rarely needs a tenth of its share.
MOVE_SECONDS: Final = 0.5
SURICATA_TAKES_SECONDS: Final = 0.2
SURICATA_SECONDS: Final = 3.2
DRAIN_SECONDS: Final = 1.0
TABLE_SECONDS: Final = 30.0
"""A table of a million connections takes its time; it is the one thing worth being late for."""

HURRY_SECONDS: Final = 1.0
"""For the step that a worker is in when it is told to hurry."""

FAILURES: Final = (*parts.FAILURES, ControlError, PrivilegeError, PageError)


def check(path: str) -> None:
    """Check the configuration at `path` and all that it names.

    Raises ConfigError, or RunError for a filter, a user, a program or a file that it names.
    """
    config, whole = _checked(path)
    try:
        if whole.page is not None:
            open_door(whole.page)
    except PageError as error:
        raise RunError(f"{path}: {error}") from error
    if config.suricata.external is not None:
        return
    try:
        process.find(config.suricata.binary)
        for file in (config.suricata.base, *config.suricata.rules):
            file.open("rb").close()
    except OSError as error:
        raise RunError(f"{path}: {error.filename} cannot be read: {error.strerror}") from error
    except process.SuricataError as error:
        raise RunError(f"{path}: {error}") from error


def _checked(path: str) -> tuple[Config, Whole]:
    """The configuration, without which nothing runs.

    What Suricata needs is no part of it: packets are captured and remembered also while its rules
    or its program are being replaced, and its supervisor says what is missing.
    """
    config, whole = load_live(path)
    try:
        if whole.capture is not None and whole.capture.filter is not None:
            compile_filter(whole.capture.filter)
        peeltap_core.Engine(parts.engine_json(config, whole))
        if whole.run_as is not None:
            User.find(whole.run_as)
    except FilterError as error:
        raise RunError(f"{path}: capture.filter: {error}") from error
    except PrivilegeError as error:
        raise RunError(f"{path}: {error}") from error
    return config, whole


def run(path: str) -> int:
    """Be the service until told to stop; give the exit code. Raises PeeltapError."""
    config, whole = _checked(path)
    notifier = Notifier.from_environment()
    logs = Logs(whole.log.level, whole.log.format)
    try:
        outlet = _open_and_give_up(whole, logs)
        give_up, pulse = threading.Event(), Pulse()
        opened = parts.open_parts(config, whole, outlet, log=logs.log, pulse=pulse, give_up=give_up)
        try:
            reporter = Reporter(
                config=path,
                mode=config.mode,
                interface=opened.interface,
                workers=opened.workers,
                outlet=opened.outlet,
                parts=opened.reports(),
                log_lines_lost=lambda: logs.lost,
            )
            service = Service(opened, reporter, logs, notifier, pulse, give_up)
        except BaseException:
            opened.abandon()
            raise
        return service.run()
    except FAILURES as error:
        raise RunError(str(error)) from error
    finally:
        logs.close()


def _open_and_give_up(whole: Whole, logs: Logs) -> Outlet:
    """Do what root can do better, then be no more than the service has to be."""
    require()
    parts.preload(whole)
    user = None if whole.run_as is None else User.find(whole.run_as)
    directories = parts.directories(whole)
    make_directories(directories, user)
    outlet = parts.open_outlet(whole, logs.log)
    try:
        drop(user)
        require_writable(directories)
    except BaseException:
        outlet.remove()
        raise
    return outlet


class Service:
    """The running service; `parts` are opened and not yet started."""

    def __init__(
        self,
        opened: parts.Parts,
        reporter: Reporter,
        logs: Logs,
        notifier: Notifier,
        pulse: Pulse,
        give_up: threading.Event,
    ) -> None:
        self._parts = opened
        self._reporter = reporter
        self._logs = logs
        self._log = logs.log
        self._notifier = notifier
        self._pulse = pulse
        self._give_up = give_up
        self._stop_asked: str | None = None
        self._reload_asked = False
        self._reopen_asked = False
        self._reloaded = -RELOAD_SECONDS
        self._checked = 0.0
        self._complaints: list[str] = []
        self._mute: list[str] = []
        self._failed = False
        self._selector = selectors.DefaultSelector()
        whole = opened.whole
        self._control = ControlServer(
            whole.control.socket,
            {
                "status": reporter.report,
                "reload": lambda: self._answer(reload=True),
                "reopen": lambda: self._answer(reload=False),
                "stop": self._answer_stop,
            },
            self._selector,
            group=whole.control.group,
            now=time.monotonic(),
        )
        self._metrics: MetricsServer | None = None
        self._page: PageServer | None = None
        try:
            if whole.metrics is not None:
                self._metrics = MetricsServer(whole.metrics.listen, reporter.report)
            if whole.page is not None and opened.watch is not None:
                self._page = PageServer(
                    whole.page,
                    opened.watch,
                    parts.decoys(whole),
                    reporter.report,
                    say=lambda level, text: self._log.log(level, text, part="page"),
                )
                reporter.add("page", self._page.status)
        except BaseException:
            self._close_servers()
            raise

    def run(self) -> int:
        """Start everything, stay until told to stop or a part fails; give the exit code."""
        with self._signals():
            try:
                try:
                    self._start()
                    while self._stop_asked is None and not self._failed:
                        self._wait(TICK_SECONDS)
                        self._tick(time.monotonic())
                except Exception:
                    # A fault of ours: the threads must not go on without the one that watches them.
                    self._log.exception("the main thread has failed; the service ends")
                    self._failed = True
                self._stop()
            finally:
                self._close_servers()
                self._selector.close()
        return 1 if self._failed else 0

    def _close_servers(self) -> None:
        self._control.close()
        for server in (self._metrics, self._page):
            if server is not None:
                server.close()

    # --- Start -----------------------------------------------------------------------------------

    def _start(self) -> None:
        opened = self._parts
        # Suricata first: it takes longest, and misses least.
        opened.suricata.start()
        opened.relay.start()
        if opened.publisher is not None:
            opened.publisher.start()
        for worker in opened.workers:
            worker.start()
        for server in (self._metrics, self._page):
            if server is not None:
                server.start()
        self._reporter.state = "running"
        self._log.info(
            "peeltap runs",
            version=self._reporter.version,
            interface=opened.interface,
            output=opened.outlet.name,
            control=str(opened.whole.control.socket),
        )
        self._notifier.ready(self._reporter.line())

    # --- Life ------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        for key, events in self._selector.select(seconds):
            key.data(events)

    def _tick(self, now: float) -> None:
        self._control.tick(now)
        self._reporter.tick(now)
        self._logs.tick()
        if (self._reload_asked or self._reopen_asked) and now - self._reloaded >= RELOAD_SECONDS:
            self._reloaded = now
            self._reload()
        if now - self._checked >= CHECK_SECONDS:
            self._checked = now
            self._check_output()
        for worker in self._parts.workers:
            if not worker.alive:
                self._fail(f"{worker.name} has ended", worker.failure)
        for name in self._parts.ended():
            self._fail(f"{name} has ended", None)
        self._watch(now)

    def _watch(self, now: float) -> None:
        """Tell the service manager that we live, if all threads do."""
        self._pulse.beat("events", self._parts.relay.status()["beat"])
        mute = self._pulse.silent(now)
        if mute != self._mute:
            self._mute = mute
            if mute:
                self._log.error("no sign of life", threads=mute)
        if not mute:
            self._notifier.alive(now)
        self._notifier.status(self._reporter.line())

    def _check_output(self) -> None:
        try:
            complaints = self._parts.outlet.check()
        except OSError as error:
            complaints = [f"{self._parts.outlet.name} cannot be looked at: {error}"]
        for complaint in complaints:
            if complaint not in self._complaints:
                self._log.warning(complaint, output=self._parts.outlet.name)
        self._complaints = self._reporter.complaints = complaints

    def _reload(self) -> None:
        # Forgotten first: who asks from here on has renamed a file that we may have opened already.
        rules, self._reload_asked = self._reload_asked, False
        self._reopen_asked = False
        self._parts.relay.reopen()
        if rules:
            self._parts.suricata.reload_rules("asked for")
        self._log.info("sinks are opened anew", rules=rules)

    def _fail(self, what: str, error: BaseException | None) -> None:
        if not self._failed:
            self._failed = True
            self._log.error(f"{what}; the service ends", reason=str(error) if error else None)

    def _answer(self, *, reload: bool) -> dict[str, Any]:
        self._reopen_asked = True
        self._reload_asked = self._reload_asked or reload
        return {}

    def _answer_stop(self) -> dict[str, Any]:
        self._stop_asked = self._stop_asked or "asked for"
        return {}

    # --- Signals ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals wake the select; what they mean is done outside their handlers."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

        def drain(events: int) -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 4096)

        def stop(number: int, frame: FrameType | None) -> None:
            if self._stop_asked is not None:
                self._give_up.set()
            self._stop_asked = signal.Signals(number).name

        def reload(number: int, frame: FrameType | None) -> None:
            self._answer(reload=True)

        handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
            signal.SIGTERM: stop,
            signal.SIGINT: stop,
            signal.SIGHUP: reload,
        }
        self._selector.register(reader, selectors.EVENT_READ, drain)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        previous = {number: signal.signal(number, one) for number, one in handlers.items()}
        # Those that came while everything was opened waited for this (`commands.run`).
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            os.close(reader)
            os.close(writer)

    # --- Stop ------------------------------------------------------------------------------------

    def _stop(self) -> None:
        opened, began = self._parts, time.monotonic()
        reason = "a part has failed" if self._failed else self._stop_asked
        self._reporter.state = "stopping"
        self._notifier.stopping(f"stopping: {reason}")
        self._log.info("stopping", reason=reason)
        # 1. Capture ends; what is held leaves. The workers go on to keep their tables meanwhile.
        for worker in opened.workers:
            worker.stop()
        for worker in opened.workers:
            self._await(worker.moved.is_set, MOVE_SECONDS)
        # 2. Suricata takes the rest out of its ring, and ends.
        self._give_up.wait(SURICATA_TAKES_SECONDS)
        opened.suricata.stop(0.0 if self._give_up.is_set() else SURICATA_SECONDS)
        # 3. Its last events are written.
        opened.relay.stop(0.0 if self._give_up.is_set() else DRAIN_SECONDS)
        # 4. The tables are whole on disk; then it was a clean stop.
        clean = not self._failed
        for worker in opened.workers:
            self._await(lambda worker=worker: not worker.alive, TABLE_SECONDS)  # type: ignore[misc]
            # Told to hurry it still ends its step: in the middle of one the interpreter cannot end.
            clean = worker.join(HURRY_SECONDS) and clean and worker.failure is None
        opened.close(clean=clean and not self._give_up.is_set())
        self._log.info("stopped", seconds=round(time.monotonic() - began, 2))

    def _await(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait for `done`, answering the control socket; a second signal ends the wait."""
        until = time.monotonic() + seconds
        while not done() and time.monotonic() < until and not self._give_up.is_set():
            self._wait(0.02)
