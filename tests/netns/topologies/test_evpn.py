"""Two hosts with FRR: what is behind one VTEP is told to the other, and nothing is flooded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.netns import Namespace, wait_until
from tests.support.plumbing import ROOT, Host, enclosed, plumbed

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft", "iptables", "ipset", "vtysh")]

EXAMPLE = ROOT / "fixtures/topologies/evpn.yaml"
DECOY, CLIENT = "10.7.0.5", "10.7.0.6"
DECOY6, CLIENT6 = "2001:db8:7::5", "2001:db8:7::6"
MAC = "02:50:0a:07:00:05"

SMALL = """
name: small
bridges: {seg7: {addresses: [198.51.100.1/24]}}
vteps: {vx7: {on: seg7, vni: 7, local: 198.51.100.1}}
frr: {as: 65001, router_id: 198.51.100.1, neighbours: [{address: 198.51.100.2, as: 65002}]}
"""


@dataclass
class Two:
    """The hosts, each with its topology file."""

    hosts: Host
    files: list[Path]

    @property
    def places(self) -> list[Namespace]:
        return [self.hosts.host, self.hosts.attacker]

    def setup(self, command: str, at: int) -> dict[str, Any]:
        return self.hosts.setup(command, self.files[at], self.places[at])

    def wait_session(self) -> None:
        """Wait until the session stands, as both hosts see it."""
        argv = ["vtysh", "-N", "peeltap-evpn", "-c", "show bgp l2vpn evpn summary json"]
        for place in self.places:
            wait_until(
                lambda place=place: b'"Established"' in place.run(argv, ok=(0, 1)),  # type: ignore[misc]
                "the session",
                seconds=60,
            )

    def ask(self, decoy: str) -> str:
        """What the decoy behind the first host's VTEP says to a client behind the other's."""
        argv = ["ip", "netns", "exec", "seg-plant", "nc", "-w", "60", decoy, "80"]
        return self.places[1].run(argv, ok=(0, 1)).decode().strip()

    def pid(self) -> str:
        """The id of the first host's bgpd."""
        return self.places[0].run(["cat", "/run/frr/peeltap-evpn/bgpd.pid"]).decode().strip()


def mirrored(text: str) -> str:
    """The other host's file."""
    for one, other in (("198.51.100.1", "198.51.100.X"), ("198.51.100.2", "198.51.100.1")):
        text = text.replace(one, other)
    return (
        text.replace("198.51.100.X", "198.51.100.2").replace(DECOY, CLIENT).replace(DECOY6, CLIENT6)
    )


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    with plumbed(vms=0) as made:
        made.attacker.run(["ip", "address", "flush", "dev", "eth0"])
        hosts = Host(made.lab, enclosed(made.host), enclosed(made.attacker), [])
        other = hosts.written("other.yaml", mirrored(EXAMPLE.read_text()))
        yield Two(hosts, [EXAMPLE, other])


def shown(place: Namespace, *argv: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(place.run(argv))
    return told


def test_a_decoy_behind_one_vtep_is_reached_from_the_other_without_flooding(two: Two) -> None:
    assert two.setup("up", 0)["state"] == "partial"
    two.setup("up", 1)
    two.wait_session()
    [session] = two.setup("status", 0)["sessions"]
    assert (session["neighbour"], session["state"]) == ("198.51.100.2", "Established")
    two.hosts.serve_inside("seg-plant", 7000)
    other = two.places[1]

    def learned() -> bool:
        entries = shown(other, "bridge", "-j", "fdb", "show", "dev", "vx7")
        return any(one["mac"] == MAC and one.get("dst") == "198.51.100.1" for one in entries)

    wait_until(learned, "the decoy's MAC at the other host")
    entries = shown(other, "bridge", "-j", "fdb", "show", "dev", "vx7")
    known = [one["flags"] for one in entries if one["mac"] == MAC]
    assert len(known) == 2
    assert all("extern_learn" in one for one in known)
    assert [one for one in entries if one["mac"] == "00:00:00:00:00:00"] == []
    [neighbour] = shown(other, "ip", "-j", "neigh", "show", DECOY, "dev", "seg7")
    assert (neighbour["lladdr"], neighbour["protocol"]) == (MAC, "zebra")
    assert two.ask(DECOY) == f"{CLIENT} {DECOY}:80"
    assert two.ask(DECOY6) == f"{CLIENT6} [{DECOY6}]:80"

    # A daemon that dies is started again, and the session comes back with it.
    before = two.pid()
    two.places[0].run(["kill", "-KILL", before])
    wait_until(lambda: two.pid() != before, "another bgpd", seconds=60)
    two.wait_session()
    wait_until(learned, "the decoy's MAC again")
    assert two.ask(DECOY) == f"{CLIENT} {DECOY}:80"

    # Without its watcher it does not, and status says what helps.
    watcher = two.places[0].run(["cat", "/run/frr/peeltap-evpn/watchfrr.pid"]).decode().strip()
    two.places[0].run(["kill", "-KILL", watcher, two.pid()])
    drifted = two.setup("status", 0)
    assert drifted["state"] == "drift"
    told = [line for one in drifted["steps"] for line in one["commands"]]
    assert "/usr/lib/frr/watchfrr -d -N peeltap-evpn zebra bgpd" in told

    undone = two.setup("down", 0)
    # It brings what is down up again first.
    assert len(undone["again"]) == 2
    assert (undone["trace"], undone["files"]) == ([], ["lock"])
    undone = two.setup("down", 1)
    assert undone["again"] == undone["trace"] == []
    assert undone["files"] == ["lock"]


def test_a_failure_or_a_kill_at_any_step_leaves_no_trace(two: Two) -> None:
    for way in ("failures", "kills"):
        told = two.hosts.setup(way, two.hosts.written("small.yaml", SMALL))
        assert told["steps"] > 8
        assert told["trace"] == []
