"""The table of states, whole; and the waits between starts."""

from __future__ import annotations

from collections import deque

import pytest

from suricata.lifecycle import (
    FIRST_SECONDS,
    STABLE_SECONDS,
    TRANSITIONS,
    Action,
    Backoff,
    Happening,
    State,
    step,
)

# what happens | where that leads
STORIES = {
    "a good life": ("start answered stop", "starting ready stopped"),
    "killed once": ("start answered died elapsed", "starting ready backoff starting"),
    "never ready": ("start late elapsed died", "starting backoff starting backoff"),
    "given up": ("start died given_up nudged", "starting backoff failed starting"),
    "asked for while waiting": ("start died nudged", "starting backoff starting"),
    "stopped while it starts": ("start stop", "starting stopped"),
    "stopped while it waits": ("start died stop", "starting backoff stopped"),
    "asked for in vain": ("start nudged answered nudged", "starting starting ready ready"),
    "late news": ("elapsed answered died", "stopped stopped stopped"),
}


@pytest.mark.parametrize(("happenings", "states"), STORIES.values(), ids=STORIES)
def test_stories(happenings: str, states: str) -> None:
    state, seen = State.STOPPED, []
    for word in happenings.split():
        state, _ = step(state, Happening[word.upper()])
        seen.append(state.value)
    assert seen == states.split()


def test_every_state_can_be_reached_and_stopped() -> None:
    reached, waiting = {State.STOPPED}, deque([State.STOPPED])
    while waiting:
        state = waiting.popleft()
        for happening in Happening:
            after, _ = step(state, happening)
            if after not in reached:
                reached.add(after)
                waiting.append(after)
        assert step(state, Happening.STOP) == (State.STOPPED, Action.HALT)
    assert reached == set(State)


def test_what_is_not_in_the_table_changes_nothing() -> None:
    for state in State:
        for happening in Happening:
            if (state, happening) not in TRANSITIONS:
                assert step(state, happening) == (state, Action.NOTHING)


def test_waits_double_and_are_bounded() -> None:
    backoff = Backoff(longest=3.0)
    assert [backoff.failed(None) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    for _ in range(2000):
        assert backoff.failed(None) == 3.0


@pytest.mark.parametrize(
    ("ready_seconds", "wait"),
    [(None, 1.0), (STABLE_SECONDS - 1, 1.0), (STABLE_SECONDS, FIRST_SECONDS)],
)
def test_a_stable_time_makes_the_next_failure_a_first_one(
    ready_seconds: float | None, wait: float
) -> None:
    backoff = Backoff(longest=60.0)
    backoff.failed(None)
    assert backoff.failed(ready_seconds) == wait


def test_the_limit() -> None:
    backoff = Backoff(longest=60.0, limit=2)
    assert [backoff.failed(None) for _ in range(3)] == [0.5, 1.0, None]
    backoff.forget()
    assert backoff.failed(None) == 0.5
    assert Backoff(longest=60.0, limit=0).failed(None) is None
