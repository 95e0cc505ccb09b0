"""The demo's machines: their addresses fit together, and every attacker reaches every decoy."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from diversion.namespaces import World
from pipeline import topology_file
from pipeline.demo.network import (
    AGENT,
    BRIDGE,
    DECOYS,
    GATEWAY1,
    GATEWAY1_FOR_AGENT,
    OUTSIDE,
    SERVICES,
    TAP,
    TOPOLOGY,
    VMS,
    build,
    take_back,
)
from tests.support import network_state, ordinary


def test_who_comes_from_outside_has_an_address_for_documentation() -> None:
    documentation = [
        ipaddress.ip_network(text)
        for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    ]
    for text in OUTSIDE.values():
        address = ipaddress.ip_address(text)
        assert any(address in one for one in documentation if one.version == address.version)
    assert len({ipaddress.ip_address(text).version for text in OUTSIDE.values()}) == 2


def test_every_service_has_a_way_of_its_own() -> None:
    assert len({service.leg for service in SERVICES}) == len(SERVICES)
    assert len({service.decoy for service in SERVICES}) == len(SERVICES)
    for service in SERVICES:
        assert service.decoy[0] in DECOYS[service.vm]
        assert service.leg[0] == VMS[service.vm]


def test_the_topology_has_what_the_play_knows() -> None:
    told = topology_file.load(TOPOLOGY).settings

    def addresses(machine: str) -> set[str]:
        there = told.machines[machine]
        every = [text for one in there.interfaces.values() for text in one.addresses]
        return {text.split("/")[0] for text in (*every, *there.loopback)}

    for who, address in {**OUTSIDE, **VMS, "agent": AGENT}.items():
        assert address in addresses(who)
    for vm, decoys in DECOYS.items():
        assert set(decoys) <= addresses(vm)
        # The same addresses are those of whoever accepts attackers.
        outside = (
            addresses("agent")
            if vm == "vm2"
            else {text.split("/")[0] for text in told.bridges["br0"].addresses}
        )
        assert set(decoys) <= outside
    assert told.bridges[BRIDGE].addresses == [f"{GATEWAY1}/24"]
    assert told.bridges["agents"].addresses == [f"{GATEWAY1_FOR_AGENT}/24"]
    assert told.tap is not None
    assert told.suricata is not None
    assert (told.tap.name, told.suricata.on) == (TAP, TAP)
    # Whoever peels headers lets only gateway1 connect.
    legs = {(one.namespace, one.listen) for one in told.gateway2}
    assert legs == {(one.vm, f"{one.leg[0]}:{one.leg[1]}") for one in SERVICES}
    assert {tuple(one.gateway1) for one in told.gateway2} == {(f"{GATEWAY1}/32",)}


def reach(world: World) -> int:
    """Every attacker reaches the virtual addresses of his family,."""
    network = build(world)
    for decoys, keeper in ((DECOYS["vm1"], network.host), (DECOYS["vm2"], network.spaces["agent"])):
        for decoy in decoys:
            with keeper.entered(), socket.create_server((decoy, 80), family=_family(decoy)) as door:
                for who, address in OUTSIDE.items():
                    if _family(address) == _family(decoy):
                        with network.spaces[who].entered():
                            caller = socket.create_connection((decoy, 80), 5)
                        met, peer = door.accept()
                        print(who, decoy, peer[0] == address)
                        caller.close()
                        met.close()
    return 0


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@pytest.mark.netns
def test_attackers_reach_the_virtual_addresses() -> None:
    assert ordinary.in_world(__name__, "reach").splitlines() == [
        "scanner 192.168.110.2 True",
        "guesser 192.168.110.2 True",
        "visitor 192.168.110.2 True",
        "robot 2001:db8:110::2 True",
        "scanner 192.168.120.2 True",
        "guesser 192.168.120.2 True",
        "visitor 192.168.120.2 True",
    ]


def unmake(world: World) -> int:
    """What the setup stage made goes, and all that was before is there."""
    before = network_state.state()
    network = build(world)
    print(network.real_tap, sorted(network.spaces))
    take_back(network)
    print(network_state.differences(before, network_state.state()))
    print(sorted(path.name for path in world.directory.iterdir()))
    return 0


@pytest.mark.netns
@pytest.mark.parametrize("makes_taps", [True, False])
def test_everything_is_taken_back(makes_taps: bool) -> None:
    said = ordinary.in_world(__name__, "unmake", makes_taps=makes_taps).splitlines()
    spaces = sorted([*OUTSIDE, "host", "internet", "agent", *VMS])
    assert said == [f"{makes_taps} {spaces}", "[]", "['topology.yaml']"]
