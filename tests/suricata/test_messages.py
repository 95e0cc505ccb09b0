"""What the supervisor tells is a value."""

from __future__ import annotations

import dataclasses

import pytest

from suricata.messages import SupervisorEvent


def test_events_are_values() -> None:
    event = SupervisorEvent("ready", "info", "Suricata is ready on vtap0")
    assert event == SupervisorEvent("ready", "info", "Suricata is ready on vtap0")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.text = "other"  # type: ignore[misc]
