"""Segments: tens of thousands of addresses and ports, one listening socket of the agent in each."""

from __future__ import annotations

import pytest

from tests.support.plumbing import ATTACKER, ROOT, plumbed, with_backend

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft", "iptables", "ipset")]

EXAMPLE = ROOT / "fixtures/topologies/segments.yaml"


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_what_is_advertised_leads_to_the_agents_one_socket(backend: str) -> None:
    with plumbed() as host:
        topology = host.written("segments.yaml", with_backend(EXAMPLE, backend))
        assert host.setup("up", topology)["state"] == "up"
        host.serve_inside("seg-office", 7000)
        host.serve_inside("seg-plant", 7000)
        host.lab.address(host.attacker, "eth0", "10.20.0.9/16")
        for address, port in (
            ("203.0.113.50", 22),
            ("203.0.113.53", 8010),
            ("10.20.128.0", 1000),
            ("10.20.129.243", 1099),
        ):
            peer = ATTACKER if address.startswith("203") else "10.20.0.9"
            assert host.ask(host.attacker, address, port) == f"{peer} {address}:{port}"
        # What is held and not advertised refuses; the listener itself is out of reach.
        for address, port in (
            ("203.0.113.50", 23),
            ("10.20.129.244", 1000),
            ("10.20.128.0", 7000),
            ("10.20.0.2", 7000),
        ):
            assert host.ask(host.attacker, address, port, answers=False) == ""
        undone = host.setup("down", topology)
        assert undone["again"] == undone["trace"] == []
        assert undone["state"] == "up"
