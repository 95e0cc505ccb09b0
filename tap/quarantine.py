"""What keeps the host from answering what is injected into the tap.

Injected packets may carry the host's own addresses, as gateway1's packets do; taken for arrived
ones, they would be answered: a SYN by a RST, an echo request, ARP, neighbour discovery. So the tap

    has no address, IPv6 is off on it, and makes none by itself
    neither asks nor answers by ARP
    forwards nothing
    belongs to no bridge
    and the kernel drops what arrives on it behind the packet sockets (`drop`)

The last alone would do for what arrives; the others hold while it is set up, and keep the host from
sending anything of its own. GRO needs no word: a tap without IFF_NAPI does not use it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute  # type: ignore[import-untyped]

from tap.drop import Drop, drop, dropped
from tap.links import ADDR_GEN_MODE_NONE, Link, snapshot

SYSCTLS = {"ipv6": {"disable_ipv6": "1", "forwarding": "0"}, "ipv4": {"forwarding": "0"}}


@dataclass
class Quarantine:
    """What is in force on one interface."""

    index: int
    name: str
    _drop: Drop

    def drift(self) -> list[str]:
        """What no longer holds, a sentence each; empty is good."""
        with IPRoute() as netlink:
            links = snapshot(netlink)
            link = links.get(self.index)
            if link is None or link.name != self.name:
                return [f"{self.name} was deleted or renamed from outside; it has to be made anew"]
            return list(breaches(links, link, dropped(netlink, self.index, self.name)))

    def close(self) -> None:
        """Take away what does not go with the interface."""
        self._drop.close()


def isolate(netlink: IPRoute, index: int, name: str) -> Quarantine:
    """Set an interface apart from the host; `TapError` or `NetlinkError` if the kernel refuses.

    What only /proc/sys can set is set if it is writable; `drift` tells of what is not.
    """
    held = drop(netlink, index, name)
    try:
        netlink.link(
            "set",
            index=index,
            master=0,
            arp=False,
            IFLA_AF_SPEC={
                "attrs": [
                    (
                        "AF_INET6",
                        {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", ADDR_GEN_MODE_NONE)]},
                    )
                ]
            }
            if Path("/proc/net/if_inet6").exists()
            else {"attrs": []},
        )
        for family, values in SYSCTLS.items():
            for key, value in values.items():
                _set(Path("/proc/sys/net", family, "conf", name, key), value)
        netlink.flush_addr(index=index)
    except BaseException:
        held.close()
        raise
    return Quarantine(index, name, held)


def breaches(links: Mapping[int, Link], link: Link, is_dropped: bool) -> Iterator[str]:
    """What of the quarantine does not hold on a link, with what to do about it."""
    name = link.name
    if not is_dropped:
        yield (
            f"what arrives on {name} is not dropped: the host may answer injected packets; "
            "restart the service"
        )
    if not link.up:
        yield f"{name} is down: Suricata sees nothing; ip link set {name} up"
    for address in link.addresses:
        yield f"{name} has the address {address}; ip address delete {address} dev {name}"
    if link.makes_addresses:
        yield f"{name} makes IPv6 addresses by itself; ip link set {name} addrgenmode none"
    if link.ipv6:
        yield f"IPv6 is on at {name}; sysctl net.ipv6.conf.{name}.disable_ipv6=1"
    if link.arp:
        yield f"ARP is on at {name}; ip link set {name} arp off"
    if link.forwards:
        yield f"{name} forwards; sysctl net.ipv4.conf.{name}.forwarding=0, and of ipv6"
    if link.master is not None:
        bridge = links[link.master].name if link.master in links else str(link.master)
        yield f"{name} belongs to {bridge}; ip link set {name} nomaster"


def _set(path: Path, value: str) -> None:
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError:
        pass  # no such protocol in this kernel, or /proc/sys is read-only
