"""gateway1's side of the conversations with agents: rules go, reports come."""

from __future__ import annotations

from collections.abc import Callable
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


class Agents:
    """All conversations, and each agent's last report."""

    def __init__(self, hub: Hub, rules: Callable[[], RuleSet]) -> None:
        self._hub = hub
        self._rules = rules
        self._talks: dict[Talk, str] = {}
        self._beat = Deadline(self._beats)
        self.reports: dict[str, dict[str, Any]] = {}
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
        for talk in list(self._talks):
            talk.close("stopping")

    def _heard(self, name: str, talk: Talk, said: dict[str, Any]) -> None:
        if "hello" in said:
            talk.say(self._rules().message(name))
        report = said.get("report")
        if isinstance(report, dict):
            before = self.reports.get(name, {})
            self.reports[name] = report
            failed = _failed(report)
            if failed != _failed(before):
                self._hub.say(
                    "warning" if failed else "info",
                    "agent's listeners",
                    agent=name,
                    up=_up(report),
                    failed=failed[:20],
                )

    def _beats(self, now: float) -> float | None:
        for talk in list(self._talks):
            talk.say({"alive": {}})
        return now + BEAT if self._talks else None


def _listeners(report: dict[str, Any]) -> list[dict[str, Any]]:
    listeners = report.get("listeners")
    if not isinstance(listeners, list):
        return []
    return [one for one in listeners if isinstance(one, dict)]


def _up(report: dict[str, Any]) -> int:
    return sum(one.get("up") is True for one in _listeners(report))


def _failed(report: dict[str, Any]) -> list[str]:
    return [str(one.get("error"))[:200] for one in _listeners(report) if one.get("up") is not True]
