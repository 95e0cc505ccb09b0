"""The states of the supervised Suricata: one table, and when it is tried again.

                   start                answered
      stopped ──────────────> starting ─────────> ready
         ^                    ^   │  died, late     │ died
         │                    │   └──────> backoff <┘
         │ stop (from each)   │ elapsed, nudged │ given up
         │                    └─────────────────┤
         └──────────────────────────────────> failed ── nudged ──> starting

A `nudge` is somebody who asks for it: SIGHUP, a changed rule file. Nothing here runs a process or
reads a clock; what is to be done is the transition's action, and time is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class State(Enum):
    """Where the supervised Suricata stands."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"
    FAILED = "failed"


class Happening(Enum):
    """What moves it."""

    START = "start"
    ANSWERED = "answered"
    DIED = "died"
    LATE = "late"
    ELAPSED = "elapsed"
    NUDGED = "nudged"
    GIVEN_UP = "given up"
    STOP = "stop"


class Action(Enum):
    """What the move asks for."""

    NOTHING = "nothing"
    LAUNCH = "launch"
    WELCOME = "welcome"
    WAIT = "wait"
    KILL_AND_WAIT = "kill and wait"
    REST = "rest"
    HALT = "halt"


TRANSITIONS: Final[Mapping[tuple[State, Happening], tuple[State, Action]]] = {
    (State.STOPPED, Happening.START): (State.STARTING, Action.LAUNCH),
    (State.STARTING, Happening.ANSWERED): (State.READY, Action.WELCOME),
    (State.STARTING, Happening.DIED): (State.BACKOFF, Action.WAIT),
    (State.STARTING, Happening.LATE): (State.BACKOFF, Action.KILL_AND_WAIT),
    (State.READY, Happening.DIED): (State.BACKOFF, Action.WAIT),
    (State.BACKOFF, Happening.ELAPSED): (State.STARTING, Action.LAUNCH),
    (State.BACKOFF, Happening.NUDGED): (State.STARTING, Action.LAUNCH),
    (State.BACKOFF, Happening.GIVEN_UP): (State.FAILED, Action.REST),
    (State.FAILED, Happening.NUDGED): (State.STARTING, Action.LAUNCH),
    **{(state, Happening.STOP): (State.STOPPED, Action.HALT) for state in State},
}
"""A pair that is not here changes nothing: a nudge while it starts, for instance."""


def step(state: State, happening: Happening) -> tuple[State, Action]:
    """The next state, and what is to be done."""
    return TRANSITIONS.get((state, happening), (state, Action.NOTHING))


FIRST_SECONDS: Final = 0.5
"""The wait after the first failure; each further one doubles it."""

STABLE_SECONDS: Final = 60.0
"""Ready for so long, it counts as well: the next failure is a first one."""


class Backoff:
    """How long to wait before the next start: doubled with each failure in a row, bounded.

    `longest` is in seconds; after `limit` failures in a row there is no next start.
    """

    def __init__(self, longest: float, limit: int | None = None) -> None:
        self._longest = longest
        self._limit = limit
        self.failures = 0

    def failed(self, ready_seconds: float | None) -> float | None:
        """Count a failure; seconds until the next start, or None to give up.

        `ready_seconds` says how long it had been ready, None that it never was.
        """
        if ready_seconds is not None and ready_seconds >= STABLE_SECONDS:
            self.failures = 0
        self.failures += 1
        if self._limit is not None and self.failures > self._limit:
            return None
        # 2 ** 1000 is no float.
        doublings = min(self.failures - 1, 32)
        return min(self._longest, FIRST_SECONDS * 2.0**doublings)

    def forget(self) -> None:
        """Begin anew, as after a nudge."""
        self.failures = 0
