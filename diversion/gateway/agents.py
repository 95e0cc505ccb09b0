"""gateway1's side of the conversations with agents: rules go, reports come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diversion.gateway.rules import RuleSet
from diversion.proxy.control import BEAT, Talk
from diversion.proxy.hub import Hub
from diversion.proxy.loop import Deadline
from diversion.proxy.pump import End

MAX_TALKS = 256
"""Conversations at a time; a new one beyond that is refused."""

MAX_OF_ONE = 4
"""Conversations of one agent; a new one ends the oldest, which may be a dead one."""


REPORT_PAUSE = 1.0
"""Seconds between two looks at reports; of an agent that says more, the last one counts."""

TOLD = 20
"""Failed listeners that are named."""


@dataclass(frozen=True)
class Report:
    """What counts of an agent's report: it may say anything, and as much as fits into a message."""

    up: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()
    """What is wrong with the first of those that failed."""
    accepted: int = 0


def read_report(said: dict[str, Any]) -> Report:
    """Read a report; what is odd in it is left out."""
    listeners = said.get("listeners")
    each = listeners if isinstance(listeners, list) else []
    up = sum(isinstance(one, dict) and one.get("up") is True for one in each)
    errors: list[str] = []
    for one in each:
        if len(errors) == TOLD:
            break
        if isinstance(one, dict) and one.get("up") is not True:
            error = one.get("error")
            errors.append(error[:200] if isinstance(error, str) else "")
    counters = said.get("counters")
    accepted = counters.get("accepted") if isinstance(counters, dict) else None
    if not isinstance(accepted, int) or not 0 <= accepted < 1 << 63:
        accepted = 0
    return Report(up, len(each) - up, tuple(errors), accepted)


class Agents:
    """All conversations, and each agent's last report."""

    def __init__(self, hub: Hub, rules: Callable[[], RuleSet]) -> None:
        self._hub = hub
        self._rules = rules
        self._talks: dict[Talk, str] = {}
        self._greeted: set[Talk] = set()
        self._beat = Deadline(self._beats)
        self._said: dict[str, dict[str, Any]] = {}
        self._look = Deadline(self._looks)
        self.reports: dict[str, Report] = {}
        """What each agent said last, by its name; only agents that are known get here."""

    def join(self, name: str, end: End, received: bytes) -> None:
        """Begin a conversation with an agent that has proved its name."""
        if len(self._talks) >= MAX_TALKS:
            end.close(reset=True)
            self._hub.say("warning", "too many conversations with agents", agent=name)
            return

        theirs = [talk for talk, whose in self._talks.items() if whose == name]
        if len(theirs) >= MAX_OF_ONE:
            theirs[0].close("begun anew")

        def message(said: dict[str, Any]) -> None:
            self._heard(name, talk, said)

        def closed(why: str) -> None:
            self._talks.pop(talk, None)
            self._greeted.discard(talk)
            self._hub.say("info", "agent gone", agent=name, why=why)

        talk = Talk(self._hub.loop, end, received=received, message=message, closed=closed)
        self._talks[talk] = name
        self._hub.say("info", "agent here", agent=name)
        self._hub.loop.at(self._hub.loop.now + BEAT, self._beat)

    def push(self) -> None:
        """Send everybody the rules that are now his."""
        for talk, name in list(self._talks.items()):
            talk.say(self._rules().message(name))

    def present(self) -> set[str]:
        """The names of the agents that are there."""
        return set(self._talks.values())

    def stop(self) -> None:
        """End all conversations."""
        self._hub.loop.cancel(self._beat)
        self._hub.loop.cancel(self._look)
        for talk in list(self._talks):
            talk.close("stopping")

    def _heard(self, name: str, talk: Talk, said: dict[str, Any]) -> None:
        if "hello" in said and talk not in self._greeted:
            self._greeted.add(talk)
            talk.say(self._rules().message(name))
        report = said.get("report")
        if isinstance(report, dict):
            self._said[name] = report
            if not self._look.is_set:
                self._hub.loop.at(self._hub.loop.now, self._look)

    def _looks(self, now: float) -> float | None:
        """Read what has been reported since the last look; None if nothing has."""
        said, self._said = self._said, {}
        for name, one in said.items():
            before, report = self.reports.get(name, Report()), read_report(one)
            self.reports[name] = report
            if (report.failed, report.errors) != (before.failed, before.errors):
                self._hub.say(
                    "warning" if report.failed else "info",
                    "agent's listeners",
                    agent=name,
                    up=report.up,
                    failed=report.errors,
                )
        return now + REPORT_PAUSE if said else None

    def _beats(self, now: float) -> float | None:
        for talk in list(self._talks):
            talk.say({"alive": {}})
        return now + BEAT if self._talks else None
