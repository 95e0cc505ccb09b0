"""Flows of which events wait: counted, and the block path knows them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from suricata.blocks import BlockPath
from suricata.held import Held
from suricata.summary import AlertSummary

FAR = 1 << 63


class Told(BlockPath):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(None, seed=0, alerts=AlertSummary(), types={}, outcomes=Counter())
        self.flows: set[int] = set()
        self.hold = self.flows.add
        self.release = self.flows.remove
        self.release_all = self.flows.clear


def event(flow: Any) -> dict[str, Any]:
    return {"flow_id": flow}


def test_a_flow_is_held_as_long_as_any_event_of_it_waits() -> None:
    blocks = Told()
    held = Held(blocks)
    assert not held
    for flow in (1, 2, 1):
        held.add(event(flow))
    assert held
    assert blocks.flows == {1, 2}
    held.remove(event(1))
    assert held.follows(event(1))
    held.remove(event(1))
    assert not held.follows(event(1))
    assert blocks.flows == {2}
    held.remove(event(1))
    held.clear()
    assert not held
    assert blocks.flows == set()


def test_what_is_no_number_holds_nothing() -> None:
    blocks = Told()
    held = Held(blocks)
    for odd in (event(1.0), event("1"), event(None), event(True), {}, [1], "x"):
        held.add(odd)
        held.remove(odd)
        assert not held.follows(odd)
    assert not held


def test_numbers_beyond_the_cores_are_kept_from_it() -> None:
    blocks = Told()
    held = Held(blocks)
    for flow in (FAR - 1, FAR, -FAR, -FAR - 1):
        held.add(event(flow))
        assert held.follows(event(flow))
    assert blocks.flows == {FAR - 1, -FAR}
    for flow in (FAR - 1, FAR, -FAR, -FAR - 1):
        held.remove(event(flow))
    assert not held
    assert blocks.flows == set()
