"""Numbers of the running service put together: added up, made rates, remembered."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

WINDOW_SECONDS: Final = 10.0
"""Rates are means over so long, or over the time since the start where that is shorter."""


def combine(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the numbers of all parts, key by key and level by level.

    What is no number is taken from the first part that has it.
    """
    total: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            known = total.get(key)
            if isinstance(value, Mapping):
                total[key] = combine([known or {}, value])
            elif known is None:
                total[key] = value
            elif _is_number(value) and _is_number(known):
                total[key] = known + value
    return total


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Rates:
    """Counters of the last seconds, and what they grew by a second."""

    def __init__(self, seconds: float = WINDOW_SECONDS) -> None:
        self._seconds = seconds
        self._seen: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=64)

    def add(self, now: float, counters: Mapping[str, int]) -> None:
        """Take the counters as they are at `now`, in monotonic seconds."""
        self._seen.append((now, dict(counters)))
        # The newest of those that are old enough is where the window begins.
        while len(self._seen) > 2 and self._seen[1][0] <= now - self._seconds:
            self._seen.popleft()

    def per_second(self) -> dict[str, float]:
        """What each counter grew by a second; a counter that began anew counts from 0."""
        if len(self._seen) < 2:
            return {}
        (began, before), (ended, after) = self._seen[0], self._seen[-1]
        if ended <= began:
            return {}
        return {
            name: round(_growth(before.get(name, 0), value) / (ended - began), 1)
            for name, value in after.items()
        }


def _growth(before: int, after: int) -> int:
    return after if after < before else after - before


class Remembered:
    """The last answer of something that may take its time: whoever asks never waits for it.

    `ask` is called in a thread of its own when the answer is wanted and older than `seconds`; until
    the first one is there, it is `first`.
    """

    def __init__(
        self, ask: Callable[[], dict[str, Any]], first: dict[str, Any], seconds: float = 5.0
    ) -> None:
        self._ask = ask
        self._answer = first
        self._seconds = seconds
        self._lock = threading.Lock()
        self._asking = False
        self._asked = float("-inf")

    def __call__(self) -> dict[str, Any]:
        """The answer as far as it is known."""
        now = time.monotonic()
        with self._lock:
            if not self._asking and now - self._asked >= self._seconds:
                self._asking, self._asked = True, now
                threading.Thread(target=self._renew, name="remember", daemon=True).start()
            return self._answer

    def _renew(self) -> None:
        try:
            answer = self._ask()
            with self._lock:
                self._answer = answer
        finally:
            with self._lock:
                self._asking = False
