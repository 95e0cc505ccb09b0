"""This host's network as a picture: links in all named namespaces, pairs, neighbours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from diversion.setup.machine import NAMED, Machine
from diversion.topology.graph import Edge, Graph, Node

MAX_NEIGHBOURS: Final = 64
"""Of one namespace; a scanned /16 has a hundred thousand."""

# linux/neighbour.h: what was asked for in vain, and what needs no asking (groups, loopback).
_NOT_THERE: Final = 0x20 | 0x40 | 0x01


@dataclass(frozen=True)
class _Found:
    place: str
    index: int
    name: str
    kind: str
    peer: int | None
    elsewhere: int | None


def discover() -> Graph:
    """Look at this namespace and at all that `ip netns` knows; needs root for the latter."""
    graph = Graph()
    found: list[_Found] = []
    with Machine("") as machine:
        for place in ["", *_names()]:
            found += _look(machine, place, graph)
        for one, other in _pairs(machine, found):
            graph.join(Edge((one.place, one.name), (other.place, other.name), "pair"))
    return graph


def _names() -> list[str]:
    return sorted(path.name for path in NAMED.iterdir()) if NAMED.is_dir() else []


def _look(machine: Machine, place: str, graph: Graph) -> list[_Found]:
    netlink = machine.netlink(place)
    messages = {message["index"]: message for message in netlink.get_links()}
    addresses: dict[int, list[str]] = {}
    for message in netlink.get_addr():
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        addresses.setdefault(message["index"], []).append(f"{text}/{message['prefixlen']}")
    names = {index: str(message.get_attr("IFLA_IFNAME")) for index, message in messages.items()}
    found = []
    for index, message in messages.items():
        if names[index] == "lo":
            continue
        kind, data = _kind(message)
        details = [*data, *_shortened(addresses.get(index, []))]
        if not message["flags"] & 1:
            details.append("down")
        graph.add(Node(names[index], kind, place, tuple(details)))
        elsewhere = message.get_attr("IFLA_LINK_NETNSID")
        found.append(
            _Found(place, index, names[index], kind, message.get_attr("IFLA_LINK"), elsewhere)
        )
    for one in found:
        master = messages[one.index].get_attr("IFLA_MASTER")
        if master in names:
            graph.join(Edge((place, names[master]), (place, one.name), "port"))
        if one.kind != "veth" and one.elsewhere is None and one.peer in names:
            graph.join(Edge((place, names[one.peer]), (place, one.name), "on"))
    _neighbours(netlink, place, names, graph)
    return found


def _kind(message: Any) -> tuple[str, list[str]]:
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") if info else None) or "hardware"
    data = info.get_attr("IFLA_INFO_DATA") if info else None
    numbers = {"vlan": ("IFLA_VLAN_ID", "id"), "vxlan": ("IFLA_VXLAN_ID", "vni")}
    numbers["vrf"] = ("IFLA_VRF_TABLE", "table")
    if kind in numbers and data is not None:
        attribute, word = numbers[kind]
        return kind, [f"{word} {data.get_attr(attribute)}"]
    return kind, []


def _shortened(texts: list[str]) -> list[str]:
    # Link-local IPv6 addresses are everywhere and say nothing.
    told = [text for text in texts if not text.startswith("fe80:")]
    return told if len(told) <= 4 else [*told[:3], f"and {len(told) - 3} more"]


def _neighbours(netlink: Any, place: str, names: dict[int, str], graph: Graph) -> None:
    count = 0
    for message in netlink.get_neighbours():
        address, mac = message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR")
        known = message["ifindex"] in names and names[message["ifindex"]] != "lo"
        if not known or not address or not mac or message["state"] & _NOT_THERE:
            continue
        count += 1
        if count > MAX_NEIGHBOURS:
            break
        graph.add(Node(str(address), "neighbour", place, (str(mac),)))
        below = (place, names[message["ifindex"]])
        graph.join(Edge(below, (place, str(address)), "neighbour"))


def _pairs(machine: Machine, found: list[_Found]) -> Iterator[tuple[_Found, _Found]]:
    """The two ends of each veth pair: each names the other's index."""
    ends = [one for one in found if one.kind == "veth"]
    by_indexes: dict[tuple[int, int | None], list[_Found]] = {}
    for one in ends:
        by_indexes.setdefault((one.index, one.peer), []).append(one)
    for one in ends:
        if one.peer is None:
            continue
        others = [two for two in by_indexes.get((one.peer, one.index), []) if two != one]
        if one.elsewhere is None:
            others = [two for two in others if two.place == one.place]
        elif len(others) > 1:
            # Indexes are a namespace's own; the kernel's number for the other one decides.
            others = [two for two in others if _number(machine, one, two) == one.elsewhere]
        for other in others[:1]:
            if (one.place, one.name) < (other.place, other.name):
                yield one, other


def _number(machine: Machine, here: _Found, there: _Found) -> int | None:
    """By which number the namespace of one end knows that of the other."""
    path = NAMED / there.place if there.place else "/proc/thread-self/ns/net"
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        told = machine.netlink(here.place).get_netnsid(fd=descriptor)
    finally:
        os.close(descriptor)
    return int(told["nsid"])
