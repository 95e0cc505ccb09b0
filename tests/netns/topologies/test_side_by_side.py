"""Decoys of both kinds look the same from br1, and reach one another; tunnels between hosts."""

from __future__ import annotations

import pytest

from tests.support import between_hosts
from tests.support.plumbing import ROOT, plumbed

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft", "iptables", "ipset")]

EXAMPLE = ROOT / "fixtures/topologies/side-by-side.yaml"


def test_containers_and_vms_are_reached_alike_and_reach_one_another() -> None:
    with plumbed() as host:
        lab, vm = host.lab, host.vms[0]
        container, window = lab.namespace("container"), lab.namespace("window")
        lab.connect((vm, "docker0", ["10.1.0.1/24"]), (container, "eth0", ["10.1.0.5/24"]))
        lab.connect((host.host, "win0", ()), (window, "eth0", ["10.2.0.10/24"]))
        vm.sysctl("ipv4.ip_forward", 1)
        lab.route(container, "0.0.0.0/0", interface="eth0", via="10.1.0.1")
        lab.route(window, "0.0.0.0/0", interface="eth0", via="10.2.0.1")
        lab.route(vm, "10.2.0.0/24", interface="eth0", via="172.16.23.3")
        assert host.setup("up", EXAMPLE)["state"] == "up"
        host.serve(container, 80)
        host.serve(window, 80)
        # From the host, as gateway1 sees them.
        assert host.ask(host.host, "10.1.0.5", 80) == "172.16.23.1"
        assert host.ask(host.host, "10.2.0.10", 80) == "172.16.23.1"
        # And from one another, with their own addresses.
        assert host.ask(container, "10.2.0.10", 80) == "10.1.0.5"
        assert host.ask(window, "10.1.0.5", 80) == "10.2.0.10"
        undone = host.setup("down", EXAMPLE)
        assert undone["again"] == undone["trace"] == []
        assert undone["state"] == "up"


@pytest.mark.parametrize("kind", ["routes", "vxlan"])
def test_two_hosts_reach_what_is_behind_the_other(kind: str) -> None:
    # IPIP and GRE want another kernel: those are tried in a machine that boots one.
    assert between_hosts.crossing(kind) == between_hosts.RIGHT
