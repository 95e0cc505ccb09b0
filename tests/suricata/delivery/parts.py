"""Sinks for tests: a client that does as it is told, and everything behind a relay."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from suricata.delivery.delivery import BatchLimits
from suricata.delivery.outbound import Outbound, Way
from suricata.delivery.positions import FILE, DeliveryState
from suricata.delivery.spool import Limit
from suricata.delivery.treatment import Treatment
from suricata.sinks.client import Client, Outgoing, Rejected, Unavailable
from suricata.sinks.file import FileClient


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class Told:
    """A client that keeps what it takes; while `down` is a sentence it takes nothing."""

    kind = "told"

    def __init__(self, *, down: str | None = None) -> None:
        self.down = down
        self.taken: list[Outgoing] = []
        self.batches: list[int] = []
        self.calls = 0
        self.reopened = 0
        self.closed = False
        # What a call does instead, once each, in this order.
        self.script: list[Callable[[Sequence[Outgoing]], list[Rejected]]] = []
        self.aborted = threading.Event()

    def deliver(self, batch: Sequence[Outgoing]) -> list[Rejected]:
        self.calls += 1
        if self.script:
            return self.script.pop(0)(batch)
        if self.down is not None:
            raise Unavailable(self.down)
        self.take(batch)
        return []

    def take(self, batch: Sequence[Outgoing]) -> None:
        self.taken += batch
        self.batches.append(len(batch))

    def check(self) -> str:
        return "well"

    def abort(self) -> None:
        self.aborted.set()

    def reopen(self) -> None:
        self.reopened += 1

    def status(self) -> dict[str, Any]:
        return {"kind": self.kind}

    def close(self) -> None:
        self.closed = True

    def ids(self) -> list[str]:
        return [one.id for one in self.taken]


def way(name: str, client: Client, *, treatment: Treatment | None = None, **more: Any) -> Way:
    """A way with small batches that do not wait long."""
    more.setdefault("batch", BatchLimits(events=50, seconds=0.02))
    if treatment is None and not isinstance(client, FileClient):
        treatment = Treatment()
    return Way(name, client, treatment, **more)


def outbound(place: Path, *ways: Way, **more: Any) -> Outbound:
    """All of `ways`, or a file `out.json`; their state lies in `place`."""
    if not ways:
        ways = (way("out", FileClient(place / "out.json")),)
    return Outbound(ways, place, DeliveryState(place / FILE), **more)


__all__ = ["BatchLimits", "Limit", "Told", "outbound", "until", "way"]
