"""Doubles of what a worker steps and writes to, with the real interfaces: no packets, no root."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from pipeline.datapath import Condition
from pipeline.outlet import Kind


class ScriptedWay:
    """A `peeltap_core.Live` whose interface and output do what the script says.

    `conditions` are the answers of `state`, the last one for ever; `reopens` those of `reopen`.
    """

    def __init__(
        self,
        conditions: list[tuple[Condition, Condition]] | None = None,
        reopens: list[bool] | None = None,
        records: list[bytes] | None = None,
    ) -> None:
        self.conditions = deque(conditions or [("up", "up")])
        self.reopens = deque(reopens or [])
        self.records = deque(records or [])
        self.outputs: list[tuple[int, Kind]] = []
        self.steps = 0
        self.finished = False

    def step(self, timeout_ms: int) -> None:
        self.steps += 1
        time.sleep(0.001)

    def state(self) -> tuple[Condition, Condition]:
        return self.conditions.popleft() if len(self.conditions) > 1 else self.conditions[0]

    def reopen(self) -> bool:
        return self.reopens.popleft() if self.reopens else False

    def set_output(self, output_fd: int, output: Kind) -> None:
        self.outputs.append((output_fd, output))

    def take_records(self) -> bytes:
        return self.records.popleft() if self.records else b""

    def finish(self) -> None:
        self.finished = True
        self.records.append(b"last\n")

    def wake(self) -> None:
        pass

    def stats(self) -> dict[str, Any]:
        return {"packets": {"in": self.steps}}


class ScriptedOutput:
    """A `tap.Output` without a device."""

    kind: Kind = "tap"
    name = "vtap0"

    def __init__(self, fds: list[int], *, adopted: bool = False) -> None:
        self.fds = fds
        self.adopted = adopted
        self.closed = self.removed = False
        self.complaints: list[str] = []

    def check(self) -> list[str]:
        return self.complaints

    def close(self) -> None:
        self.closed = True

    def remove(self) -> None:
        self.removed = True


class NotedTable:
    """A keeper of connection tables that only notes what is asked of it."""

    def __init__(self) -> None:
        self.restored = self.finished = False
        self.turns = 0

    def restore(self, way: Any) -> None:
        self.restored = True

    def turn(self, way: Any, now: float) -> None:
        self.turns += 1

    def finish(self, way: Any, give_up: threading.Event) -> None:
        self.finished = True
