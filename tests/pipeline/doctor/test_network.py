"""The captured interface, its ports and the tap: one fact off at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.doctor.finding import Finding
from pipeline.doctor.network import Network, findings
from tap.device import MARK
from tap.links import Link, Tun

BRIDGE = Link(2, "br1", "bridge")
PORT = Link(3, "port0", "veth", master=2)
TUN = Tun(True, False, True, True, False)
TAP = Link(4, "vtap0", "tun", arp=False, makes_addresses=False, ipv6=False, alias=MARK, tun=TUN)
OTHER = Link(5, "out0", "veth")


def _network(*links: Link, **change: Any) -> Network:
    base = Network(
        links={link.index: link for link in links},
        capture="br1",
        promiscuous=True,
        superframes="keep",
        device="vtap0",
        makes_tap=True,
        dropped=True,
    )
    return replace(base, **change)


def _bad(network: Network, *, service_runs: bool) -> list[Finding]:
    return [one for one in findings(network, service_runs=service_runs) if one.state != "ok"]


IDLE = replace(TAP, carrier=False)

WELL = [
    (_network(BRIDGE, PORT), False, "vtap0 will be made"),
    (_network(BRIDGE, PORT, IDLE), False, "left by an earlier run"),
    (_network(BRIDGE, PORT, IDLE, dropped=False), False, "left by an earlier run"),
    (_network(BRIDGE, PORT, TAP), True, "vtap0 is in quarantine"),
    (_network(BRIDGE, PORT, OTHER, device="out0", makes_tap=False), True, "leads away from br1"),
    (_network(replace(BRIDGE, kind=None)), False, "br1 is up: interface, MTU 1500"),
    (_network(BRIDGE, PORT, offloads={"port0": frozenset({"gro"})}), False, "they stay whole"),
    (
        _network(BRIDGE, PORT, offloads={"port0": frozenset({"tso"})}, superframes="segment"),
        False,
        "cut to the MSS again",
    ),
]


@pytest.mark.parametrize(("network", "runs", "words"), WELL, ids=[row[2] for row in WELL])
def test_well(network: Network, runs: bool, words: str) -> None:
    found = list(findings(network, service_runs=runs))
    assert [one for one in found if one.state != "ok"] == []
    assert any(words in one.text for one in found)


OFF = [
    (_network(PORT), False, "fail", "there is no br1"),
    (_network(replace(BRIDGE, hardware=772), PORT), False, "fail", "no Ethernet (link type 772)"),
    (_network(replace(BRIDGE, up=False), PORT), False, "warn", "br1 is down"),
    (_network(BRIDGE), False, "warn", "has no ports"),
    (_network(BRIDGE, PORT, promiscuous=False), False, "warn", "capture.promiscuous is off"),
    (_network(BRIDGE, replace(PORT, mtu=1400)), False, "warn", "port0: a smaller MTU"),
    (
        _network(BRIDGE, PORT, offloads={"port0": frozenset({"lro", "gro"})}),
        False,
        "warn",
        "port0: LRO",
    ),
    (_network(BRIDGE, PORT), True, "fail", "not there, though the service runs"),
    (_network(BRIDGE, PORT, replace(IDLE, alias=None)), False, "fail", "not of our making"),
    (_network(BRIDGE, PORT, TAP), False, "fail", "in use by another process"),
    (_network(BRIDGE, PORT, IDLE, workers=2), False, "warn", "another number of workers"),
    (_network(BRIDGE, PORT, TAP, dropped=False), True, "fail", "is not dropped"),
    (_network(BRIDGE, PORT, TAP, dropped=None), True, "warn", "cannot be told"),
    (_network(BRIDGE, PORT, replace(TAP, arp=True)), True, "fail", "ARP is on"),
    (_network(BRIDGE, PORT, device="out0", makes_tap=False), False, "fail", "no interface out0"),
    (
        _network(BRIDGE, PORT, device="port0", makes_tap=False),
        False,
        "fail",
        "port0: it is a port of br1",
    ),
    (
        _network(BRIDGE, PORT, replace(OTHER, up=False), device="out0", makes_tap=False),
        False,
        "fail",
        "out0 is down",
    ),
    (
        _network(BRIDGE, PORT, replace(OTHER, mtu=1400), device="out0", makes_tap=False),
        False,
        "warn",
        "out0 has an MTU of 1400",
    ),
]


@pytest.mark.parametrize(("network", "runs", "state", "words"), OFF, ids=[row[3] for row in OFF])
def test_off(network: Network, runs: bool, state: str, words: str) -> None:
    [found] = _bad(network, service_runs=runs)
    assert (found.state, words in found.text) == (state, True)
    assert found.remedy


def test_a_breach_s_remedy_stands_apart() -> None:
    [found] = _bad(_network(BRIDGE, PORT, replace(TAP, master=2)), service_runs=True)
    assert (found.text, found.remedy) == ("vtap0 belongs to br1", "ip link set vtap0 nomaster")
