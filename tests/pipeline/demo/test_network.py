"""The demo's machines: their addresses fit together, and every attacker reaches every decoy."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from diversion.namespaces import World
from pipeline.demo.network import DECOYS, OUTSIDE, SERVICES, VMS, build
from tests.support import ordinary


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
