"""All of it in one file: up, up again, status, down, on both back ends."""

from __future__ import annotations

import pytest

from tests.support.plumbing import ATTACKER, ROOT, plumbed, with_backend

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft", "iptables", "ipset")]

EXAMPLE = ROOT / "fixtures/topologies/whole-host.yaml"


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_a_whole_host(backend: str) -> None:
    with plumbed() as host:
        # As Docker leaves a host: forwarding is forbidden, and given back so.
        host.host.run(["iptables", "-P", "FORWARD", "DROP"])
        topology = host.written("host.yaml", with_backend(EXAMPLE, backend))
        made = host.setup("up", topology)
        assert made["state"] == "up"
        assert ["iptables -P FORWARD ACCEPT"] in made["done"]
        host.serve(host.vms[0], 80)
        assert host.ask(host.attacker, "203.0.113.11", 80) == ATTACKER
        assert host.ask(host.attacker, "203.0.113.30", 80) == ATTACKER
        undone = host.setup("down", topology)
        assert undone["again"] == undone["trace"] == []
        assert undone["state"] == "up"
        assert b"-P FORWARD DROP" in host.host.run(["iptables", "-S", "FORWARD"])
