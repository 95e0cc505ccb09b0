"""One answer of the doctor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "warn", "fail"]

_GRAVITY: dict[State, int] = {"ok": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, in a sentence, and what to do unless it is well."""

    topic: str
    state: State
    text: str
    remedy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The finding for `--json`."""
        return {
            "topic": self.topic,
            "state": self.state,
            "text": self.text,
            "remedy": self.remedy,
        }


def ok(topic: str, text: str) -> Finding:
    """It is well."""
    return Finding(topic, "ok", text)


def warn(topic: str, text: str, remedy: str) -> Finding:
    """The service runs with it, but not as well as it could, or not for long."""
    return Finding(topic, "warn", text, remedy)


def fail(topic: str, text: str, remedy: str) -> Finding:
    """The service cannot run, or does not do its work."""
    return Finding(topic, "fail", text, remedy)


def worst(findings: Iterable[Finding]) -> State:
    """The gravest state among them."""
    return max((one.state for one in findings), key=_GRAVITY.__getitem__, default="ok")
