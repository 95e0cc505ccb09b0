"""The demo's machines: each a network namespace, but for the host, which is the world's own.

    scanner  203.0.113.7      ┐
    guesser  198.51.100.23    ├─ internet ─┬──────── host: gateway1 ─ br1 ─┬─ vm1: gateway2, nginx
    robot    2001:db8:bad::7  │            │          │                    └─ vm2: gateway2, sshd,
    visitor  192.0.2.44       ┘            └─ agent ──┘                            SMTP server

The virtual addresses of vm1's decoy are the host's own, gateway1 accepts them itself; those of
vm2's lie on another machine, whose agent hands them to gateway1. Who comes from outside has an
address of those that are for documentation (RFC 5737, RFC 3849).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from diversion.namespaces import Space, World

Ends = tuple[str, int]
"""An address and a port."""

BRIDGE: Final = "br1"
GATEWAY1: Final = "172.16.23.1"
"""The host's address on br1: whom Suricata blames for everything."""
AGENT: Final = "172.16.24.2"
GATEWAY1_FOR_AGENT: Final = "172.16.24.1"

OUTSIDE: Final = {
    "scanner": "203.0.113.7",
    "guesser": "198.51.100.23",
    "robot": "2001:db8:bad::7",
    "visitor": "192.0.2.44",
}
"""Who comes from outside, and his address."""

VMS: Final = {"vm1": "172.16.23.2", "vm2": "172.16.23.3"}
"""gateway2's address on br1, in each VM."""

DECOYS: Final = {"vm1": ("192.168.110.2", "2001:db8:110::2"), "vm2": ("192.168.120.2",)}
"""The addresses that attackers know: of the decoy in the VM, and virtual ones outside of it."""


@dataclass(frozen=True)
class Service:
    """One service of a decoy, and its way: accepted by gateway1 or by the agent, then over br1."""

    name: str
    decoy: Ends
    vm: str
    leg_port: int
    agent: bool = False

    @property
    def leg(self) -> Ends:
        """Where gateway2 listens for it."""
        return VMS[self.vm], self.leg_port


SERVICES: Final = (
    Service("http", (DECOYS["vm1"][0], 80), "vm1", 9080),
    Service("https", (DECOYS["vm1"][0], 443), "vm1", 9443),
    Service("http6", (DECOYS["vm1"][1], 80), "vm1", 9680),
    Service("ssh", (DECOYS["vm2"][0], 22), "vm2", 9022, agent=True),
    Service("smtp", (DECOYS["vm2"][0], 25), "vm2", 9025, agent=True),
)


@dataclass(frozen=True)
class Network:
    """The machines, by name."""

    world: World
    spaces: dict[str, Space]

    @property
    def host(self) -> Space:
        """Where br1, gateway1, Peeltap and both Suricatas are."""
        return self.world.host


def _wide(address: str) -> str:
    """The address in the network that its machine is on: the last octet or group is the host's."""
    return f"{address}/64" if ":" in address else f"{address}/24"


def _router(address: str) -> str:
    """The first address of that network, which is the internet's."""
    separator = ":" if ":" in address else "."
    return address.rpartition(separator)[0] + separator + "1"


def _single(address: str) -> str:
    return f"{address}/128" if ":" in address else f"{address}/32"


def build(world: World) -> Network:
    """Make the machines and join them; nothing runs on them yet. Raises NetlinkError, OSError."""
    names = (*OUTSIDE, "internet", "agent", *VMS)
    spaces = {"host": world.host, **{name: world.space(name) for name in names}}
    internet, agent, host = spaces["internet"], spaces["agent"], spaces["host"]
    internet.sysctl("ipv4.ip_forward", 1)
    internet.sysctl("ipv6.conf.all.forwarding", 1)
    for name, address in OUTSIDE.items():
        everything = "::/0" if ":" in address else "0.0.0.0/0"
        world.connect(
            (spaces[name], "eth0", [_wide(address)]),
            (internet, name, [_wide(_router(address))]),
        )
        world.route(spaces[name], everything, _router(address))
    # RFC 6598's range and unique local addresses: between routers, nobody's own.
    for space, inside, four, six in (
        (host, "wan0", "100.64.1", "fd00:64:1::"),
        (agent, "wan0", "100.64.2", "fd00:64:2::"),
    ):
        world.connect(
            (space, inside, [f"{four}.2/24", f"{six}2/64"]),
            (internet, space.name, [f"{four}.1/24", f"{six}1/64"]),
        )
        world.route(space, "0.0.0.0/0", f"{four}.1")
        world.route(space, "::/0", f"{six}1")
    world.connect(
        (agent, "up0", [f"{AGENT}/24"]),
        (host, "agent0", [f"{GATEWAY1_FOR_AGENT}/24"]),
    )
    world.bridge(BRIDGE, [f"{GATEWAY1}/24"])
    for vm, address in VMS.items():
        world.attach(spaces[vm], "eth0", BRIDGE, [f"{address}/24"])
        world.address(spaces[vm], "lo", map(_single, DECOYS[vm]))
    for vm, space, four, six in (
        ("vm1", host, "100.64.1.2", "fd00:64:1::2"),
        ("vm2", agent, "100.64.2.2", "fd00:64:2::2"),
    ):
        world.address(space, "lo", map(_single, DECOYS[vm]))
        for decoy in DECOYS[vm]:
            world.route(internet, _single(decoy), six if ":" in decoy else four)
    return Network(world, spaces)
