"""A process with one gateway or both: its files, its signals, its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from diversion.gateway import metrics
from diversion.gateway.agents import Report
from diversion.gateway.gateway1 import Gateway1
from diversion.gateway.gateway2 import Gateway2
from diversion.gateway.rules import Rules, RuleSet, checked
from diversion.gateway.settings import GatewaySettings
from diversion.proxy.hub import Hub, raise_file_limit
from diversion.proxy.loop import Deadline, Loop
from diversion.snat.source import SourceError

WATCH = 1.0
"""Seconds between two looks at the file of the rules."""

LoadRules = Callable[[Path], Rules]
"""Reads and checks a file of rules; any exception's text says what is wrong with it."""


class ServiceError(Exception):
    """The gateway cannot run; one sentence."""


class Gateway:
    """Everything of one process; `start`, then the loop's `run`, then `close`."""

    def __init__(
        self, settings: GatewaySettings, loop: Loop, log_fd: int, load_rules: LoadRules
    ) -> None:
        self.hub = Hub(loop, settings.limits.limits(), log_fd)
        self._settings = settings
        self._loop = loop
        self._load = load_rules
        self._watch = Deadline(self._look)
        self._rules_file = Path("/dev/null")
        self._seen: tuple[int, int, int] | None = None
        self.gateway1: Gateway1 | None = None
        self.gateway2: Gateway2 | None = None
        self._stop_metrics: Callable[[], None] = lambda: None
        if settings.gateway1 is not None:
            self._rules_file = Path(settings.gateway1.rules)
            self._seen = _version(self._rules_file)
            self.gateway1 = Gateway1(settings, self.hub, self._read_rules())
        if settings.gateway2 is not None:
            self.gateway2 = Gateway2(settings, self.hub)

    def start(self) -> None:
        """Open everything; ServiceError if something cannot be."""
        try:
            # The decoys' side first: whoever comes in finds the way onward.
            if self.gateway2 is not None:
                self.gateway2.start()
            if self.gateway1 is not None:
                self.gateway1.start()
                self._loop.at(self._loop.now + WATCH, self._watch)
            if self._settings.metrics is not None:
                self._stop_metrics = metrics.serve(self._settings.metrics.listen, self._proxies())
        except SourceError as error:
            self.close()
            raise ServiceError(str(error)) from None
        except OSError as error:
            self.close()
            raise ServiceError(error.strerror or str(error)) from None
        self.hub.say("info", "started", pid=os.getpid())

    def reload(self) -> None:
        """Read the rules anew; what is wrong as a whole changes nothing."""
        if self.gateway1 is None:
            return
        self._seen = _version(self._rules_file)
        try:
            rules = self._read_rules()
        except Exception as error:
            self.hub.say("error", "rules refused, the old ones stay", why=str(error)[:2000])
            return
        self.gateway1.change(rules)
        self.hub.say("info", "rules read", decoys=len(rules.decoys))

    def stop(self) -> None:
        """Accept nothing more; end when the connections have."""
        self.hub.say("info", "draining", open=self.hub.counters.open)
        self._loop.cancel(self._watch)
        if self.gateway1 is not None:
            self.gateway1.stop()
        self.hub.drain()

    def close(self) -> None:
        """Take down what was set up."""
        self._stop_metrics()
        if self.gateway2 is not None:
            self.gateway2.stop()
        self.hub.lines.flush()

    def _read_rules(self) -> RuleSet:
        rules = self._load(self._rules_file)
        try:
            return checked(self._settings, rules)
        except ValueError as error:
            raise ValueError(f"{self._rules_file}: {error}") from None

    def _look(self, now: float) -> float | None:
        try:
            if _version(self._rules_file) != self._seen:
                self.reload()
        finally:
            # Whatever went wrong with this version of the file, the next one is looked at.
            self._loop.at(now + WATCH, self._watch)
        return None

    def _proxies(self) -> metrics.Proxies:
        one, two = self.gateway1, self.gateway2
        reports: dict[str, Report] = {} if one is None else one.agents.reports
        return metrics.Proxies(
            self.hub.counters,
            port_changed=lambda: 0 if two is None else two.source.port_changed,
            reports=lambda: reports,
            present=lambda: set() if one is None else one.agents.present(),
        )


def _version(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does, also when another takes its name."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def run(settings: GatewaySettings, load_rules: LoadRules) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reads the rules anew. Raises ServiceError."""
    raise_file_limit(settings.limits.connections)
    loop = Loop()
    log_fd = 1
    if settings.log != "-":
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            log_fd = os.open(settings.log, flags, 0o640)
        except OSError as error:
            raise ServiceError(f"log: {settings.log}: {error.strerror}") from None
    try:
        gateway = Gateway(settings, loop, log_fd, load_rules)
    except (OSError, ValueError) as error:
        raise ServiceError(str(error)) from None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.call(gateway.stop))
    signal.signal(signal.SIGHUP, lambda *_: loop.call(gateway.reload))
    gateway.start()
    try:
        loop.run()
    finally:
        gateway.close()
