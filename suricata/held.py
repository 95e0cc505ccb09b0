"""Flows of which events wait: what comes later of them must not overtake."""

from __future__ import annotations

from collections import Counter
from typing import Final

from .blocks import BlockPath

# The core's integers; a greater number is left to the other paths by itself.
_CORE: Final = 1 << 63


class Held:
    """By a flow's number, how many of its events wait; the block path is told which."""

    def __init__(self, blocks: BlockPath) -> None:
        self._events: Counter[int] = Counter()
        self._blocks = blocks

    def __bool__(self) -> bool:
        return bool(self._events)

    def follows(self, event: object) -> bool:
        """Whether an earlier event of its flow waits."""
        flow = _flow(event)
        return flow is not None and flow in self._events

    def add(self, event: object) -> None:
        """It waits."""
        flow = _flow(event)
        if flow is None:
            return
        self._events[flow] += 1
        if self._events[flow] == 1 and -_CORE <= flow < _CORE:
            self._blocks.hold(flow)

    def remove(self, event: object) -> None:
        """It waits no longer."""
        flow = _flow(event)
        if flow is None or flow not in self._events:
            return
        self._events[flow] -= 1
        if not self._events[flow]:
            del self._events[flow]
            if -_CORE <= flow < _CORE:
                self._blocks.release(flow)

    def clear(self) -> None:
        """Nothing waits."""
        self._events.clear()
        self._blocks.release_all()


def _flow(event: object) -> int | None:
    flow = event.get("flow_id") if type(event) is dict else None
    return flow if type(flow) is int else None
