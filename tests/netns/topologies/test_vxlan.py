"""Segments of two hosts are one network: a decoy behind one VTEP is reached from the other."""

from __future__ import annotations

import pytest

from tests.support.plumbing import ROOT, plumbed

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft", "iptables", "ipset")]

EXAMPLE = ROOT / "fixtures/topologies/vxlan.yaml"


def test_a_decoy_behind_one_vtep_is_reached_from_the_other() -> None:
    with plumbed(vms=0) as host:
        other = EXAMPLE.read_text().replace("198.51.100.1", "198.51.100.X")
        other = other.replace("198.51.100.2", "198.51.100.1").replace(
            "198.51.100.X", "198.51.100.2"
        )
        files = [EXAMPLE, host.written("other.yaml", other.replace("10.7.0.5", "10.7.0.6"))]
        places = [host.host, host.attacker]
        host.attacker.run(["ip", "address", "flush", "dev", "eth0"])
        for file, place in zip(files, places, strict=True):
            assert host.setup("up", file, place)["state"] == "up"
        host.serve_inside("seg-plant", 7000)
        inside = ["ip", "netns", "exec", "seg-plant", "nc", "-w", "60", "10.7.0.5", "80"]
        assert host.attacker.run(inside).decode() == "10.7.0.6 10.7.0.5:80\n"
        for file, place in zip(files, places, strict=True):
            undone = host.setup("down", file, place)
            assert undone["again"] == undone["trace"] == []
            assert undone["state"] == "up"
