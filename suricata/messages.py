"""What the supervised Suricata's part of the service tells the rest of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Level = Literal["info", "warning", "error"]

Kind = Literal[
    "started",
    "adopted",
    "ready",
    "died",
    "waiting",
    "failed",
    "stopped",
    "left",
    "rules_loaded",
    "rules_refused",
    "turned_over",
    "disk_full",
    "trouble",
]


@dataclass(frozen=True, slots=True)
class SupervisorEvent:
    """Something that happened to Suricata: `kind` for programs, `text` for people."""

    kind: Kind
    level: Level
    text: str


class Tell(Protocol):
    """Takes what an event is made of."""

    def __call__(self, kind: Kind, level: Level, text: str, /) -> None:
        """Must neither block nor raise."""
