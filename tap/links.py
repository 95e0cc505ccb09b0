"""What the kernel says of interfaces, as plain values; netlink's own shapes end here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute  # type: ignore[import-untyped]

# linux/if.h
IFF_UP = 0x1
IFF_NOARP = 0x80

# linux/if_arp.h
ARPHRD_ETHER = 1

# linux/if_link.h
ADDR_GEN_MODE_NONE = 1


@dataclass(frozen=True)
class Tun:
    """How a tap was made (linux/if_link.h, IFLA_TUN_*)."""

    is_tap: bool
    packet_info: bool
    vnet_hdr: bool
    persistent: bool
    multi_queue: bool
    owner: int | None = None
    group: int | None = None


@dataclass(frozen=True)
class Link:
    """One interface. `lower` is its peer (veth) or what it stands on, within this namespace."""

    index: int
    name: str
    kind: str | None = None
    mtu: int = 1500
    up: bool = True
    carrier: bool = True  # of a tap: whether somebody has it open
    arp: bool = True
    master: int | None = None
    lower: int | None = None
    alias: str | None = None
    addresses: tuple[str, ...] = ()
    makes_addresses: bool = True  # IPv6 link-local ones, by itself
    ipv6: bool = True
    forwards: bool = False
    tun: Tun | None = None
    hardware: int = ARPHRD_ETHER


def snapshot(netlink: IPRoute) -> dict[int, Link]:
    """Every interface of this network namespace, by index."""
    addresses: dict[int, list[str]] = {}
    for message in netlink.get_addr():
        address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        addresses.setdefault(message["index"], []).append(f"{address}/{message['prefixlen']}")
    links = (_link(message, addresses) for message in netlink.get_links())
    return {link.index: link for link in links}


def find(links: Mapping[int, Link], name: str) -> Link | None:
    """The interface of that name."""
    return next((link for link in links.values() if link.name == name), None)


def _link(message: Any, addresses: Mapping[int, list[str]]) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info else None
    data = info.get_attr("IFLA_INFO_DATA") if info else None
    families = message.get_attr("IFLA_AF_SPEC")
    inet = (families.get_attr("AF_INET") if families else None) or {}
    inet6 = families.get_attr("AF_INET6") if families else None
    conf6 = (inet6.get_attr("IFLA_INET6_CONF") if inet6 else None) or {}
    # The number of a peer in another namespace means nothing here.
    elsewhere = message.get_attr("IFLA_LINK_NETNSID") is not None
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind,
        mtu=message.get_attr("IFLA_MTU"),
        up=bool(message["flags"] & IFF_UP),
        carrier=bool(message.get_attr("IFLA_CARRIER")),
        arp=not message["flags"] & IFF_NOARP,
        master=message.get_attr("IFLA_MASTER"),
        lower=None if elsewhere else message.get_attr("IFLA_LINK") or None,
        alias=message.get_attr("IFLA_IFALIAS"),
        addresses=tuple(addresses.get(message["index"], ())),
        makes_addresses=inet6 is not None
        and inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE") != ADDR_GEN_MODE_NONE,
        ipv6=inet6 is not None and not conf6.get("disable_ipv6"),
        forwards=bool(inet.get("forwarding") or (inet6 and conf6.get("forwarding"))),
        tun=_tun(data) if kind == "tun" and data else None,
        hardware=message["ifi_type"],
    )


def _tun(data: Any) -> Tun:
    return Tun(
        is_tap=data.get_attr("IFLA_TUN_TYPE") == 2,
        packet_info=bool(data.get_attr("IFLA_TUN_PI")),
        vnet_hdr=bool(data.get_attr("IFLA_TUN_VNET_HDR")),
        persistent=bool(data.get_attr("IFLA_TUN_PERSIST")),
        multi_queue=bool(data.get_attr("IFLA_TUN_MULTI_QUEUE")),
        owner=data.get_attr("IFLA_TUN_OWNER"),
        group=data.get_attr("IFLA_TUN_GROUP"),
    )
