"""IPv6: every style of virtual address, and segments, where the attacker's own address arrives."""

from __future__ import annotations

import pytest

from tests.support.plumbing import ROOT, plumbed, with_backend

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft", "iptables", "ip6tables", "ipset")]

EXAMPLE = ROOT / "fixtures/topologies/ipv6.yaml"
ATTACKER = "2001:db8:113::200"
NEIGHBOUR = "2001:db8:20::9"


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_virtual_addresses_and_segments(backend: str) -> None:
    with plumbed() as host:
        lab, attacker, [vm] = host.lab, host.attacker, host.vms
        lab.address(attacker, "eth0", f"{ATTACKER}/64", "10.20.0.9/16", f"{NEIGHBOUR}/64")
        lab.address(vm, "eth0", "2001:db8:23::2/64")
        lab.route(vm, "::/0", interface="eth0", via="2001:db8:23::1")
        lab.route(attacker, "2001:db8:21::/64", interface="eth0", via="2001:db8:20::2")
        host.serve(vm, 22, 80, 81)
        topology = host.written("ipv6.yaml", with_backend(EXAMPLE, backend))
        made = host.setup("up", topology)
        assert made["done"] == made["planned"]
        assert made["state"] == "up"
        for address, port, answer in (
            ("2001:db8:113::10", 22, ATTACKER),
            ("2001:db8:113::10", 80, ATTACKER),
            ("2001:db8:113::10", 81, ""),
            ("2001:db8:113::20", 80, ATTACKER),
            ("2001:db8:113::21", 80, ATTACKER),
            ("2001:db8:113::21", 22, ""),
            ("2001:db8:113::30", 80, ATTACKER),
        ):
            said = host.ask(attacker, address, port, answers=bool(answer))
            assert said == answer, (address, port)
        host.serve_inside("seg-plant", 7000)
        for address, port in (
            ("2001:db8:20::2", 80),
            ("2001:db8:20::2", 1009),
            ("2001:db8:21::1ff", 1000),
        ):
            asked = f"{NEIGHBOUR} [{address}]:{port}"
            assert host.ask(attacker, address, port, "-s", NEIGHBOUR) == asked
        assert host.ask(attacker, "10.20.0.2", 80) == "10.20.0.9 10.20.0.2:80"
        # What is not advertised refuses; the listener's own address is out of reach.
        lab.route(attacker, "fd70::/16", interface="eth0", via="2001:db8:20::2")
        for address, port in (
            ("2001:db8:20::2", 81),
            ("2001:db8:21::200", 80),
            ("fd70:6565:6c74:6170::1", 7000),
        ):
            assert host.ask(attacker, address, port, answers=False) == "", (address, port)
        undone = host.setup("down", topology)
        assert undone["again"] == undone["trace"] == []
        assert undone["state"] == "up"


SMALL = """
name: small
firewall: iptables
bridges: {br0: {addresses: ["2001:db8:113::1/64"]}}
virtual:
  - {on: br0, style: direct, addresses: ["2001:db8:113::30"], to: "2001:db8:23::2", ports: [80]}
"""


def test_a_failure_at_any_step_leaves_no_trace() -> None:
    with plumbed(vms=0) as host:
        told = host.setup("failures", host.written("small.yaml", SMALL))
        assert told["steps"] > 6
        assert told["trace"] == []
