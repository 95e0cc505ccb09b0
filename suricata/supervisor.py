"""Keeps one Suricata alive on the tap, and never lets its trouble become the service's.

    Supervisor          the thread that does what lifecycle's table asks for
      workplace         the directory: configuration, command line, files that must not grow
      child             the process: begun, adopted, stopped
      command           its command socket: readiness, reload, opening its files anew
      engine_log        its own log: errors as they come
      rule_keeper       its rules: tried before a reload, the last good ones kept

All of it happens in one thread. What is worth knowing goes to `on_event` as a `SupervisorEvent`,
from that thread; what is wanted of it (`reload_rules`, `reopen`, `stop`) is noted and answered by
the thread's next look. It waits in poll: for the process's end, for a wish, or for the next look,
a second later.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from . import child, command, engine_log, process
from .lifecycle import Action, Backoff, Happening, State, step
from .messages import Kind, Level, SupervisorEvent
from .rule_keeper import RuleKeeper
from .settings import SuricataSettings
from .workplace import Workplace

_LOOK_SECONDS: Final = 1.0
_STARTING_LOOK_SECONDS: Final = 0.1
_STOP_SECONDS: Final = 10.0
# A Suricata whose log says nothing of its start is taken for ready when it answers so long.
_SILENT_START_SECONDS: Final = 5.0
# What Suricata's log says at a time is passed on so far; the rest is counted.
_PASSED_ON: Final = 5


class Supervisor:
    """One Suricata on `interface`, with its files in `directory` (made if absent).

    `on_event` is called from the supervisor's thread and must not block. No method raises for what
    Suricata does or does not do; `status` tells.
    """

    def __init__(
        self,
        settings: SuricataSettings,
        *,
        interface: str,
        directory: Path,
        on_event: Callable[[SupervisorEvent], None] = lambda event: None,
    ) -> None:
        self._settings = settings
        self._interface = interface
        self._on_event = on_event
        self._place = Workplace(settings, interface, directory)
        self._log = engine_log.Follower(self._place.engine_log)
        self._rules = RuleKeeper(
            settings,
            self._place.directory,
            ask=self._ask,
            write_config=self._place.write_config,
            tell=self._tell,
            wanted=self._wanted,
        )
        self._backoff = Backoff(settings.restart_max_seconds, settings.restart_limit)
        self._state = State.STOPPED
        self._child: child.Child | None = None
        self._began = 0.0
        self._answered_at: float | None = None
        self._ready_at: float | None = None
        self._next_start = 0.0
        self._engine_started = False
        self._thread: threading.Thread | None = None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = threading.Event()
        self._stop_seconds = _STOP_SECONDS
        # What follows is shared with other threads.
        self._shared = threading.Lock()
        self._reload: str | None = None
        self._reopen = False
        self._status: dict[str, Any] = {
            "state": self._state.value,
            "pid": None,
            "adopted": False,
            "version": None,
            "restarts": 0,
            "uptime": None,
            "errors": 0,
            "last_error": None,
            "disk_full": False,
        }

    # --- What others ask -------------------------------------------------------------------------

    @property
    def eve(self) -> Path:
        """Where its events go: a file, or the socket on which they are expected."""
        return self._place.eve

    @property
    def command_socket(self) -> Path:
        """Where it takes commands."""
        return self._place.command_socket

    def start(self) -> None:
        """Begin; returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, name="suricata", daemon=True)
            self._thread.start()

    def reload_rules(self, why: str) -> None:
        """Try the rule files and load them; ends a wait for the next start. Returns at once."""
        with self._shared:
            self._reload = why
        self._nudge()

    def reopen(self) -> None:
        """Have Suricata open its files anew, after somebody renamed them. Returns at once."""
        with self._shared:
            self._reopen = True
        self._nudge()

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """Stop Suricata, or leave it to the next start (`keep_running`); returns when it is done.

        After `timeout` seconds in vain it is killed.
        """
        self._stop_seconds = timeout
        self._stopping.set()
        self._nudge()
        if self._thread is not None:
            # The kill, and the wait for what it leaves, come on top.
            self._thread.join(timeout + 10.0)

    def status(self) -> dict[str, Any]:
        """A snapshot; `uptime` in seconds since it was begun, or adopted."""
        with self._shared:
            told = {**self._status, "rules": self._rules.status}
        if told["pid"] is not None:
            told["uptime"] = round(time.monotonic() - self._began, 1)
        return told

    # --- The thread ------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            self._take_place()
            while self._wanted():
                try:
                    if self._state is State.STOPPED:
                        self._happen(Happening.START)
                    self._look()
                except Exception as error:
                    # A full disk, a table of files that is full: the next look may go better.
                    self._trouble(f"Suricata could not be looked after: {error!r}")
                    self._stopping.wait(_LOOK_SECONDS)
                self._sleep()
        finally:
            self._happen(Happening.STOP)
            self._place.release()

    def _take_place(self) -> None:
        """Returns when the directory is ours, or the service stops."""
        while self._wanted():
            try:
                self._place.take()
                return
            except BlockingIOError:
                self._trouble(f"{self._place.directory} is in use by another peeltap")
            except (OSError, LookupError) as error:
                self._trouble(f"{self._place.directory} cannot be used: {error}")
            self._stopping.wait(_LOOK_SECONDS)

    def _sleep(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if self._child is not None:
            poll.register(self._child.pidfd, select.POLLIN)
        seconds = _LOOK_SECONDS
        if self._state is State.STARTING:
            seconds = _STARTING_LOOK_SECONDS
        elif self._state is State.BACKOFF:
            seconds = min(seconds, max(0.0, self._next_start - time.monotonic()))
        poll.poll(seconds * 1000)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _look(self) -> None:
        """What has happened since the last look."""
        self._read_log()
        ended = self._child.ended() if self._child is not None else None
        if ended is not None:
            self._died(ended)
        elif self._state is State.STARTING:
            self._look_for_an_answer()
        elif self._state is State.BACKOFF and time.monotonic() >= self._next_start:
            self._happen(Happening.ELAPSED)
        self._fulfil()
        if self._state is State.READY:
            self._tend()

    def _happen(self, happening: Happening) -> None:
        self._state, action = step(self._state, happening)
        self._set(state=self._state.value)
        match action:
            case Action.LAUNCH:
                self._launch()
            case Action.WELCOME:
                self._welcome()
            case Action.KILL_AND_WAIT:
                self._halt(0.0)
                self._wait_for_next_start()
            case Action.WAIT:
                self._wait_for_next_start()
            case Action.REST:
                self._tell(
                    "failed",
                    "error",
                    f"Suricata failed {self._backoff.failures} times in a row (suricata:"
                    " restart_limit:); it is tried again on SIGHUP and when its rules change",
                )
            case Action.HALT:
                self._leave()
            case Action.NOTHING:
                pass

    # --- Begin and end ---------------------------------------------------------------------------

    def _launch(self) -> None:
        self._began = time.monotonic()
        self._answered_at = self._ready_at = None
        self._engine_started = False
        rules = self._rules.begin()
        try:
            installed = process.find(self._settings.binary)
            self._set(version=installed.version)
            digest = self._place.digest(installed)
            if self._adopt(digest):
                return
            arguments = self._place.prepare(installed, digest, rules)
            self._child = child.spawn(arguments, self._place.directory, self._place.stderr)
        except (process.SuricataError, OSError, LookupError) as error:
            self._trouble(f"Suricata cannot be started: {error}")
            self._happen(Happening.DIED)
            return
        self._set(pid=self._child.pid)
        self._tell("started", "info", f"Suricata {installed.version} begins as {self._child.pid}")

    def _adopt(self, digest: str) -> bool:
        """Take over a Suricata that an earlier peeltap left; stop those that do not fit."""
        for found, carried in child.find(self._place.config):
            if self._child is None and carried == digest:
                self._child = found
                continue
            self._tell(
                "trouble",
                "warning",
                f"Suricata {found.pid}, left by an earlier start with"
                " another configuration, is stopped",
            )
            found.stop(_STOP_SECONDS)
            found.close()
        if self._child is None:
            return False
        # It began long ago, and its log with it.
        self._engine_started = True
        self._log.skip()
        self._set(pid=self._child.pid, adopted=True)
        self._tell("adopted", "info", f"Suricata {self._child.pid} of an earlier start goes on")
        return True

    def _look_for_an_answer(self) -> None:
        now = time.monotonic()
        if now - self._began > self._settings.ready_seconds:
            limit = self._settings.ready_seconds
            self._trouble(f"Suricata is not ready after {limit:g} s (suricata: ready_seconds:)")
            self._happen(Happening.LATE)
            return
        try:
            self._ask("iface-stat", {"iface": self._interface})
        except command.CommandError:
            return
        self._answered_at = self._answered_at or now
        if self._engine_started or now - self._answered_at > _SILENT_START_SECONDS:
            self._happen(Happening.ANSWERED)

    def _welcome(self) -> None:
        self._ready_at = time.monotonic()
        self._set(last_error=None)
        self._tell("ready", "info", f"Suricata is ready on {self._interface}")
        if self._child is not None and self._child.adopted:
            self._rules.adopted()
        else:
            self._read_log()
            self._rules.started()

    def _died(self, how: str) -> None:
        if self._child is None:
            return
        text = f"Suricata {self._child.pid} {how}"
        if self._ready_at is None:
            # What was written before the log was open says why, if the log does not.
            lines = engine_log.tail(self._place.stderr).strip().splitlines()
            cause = self._status["last_error"] or (lines[-1][:300] if lines else None)
            text += " before it was ready" + (f": {cause}" if cause else "")
        self._set(last_error=text)
        self._tell("died", "error", text)
        self._forget_child()
        self._happen(Happening.DIED)

    def _wait_for_next_start(self) -> None:
        ready = None if self._ready_at is None else time.monotonic() - self._ready_at
        wait = self._backoff.failed(ready)
        if wait is None:
            self._happen(Happening.GIVEN_UP)
            return
        self._next_start = time.monotonic() + wait
        with self._shared:
            self._status["restarts"] += 1
        self._tell("waiting", "warning", f"Suricata is started again in {wait:g} s")

    def _leave(self) -> None:
        """Stop Suricata, or leave it running for the next peeltap."""
        if self._child is None:
            return
        pid = self._child.pid
        if self._settings.keep_running and self._ready_at is not None:
            self._forget_child()
            self._tell("left", "info", f"Suricata {pid} goes on alone (suricata: keep_running:)")
            return
        self._halt(self._stop_seconds)
        self._tell("stopped", "info", f"Suricata {pid} was stopped")

    def _halt(self, seconds: float) -> None:
        """Stop the process, in order if there is time, and take its files away."""
        if self._child is None:
            return
        if not self._child.stop(seconds) and seconds:
            self._trouble(f"Suricata did not stop in {seconds:g} s and was killed")
        self._forget_child()
        self._place.clear()

    def _forget_child(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child = None
        self._set(pid=None, adopted=False, uptime=None)

    # --- While it lives --------------------------------------------------------------------------

    def _fulfil(self) -> None:
        """What was asked for, and what changed rule files ask for."""
        with self._shared:
            reload, self._reload = self._reload, None
            reopen, self._reopen = self._reopen, False
        if reload is None and self._rules.changed(time.monotonic()):
            reload = "the rule files changed"
        if self._state is State.READY:
            if reload is not None:
                self._rules.reload(reload)
            if reopen:
                self._open_files_anew()
        elif self._state is State.STARTING:
            # It opens its files anyway, but may have read the rules already.
            with self._shared:
                self._reload = self._reload or reload
        elif reload is not None:
            self._backoff.forget()
            self._happen(Happening.NUDGED)

    def _tend(self) -> None:
        try:
            self._see_disk(self._place.is_full())
            renamed = self._place.tend()
        except OSError as error:
            self._trouble(f"{self.eve} could not be turned over: {error}")
            return
        for path in renamed:
            self._tell("turned_over", "info", f"{path} was turned over (suricata: eve_max_mb:)")
        if renamed:
            self._open_files_anew()

    def _see_disk(self, full: bool) -> None:
        if full == self._status["disk_full"]:
            return
        self._set(disk_full=full)
        where = self._place.directory
        if full:
            text = f"the disk of {where} is full: events that Suricata writes now are lost; free it"
            self._tell("disk_full", "error", text)
        else:
            self._tell("disk_full", "info", f"the disk of {where} has room again")

    def _open_files_anew(self) -> None:
        try:
            self._ask("reopen-log-files")
        except command.CommandError as error:
            # Until it does, it writes into the renamed file, which nobody would turn over.
            self._trouble(f"Suricata did not open its files anew: {error}")
            with self._shared:
                self._reopen = True

    def _read_log(self) -> None:
        said = engine_log.sort(self._log.read())
        self._engine_started = self._engine_started or said.started
        self._rules.note_bad(said.bad)
        with self._shared:
            self._status["errors"] += len(said.errors)
            if said.errors:
                # The first is the cause; the others are threads that could not start for it.
                self._status["last_error"] = said.errors[0]
        lines: list[tuple[Level, str]] = [("error", text) for text in said.errors]
        lines += [("warning", text) for text in said.warnings]
        for level, text in lines[:_PASSED_ON]:
            self._tell("trouble", level, f"Suricata says: {text}")
        if len(lines) > _PASSED_ON:
            more = len(lines) - _PASSED_ON
            where = self._place.engine_log
            self._tell("trouble", "warning", f"Suricata says {more} other things: see {where}")

    def _ask(
        self, name: str, arguments: dict[str, Any] | None = None, *, timeout: float = 5.0
    ) -> Any:
        return command.ask(
            self.command_socket, name, arguments, timeout=timeout, wanted=self._wanted
        )

    def _wanted(self) -> bool:
        return not self._stopping.is_set()

    # --- What others are told --------------------------------------------------------------------

    def _nudge(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _set(self, **values: Any) -> None:
        with self._shared:
            self._status.update(values)

    def _tell(self, kind: Kind, level: Level, text: str, /) -> None:
        # What listens must not end what it listens to.
        with contextlib.suppress(Exception):
            self._on_event(SupervisorEvent(kind, level, text))

    def _trouble(self, text: str) -> None:
        self._set(last_error=text)
        self._tell("trouble", "error", text)
