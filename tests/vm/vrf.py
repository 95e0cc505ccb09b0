"""Two networks with the same addresses: `overlapping.yaml`, with both back ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diversion.setup.steps import Make, Set, Step
from diversion.setup.things import (
    Address,
    Link,
    LinkSetting,
    PolicyRule,
    Route,
    Ruleset,
    Thing,
    VrfRule,
)
from fixtures.netns import Namespace
from pipeline import topology_file
from tests.vm import stage, talk

MINE, OTHER = "10.0.0.2", "10.9.0.2"
PORT, SERVICE = 5000, 80

THREE = """
name: three
firewall: nftables
vrfs:
  red: {on: eth0, addresses: [10.0.0.1/24], network: 10.0.0.0/24, mapped: 10.9.0.0/24}
  blue: {on: eth1, addresses: [10.0.0.1/24], network: 10.0.0.0/24, mapped: 10.9.1.0/24}
  green: {on: eth2, addresses: [10.0.0.1/24], network: 10.0.0.0/24, mapped: 10.9.2.0/24}
"""


def overlapping_nftables() -> dict[str, Any]:
    """Up, what answers, down; and failures at every kind of step that VRFs brought."""
    return _overlapping("nftables", disturbed=True)


def overlapping_iptables() -> dict[str, Any]:
    """Up, what answers, down."""
    return _overlapping("iptables")


def _overlapping(backend: str, *, disturbed: bool = False) -> dict[str, Any]:
    with stage.host([f"{MINE}/24"], [f"{MINE}/24"]) as host:
        red, blue = host.behind
        for one in (red, blue):
            host.lab.route(one, "10.9.0.0/24", interface="eth0", via="10.0.0.1")
        file = stage.example("overlapping", backend)
        told: dict[str, Any] = {"up": host.up(file)}
        told["pings"] = [_pings(one) for one in (red, blue)]
        told |= _both_ways(host, red, blue)
        told["down"] = host.down(file)
        if disturbed:
            told["disturbed"] = host.disturbed(file, KINDS)
    return told


def three_networks() -> dict[str, Any]:
    """Each of three reaches the two others, each under a prefix of its own."""
    with stage.host(*[[f"{MINE}/24"]] * 3) as host:
        # As strict as a host may be: an answer's way back is looked up in the network's own table.
        for scope in ("all", "default"):
            host.host.sysctl(f"ipv4.conf.{scope}.rp_filter", 1)
        host.up(topology_file.parse(THREE, "three.yaml"))
        for one in host.behind:
            host.lab.route(one, "10.9.0.0/16", interface="eth0", via="10.0.0.1")
        return {
            "pings": [
                _pings(one, f"10.9.{at}.2")
                for one in host.behind
                for at, other in enumerate(host.behind)
                if one is not other
            ],
            "its own": talk.refusal(host.behind[0].entered(), ("10.9.0.2", SERVICE)),
            "nobody's": talk.refusal(host.behind[0].entered(), ("10.9.7.2", SERVICE)),
        }


def _pings(one: Namespace, to: str = OTHER) -> bool:
    return b"1 packets received" in one.run(["busybox", "ping", "-c1", "-W60", to], ok=(0, 1))


def _both_ways(host: stage.Host, red: Namespace, blue: Namespace) -> dict[str, Any]:
    """Two connections at the same time, with the same 5-tuple where each comes to the host."""
    there = (OTHER, SERVICE)
    with (
        talk.listen(red.entered(), MINE, SERVICE) as in_red,
        talk.listen(blue.entered(), MINE, SERVICE) as in_blue,
        talk.joined(in_blue, red.entered(), there, PORT) as one,
        talk.joined(in_red, blue.entered(), there, PORT) as other,
    ):
        pairs = [(*client.getsockname(), *client.getpeername()) for client, _ in (one, other)]
        said = [
            talk.exchange(*one, b"from red"),
            talk.exchange(*other, b"from blue"),
            talk.exchange(*one, b"red again"),
        ]
        peers = [server.getpeername() for _, server in (one, other)]
        with host.host.entered():
            tracked = Path("/proc/thread-self/net/nf_conntrack").read_text().splitlines()
    mine = [line for line in tracked if f" src={MINE} dst={OTHER} sport={PORT} " in line]
    zones = {zone for line in mine for zone in re.findall(r"zone-orig=(\d+)", line)}
    return {"pairs": pairs, "said": said, "peers": peers, "tracked": [len(mine), len(zones)]}


def _makes(kind: type[Thing], of: str = "") -> Callable[[Step], bool]:
    def makes(step: Step) -> bool:
        thing = step.thing if isinstance(step, Make) else None
        return isinstance(thing, kind) and (not of or getattr(thing, "kind", "") == of)

    return makes


def _enslaves(step: Step) -> bool:
    return (
        isinstance(step, Set)
        and isinstance(step.setting, LinkSetting)
        and step.setting.attribute == "master"
    )


KINDS = [
    _makes(VrfRule),
    _makes(Link, "vrf"),
    _makes(Route),
    _enslaves,
    _makes(Address),
    _makes(PolicyRule),
    _makes(Ruleset),
]
SCENARIOS = (overlapping_nftables, overlapping_iptables, three_networks)
