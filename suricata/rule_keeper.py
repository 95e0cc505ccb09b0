"""Loads rules into the living Suricata, and keeps out those that it would refuse.

    changed or asked for ──> readable? ──> suricata -T ──> reload-rules ──> copied as the last good
                                │ no           │ no
                                └──────────────┴──> said: file, line, reason; the old ones stay

Before a start nothing is tried, which would double it. Files that were accepted before are given to
Suricata as they are, and in the place of others their last good copies; without any, it begins with
what it can load, and what it refused is said.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from . import command, process, rules
from .engine_log import BadRule
from .messages import Tell
from .settings import SuricataSettings

# Rule files may be many; a look at them costs a stat each.
_LOOK_SECONDS: Final = 2.0
# Large sets take long to load, and all that time Suricata answers nobody else.
_RELOAD_SECONDS: Final = 600.0
_SHOWN: Final = 10
_MAX_BAD: Final = 1000


class Ask(Protocol):
    """Asks Suricata's command socket; raises CommandError."""

    def __call__(self, name: str, *, timeout: float = 5.0) -> Any:
        """The answer's message; `timeout` is in seconds."""


class RuleKeeper:
    """The rule files of one supervised Suricata.

    `write_config` writes the suricata.yaml with other rule files in the place of the operator's
    (None: with the operator's own); `tell` takes kind, level and text of what is to be said;
    `wanted` says no once the service stops.
    """

    def __init__(
        self,
        settings: SuricataSettings,
        directory: Path,
        *,
        ask: Ask,
        write_config: Callable[[list[Path] | None], None],
        tell: Tell,
        wanted: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._paths = settings.rules
        self._directory = directory
        self._ask = ask
        self._write_config = write_config
        self._tell = tell
        self._wanted = wanted
        self._accepted = rules.Accepted(directory, settings.rules)
        self._tried = self._last = rules.fingerprint(self._paths)
        self._next_look = 0.0
        self._begun_with: list[Path] | None = None
        self._bad: list[BadRule] = []
        self.status: dict[str, Any] = {"loaded": None, "failed": None, "from": None, "refused": []}

    def note_bad(self, bad: list[BadRule]) -> None:
        """Take the refused rules that Suricata's log tells of."""
        self._bad = (self._bad + bad)[-_MAX_BAD:]

    def changed(self, now: float) -> bool:
        """Whether the files differ from those last tried, and whoever writes them has finished.

        `now` is in seconds, of a clock that only goes forward.
        """
        if not self._settings.watch_rules or not self._paths or now < self._next_look:
            return False
        self._next_look = now + _LOOK_SECONDS
        seen = rules.fingerprint(self._paths)
        settled = seen == self._last
        self._last = seen
        return settled and seen != self._tried

    def begin(self) -> list[Path] | None:
        """A Suricata is about to be started: the files that it gets, None for the operator's own.

        Where those are not the last accepted ones it begins with the copies, and they are tried
        once it is there.
        """
        self._bad = []
        self._tried = self._last = rules.fingerprint(self._paths)
        self._begun_with = (
            None if self._accepted.is_loaded(self._tried) else self._accepted.copies()
        )
        return self._begun_with

    def started(self) -> None:
        """Look at what a Suricata that has just started made of its files."""
        if self._begun_with is not None:
            self._read("copies")
            self.reload("the rule files changed while Suricata did not run")
            return
        failed = self._read("files" if self._paths else "none")
        problems = rules.unreadable(self._paths) + [str(bad) for bad in self._bad]
        if failed and not self._bad:
            problems.append(f"Suricata refused {failed} rules")
        if problems:
            self._refuse(problems, "the other rules are loaded")
        elif self._paths:
            self._keep()
            self._tell("rules_loaded", "info", f"{self.status['loaded']} rules are loaded")

    def adopted(self) -> None:
        """Look at what a Suricata that was taken over has loaded."""
        self._read("files" if self._paths else "none")
        if self._paths and not self._accepted.is_loaded(self._tried):
            self.reload("the rule files changed while peeltap did not run")

    def reload(self, why: str) -> None:
        """Try the files, and load them if Suricata takes every rule."""
        if not self._paths:
            return
        self._tried = self._last = rules.fingerprint(self._paths)
        problems = rules.unreadable(self._paths)
        if not problems:
            try:
                process.check(self._settings, self._directory / "check", wanted=self._wanted)
            except process.SuricataError as error:
                problems = [str(error)]
        if not self._wanted():
            return
        if problems:
            self._refuse(problems, "the rules that were loaded stay")
            return
        try:
            self._write_config(None)
            self._ask("reload-rules", timeout=_RELOAD_SECONDS)
        except (command.CommandError, OSError) as error:
            self._refuse([f"the rules could not be loaded: {error}"], "those that were loaded stay")
            return
        self._read("files")
        self._keep()
        self._tell("rules_loaded", "info", f"{self.status['loaded']} rules are loaded: {why}")

    def _read(self, source: str) -> int:
        """Ask how many rules are loaded and how many were refused; the latter."""
        loaded = failed = None
        try:
            [told] = self._ask("ruleset-stats")
            loaded, failed = int(told["rules_loaded"]), int(told["rules_failed"])
        except (command.CommandError, ValueError, TypeError, KeyError):
            # It has just ended, or is of another version: nothing is known, and nothing is made up.
            pass
        self.status = {"loaded": loaded, "failed": failed, "from": source, "refused": []}
        return failed or 0

    def _keep(self) -> None:
        try:
            self._accepted.keep(self._tried)
        except OSError as error:
            self._tell("rules_refused", "warning", f"no copy of the rules could be kept: {error}")

    def _refuse(self, problems: list[str], consequence: str) -> None:
        shown = problems[:_SHOWN]
        self.status = {**self.status, "refused": shown}
        for problem in shown:
            self._tell("rules_refused", "error", f"{problem}; {consequence}")
        if len(problems) > _SHOWN:
            self._tell("rules_refused", "error", f"and {len(problems) - _SHOWN} more like these")
