from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from suricata.shapes.ends import NOBODY, End, ends

from .material import broken, corrected, some

PEER, DECOY = End("203.0.113.7", 46421), End("192.168.110.2", 80)
LEG = End("172.16.23.1", 40001), End("172.16.23.2", 9000)


def pair(source: End, target: End) -> dict[str, Any]:
    return {
        "src_ip": source.ip,
        "src_port": source.port,
        "dest_ip": target.ip,
        "dest_port": target.port,
    }


def matched(direction: str) -> dict[str, Any]:
    leg = LEG if direction == "to_server" else LEG[::-1]
    return {"peeltap": {"observed": pair(*leg), "direction": direction, "verdict": "stripped"}}


THERE, BACK = pair(PEER, DECOY), pair(DECOY, PEER)
FRAGMENT = pair(End(DECOY.ip, None), End(PEER.ip, None))
TARGET = {
    "source": {"ip": PEER.ip, "port": PEER.port},
    "target": {"ip": DECOY.ip, "port": DECOY.port},
}

# What the event has | are its ends known | is it told that it runs to the server?
TOLD = [
    ("a record, there", {**THERE, **matched("to_server")}, True, True),
    ("a record, back", {**BACK, **matched("to_client")}, True, False),
    ("a record, against the flow", {**BACK, **matched("to_client"), "flow": BACK}, True, False),
    ("the flow, there", {**THERE, "flow": THERE}, False, True),
    ("the flow, back", {**BACK, "flow": THERE}, False, False),
    ("the flow, a fragment", {**FRAGMENT, "flow": THERE}, False, False),
    ("a frame, back", {**BACK, "frame": {"direction": "toclient"}}, False, False),
    ("its own direction", {**BACK, "direction": "to_client"}, False, False),
    ("a rule's target", {**THERE, "alert": TARGET, "flow": BACK}, False, True),
    ("a rule's target, back", {**BACK, "alert": TARGET}, False, False),
    ("nothing", THERE, False, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("event", "known", "to_server"), [c[1:] for c in TOLD], ids=[c[0] for c in TOLD]
)
def test_the_attacker_is_told_by_role(event: dict[str, Any], known: bool, to_server: bool) -> None:
    found = ends(event)
    assert (found.attacker.ip, found.decoy.ip) == (PEER.ip, DECOY.ip)
    assert (found.known, found.to_server) == (known, to_server)
    if known:
        assert (found.leg_attacker, found.leg_decoy) == LEG
        assert found.proxied


def test_an_internal_connection_has_no_leg_of_its_own() -> None:
    event = {**THERE, "peeltap": {"observed": THERE, "direction": "to_server", "verdict": "plain"}}
    assert not ends(event).proxied


def test_an_event_without_addresses_has_nobody() -> None:
    found = ends({"event_type": "stats"})
    assert found.attacker == found.decoy == NOBODY
    assert not found.known
    assert not found.proxied


def test_every_sample_of_a_proxied_connection_names_its_attacker() -> None:
    seen = 0
    for event in corrected():
        if "direction" in event.get("peeltap", {}):
            found = ends(event)
            seen += not found.to_server
            assert found.attacker.ip is not None
            assert found.attacker.ip.startswith(("203.0.113.", "2001:0db8:0203:")), event
            assert found.proxied
    assert seen > 10


@some
@given(broken())
def test_it_takes_any_event(event: dict[str, Any]) -> None:
    ends(event)
