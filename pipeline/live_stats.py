"""Numbers of the running service put together: workers' counters added up, counters made rates."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
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
