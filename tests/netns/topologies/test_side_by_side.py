"""Decoys of both kinds look the same from br1, and reach one another; tunnels between hosts."""

from __future__ import annotations

import pytest

from tests.support.plumbing import ROOT, plumbed

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft", "iptables", "ipset")]

EXAMPLE = ROOT / "fixtures/topologies/side-by-side.yaml"

# Each host has a network behind it, and the other's through the tunnel.
TUNNEL = """
name: {name}
bridges:
  br0: {{addresses: [198.51.100.{here}/24], ports: [eth0]}}
  behind: {{addresses: [10.{here}.0.1/24]}}
tunnels:
  peer0:
    kind: vxlan
    vni: 77
    local: 198.51.100.{here}
    remote: 198.51.100.{there}
    address: 10.99.0.{here}/24
    routes: [{{to: 10.{there}.0.0/24, via: 10.99.0.{there}}}]
"""


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


def test_two_hosts_reach_what_is_behind_the_other_through_a_tunnel() -> None:
    with plumbed() as host:
        files = [
            host.written("one.yaml", TUNNEL.format(name="one", here=1, there=2)),
            host.written("two.yaml", TUNNEL.format(name="two", here=2, there=1)),
        ]
        places = [host.host, host.attacker]
        host.attacker.run(["ip", "address", "flush", "dev", "eth0"])
        for file, place in zip(files, places, strict=True):
            assert host.setup("up", file, place)["state"] == "up"
        host.serve(host.attacker, 80)
        assert host.ask(host.host, "10.2.0.1", 80, "-s", "10.1.0.1") == "10.1.0.1"
        for file, place in zip(files, places, strict=True):
            undone = host.setup("down", file, place)
            assert undone["again"] == undone["trace"] == []
