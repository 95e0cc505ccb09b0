"""A source of nothing: Suricata's events go to Redis, and workers correct them there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from .source import Batch


class Elsewhere:
    """What a sensor's relay reads while its events are others' work; `name` says where they are."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def rereads(self) -> bool:
        """See Source."""
        return True

    def read(self, max_bytes: int, timeout: float) -> Batch | None:
        """See Source: nothing, after `timeout`."""
        time.sleep(timeout)
        return None

    def look(self) -> None:
        """Nothing."""

    def commit(self, tokens: Sequence[object]) -> None:
        """Nothing."""

    def status(self) -> dict[str, Any]:
        """See Source."""
        return {"kind": "elsewhere", "path": self.name, "backlog": 0}

    def close(self) -> None:
        """Nothing."""
