"""Identical alerts of a window become one: same attacker, same decoy and port, same signature.

The first alert opens the window and is the one that goes out, when the window ends, with
`"peeltap": {..., "count": 412, "first": TIME, "last": TIME}`. One that stayed alone goes out as it
was. Sans-IO: time is an argument.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ..shapes.ends import ends

MAX_WINDOWS: Final = 10_000

T = TypeVar("T")

_Key = tuple[str | None, str | None, int | None, object, object]


@dataclass(slots=True)
class Window(Generic[T]):
    """One window: its first event, and what it was handed with; `last` is the latest timestamp."""

    event: dict[str, Any]
    tag: T
    count: int
    last: object
    ends: float

    def merged(self) -> dict[str, Any]:
        """The event that goes out."""
        if self.count == 1:
            return self.event
        before = self.event.get("peeltap")
        told = {"count": self.count, "first": self.event.get("timestamp"), "last": self.last}
        kept = before if type(before) is dict else {}
        return {**self.event, "peeltap": {**kept, **told}}


class Aggregate(Generic[T]):
    """Gathers alerts for `seconds`; beyond `max_windows` the oldest ends early."""

    def __init__(self, seconds: float, max_windows: int = MAX_WINDOWS) -> None:
        self._seconds = seconds
        self._max = max_windows
        self._windows: dict[_Key, Window[T]] = {}
        # In the order in which they end.
        self._order: deque[_Key] = deque()
        self.merged = 0

    def add(self, event: dict[str, Any], tag: T, now: float) -> bool | None:
        """Whether `event` opened a window (`tag` comes back with it) or went into one; None: no
        alert, it goes out by itself.
        """
        alert = event.get("alert")
        if event.get("event_type") != "alert" or type(alert) is not dict:
            return None
        signature = alert.get("signature_id")
        if type(signature) is not int:
            return None
        generator = alert.get("gid")
        roles = ends(event)
        key: _Key = (
            roles.attacker.ip,
            *roles.decoy,
            generator if type(generator) is int else 1,
            signature,
        )
        window = self._windows.get(key)
        if window is not None:
            window.count += 1
            window.last = event.get("timestamp")
            self.merged += 1
            return False
        self._windows[key] = Window(event, tag, 1, event.get("timestamp"), now + self._seconds)
        self._order.append(key)
        return True

    def ended(self, now: float) -> list[Window[T]]:
        """The windows that are over, or too many."""
        found = []
        while self._order and (
            self._windows[self._order[0]].ends <= now or len(self._order) > self._max
        ):
            found.append(self._windows.pop(self._order.popleft()))
        return found

    @property
    def next_end(self) -> float | None:
        """When the next window ends."""
        return self._windows[self._order[0]].ends if self._order else None

    def flush(self) -> list[Window[T]]:
        """All windows end now."""
        found = [self._windows[key] for key in self._order]
        self._windows.clear()
        self._order.clear()
        return found

    def __len__(self) -> int:
        return len(self._order)
