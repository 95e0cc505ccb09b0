"""Firewall rules in the words that both back ends share; each writes them in its own.

hook      where a packet is                       nftables (inet)           iptables
zone      before it is known               prerouting, -300        raw PREROUTING
mark      before it is routed                     prerouting, -150          mangle PREROUTING
dnat      before it is routed, new connections    nat prerouting, -100      nat PREROUTING
input     it is for this host                     input, 0                  filter INPUT
forward   it crosses this host                    forward, 0                filter FORWARD
snat      it leaves, new connections              nat postrouting, 100      nat POSTROUTING
ingress   it arrives on one interface             netdev ingress, -500      raw PREROUTING

action        argument          what it does
accept, drop
dnat, snat    address[:port]    rewrite the destination, the source
              prefix            the same, bit by bit: the address keeps what is below the prefix
masquerade                      rewrite the source to the outgoing interface's
mark          number            mark the packet
keep-mark     number            mark the connection
give-mark                       mark the packet as its connection is marked
zone          number            a new connection is told from equal ones in other zones; answers are
                                in no zone, so that they may arrive anywhere
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Hook = Literal["zone", "mark", "dnat", "input", "forward", "snat", "ingress"]
Action = Literal[
    "accept",
    "drop",
    "dnat",
    "snat",
    "masquerade",
    "mark",
    "keep-mark",
    "give-mark",
    "zone",
]

HOOKS: Final[tuple[Hook, ...]] = ("zone", "mark", "dnat", "input", "forward", "snat", "ingress")


@dataclass(frozen=True)
class Match:
    """What a packet must be; what is empty is not asked. Ports are `80` or `8000-8010`."""

    arriving: str = ""
    leaving: str = ""
    source: str = ""
    destination: str = ""
    protocol: Literal["", "tcp", "udp", "icmp"] = ""
    ports: tuple[str, ...] = ()
    # The name of an `AddressSet` that holds the packet's destination, protocol and port.
    advertised: str = ""
    reply: bool | None = None
    connection_mark: int | None = None
    transparent: bool = False


@dataclass(frozen=True)
class Rule:
    """One rule: packets at `hook` that match get the action."""

    hook: Hook
    match: Match
    action: Action
    argument: str = ""
    number: int = 0


@dataclass(frozen=True)
class AddressSet:
    """IPv4 addresses with protocol and port, each as `192.0.2.1,tcp:80`."""

    name: str
    members: tuple[str, ...]
