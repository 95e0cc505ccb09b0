"""Segments that the agent serves, routers that make namespaces look like VMs, tunnels.

trunk port ── bridge ── ps-NAME ══ eth0 [seg-NAME] vlanN: addresses, held prefixes
                                             DNAT of what is advertised ──> the agent's listener
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, Literal

from diversion.setup import frr
from diversion.setup.firewall.rules import AddressSet, Match, Rule, split_endpoint, version_of
from diversion.setup.names import spread, spread_ports, stable_mac
from diversion.setup.settings import (
    FrrSettings,
    RouterSettings,
    SegmentSettings,
    TopologySettings,
    TunnelSettings,
    VtepSettings,
)
from diversion.setup.things import (
    Address,
    Forwarding,
    Link,
    LinkSetting,
    Namespace,
    Neighbour,
    Origin,
    Route,
    Routing,
    Sysctl,
    Wanted,
)

if TYPE_CHECKING:
    from diversion.setup.desired import Building

SETS: Final[dict[int, str]] = {4: "advert", 6: "adv6"}
"""The sets of what is advertised, by IP version; ipset's names leave room for six letters."""

EVERYTHING: Final[dict[int, str]] = {4: "0.0.0.0/0", 6: "::/0"}

# RFC 4271, section 4.2.
_BGP = "179"

_VERSIONS: Final[tuple[Literal[4, 6], ...]] = (4, 6)

# The addresses of a segment that other hosts are told of one by one; who has one of many more is
# asked in the segment itself.
_TOLD = 256

# Where a VXLAN's forwarding table has its flooding list.
_ALL = "00:00:00:00:00:00"


def add(building: Building) -> None:
    """Add what the file says of communication interfaces, segments, routers and tunnels."""
    for at, one in enumerate(building.settings.communication):
        origin: Origin = ("communication", at)
        name = f"{one.on}.{one.vlan}"
        building.told += [
            Link("", name, "vlan", parent=one.on, number=one.vlan, origin=origin),
            Address("", name, one.address, origin=(*origin, "address")),
        ]
        building.up("", name, origin)
    for at, segment in enumerate(building.settings.segments):
        _segment(building, segment, ("segments", at))
    for at, router in enumerate(building.settings.routers):
        _router(building, router, ("routers", at))
    for link, tunnel in building.settings.tunnels.items():
        _tunnel(building, link, tunnel, ("tunnels", link))
    for link, vtep in building.settings.vteps.items():
        _vtep(building, link, vtep, ("vteps", link))
    if building.settings.frr is not None:
        _frr(building, building.settings.frr, ("frr",))


def _segment(building: Building, segment: SegmentSettings, origin: Origin) -> None:
    space, port = f"seg-{segment.name}", f"ps-{segment.name}"
    inside = "eth0"
    own = [address for text in segment.addresses for address in spread(text)]
    mac = stable_mac(own[0]) if own and _is_told(building, segment) else ""
    building.told += [
        Namespace(space, origin),
        Link("", port, "veth", peer=inside, peer_namespace=space, peer_mac=mac, origin=origin),
        Wanted(LinkSetting("", port, "master", origin), segment.on),
    ]
    building.up("", port, origin)
    building.up(space, inside, origin)
    if segment.vlan is not None:
        here = (*origin, "vlan")
        vlan = f"vlan{segment.vlan}"
        building.told.append(
            Link(space, vlan, "vlan", parent=inside, number=segment.vlan, origin=here)
        )
        inside = vlan
        building.up(space, inside, here)
    networks = {version_of(one): one for one in segment.network}
    lengths = {one: ipaddress.ip_network(text).prefixlen for one, text in networks.items()}
    if 6 in networks:
        # What the file does not name, nobody shall name: a router's advertisement would.
        for name in ("accept_ra", "autoconf"):
            setting = Sysctl(space, f"ipv6/conf/{inside}/{name}", origin)
            building.told.append(Wanted(setting, "0"))
    building.told += [
        Address(
            space,
            inside,
            f"{address}/{lengths[version_of(address)]}",
            origin=(*origin, "addresses"),
        )
        for address in own
    ]
    for version, network in networks.items():
        if not any(version_of(address) == version for address in own):
            # Without an address of its own the segment still is its interface's network.
            building.last.append(Route(space, network, inside, origin=(*origin, "network")))
    for at, network in enumerate(segment.held):
        # In the main table, so that the router's own, longer route in it goes before.
        here = (*origin, "held", at)
        building.told.append(Route(space, network, "lo", local=True, origin=here))
    for gateway in segment.gateway:
        here = (*origin, "gateway")
        value = ipaddress.ip_address(gateway)
        if not value.is_link_local:
            only = f"{gateway}/{value.max_prefixlen}"
            building.last.append(Route(space, only, inside, origin=here))
        every = EVERYTHING[version_of(gateway)]
        building.last.append(Route(space, every, inside, via=gateway, onlink=True, origin=here))
    if mac and len(own) <= _TOLD:
        building.last += [
            Neighbour("", segment.on, one, mac, origin=(*origin, "addresses")) for one in own
        ]
    if segment.advertise:
        _advertise(building, segment, space, inside, origin)


def bridge_mac(settings: TopologySettings, name: str) -> str:
    """The MAC of a bridge whose neighbours FRR is told of; the kernel's choice for any other.

    That choice is the lowest of the ports', and with each change all neighbours are forgotten.
    """
    for vtep in settings.vteps.values():
        if settings.frr is not None and vtep.on == name:
            return stable_mac(vtep.local)
    return ""


def _is_told(building: Building, segment: SegmentSettings) -> bool:
    """Whether FRR tells other hosts where the segment's addresses are."""
    settings = building.settings
    on = {vtep.on for vtep in settings.vteps.values()}
    return settings.frr is not None and segment.vlan is None and segment.on in on


def _advertise(
    building: Building, segment: SegmentSettings, space: str, inside: str, origin: Origin
) -> None:
    """One set and one rule an IP version, however many addresses and ports there are."""
    shown = [
        (address, port)
        for one in segment.advertise
        for text in one.addresses
        for address in spread(text)
        for ports in one.ports
        for port in spread_ports(ports)
    ]
    rules = building.rules.setdefault(space, [])
    for listener in segment.listener:
        where = split_endpoint(listener)[0]
        version = version_of(where)
        members = dict.fromkeys(
            f"{address},{port}" for address, port in shown if version_of(address) == version
        )
        if not members:
            continue
        name = SETS[version]
        building.sets.setdefault(space, []).append(AddressSet(name, tuple(members), version))
        match = Match(arriving=inside, protocol="tcp", advertised=name, version=version)
        rules.append(Rule("dnat", match, "dnat", listener))
        if version == 4:
            # The listener is on loopback, where nobody else can connect to it.
            setting = Sysctl(space, f"ipv4/conf/{inside}/route_localnet", origin)
            building.told.append(Wanted(setting, "1"))
        else:
            # IPv6 routes nothing to ::1. An address of loopback's own stands for it, and who asks
            # for that one by name, before the destination is rewritten, is not let through.
            building.told.append(Address(space, "lo", f"{where}/128", origin=origin))
            rules.append(Rule("mark", Match(arriving=inside, destination=where), "drop"))


def _router(building: Building, router: RouterSettings, origin: Origin) -> None:
    from diversion.setup.desired import forwarding

    space = router.name
    building.told.append(Namespace(space, origin))
    building.told += forwarding(space, building.backend, origin, policy=False)
    legs = []
    for at, leg in enumerate(router.legs):
        here = (*origin, "legs", at)
        port, inside = f"pr{at}-{router.name}", f"eth{at}"
        first = ipaddress.ip_interface(leg.addresses[0])
        mac = stable_mac(str(first.ip)) if first.version == 4 else ""
        building.told += [
            Link("", port, "veth", peer=inside, peer_namespace=space, peer_mac=mac, origin=here),
            Wanted(LinkSetting("", port, "master", here), leg.on),
            *(Address(space, inside, one, origin=here) for one in leg.addresses),
        ]
        legs += [(ipaddress.ip_interface(one).network, inside) for one in leg.addresses]
        building.up("", port, here)
        building.up(space, inside, here)
    for at, route in enumerate(router.routes):
        via = ipaddress.ip_address(route.via)
        way = next((inside for network, inside in legs if via in network), "eth0")
        origin_here = (*origin, "routes", at)
        building.last.append(Route(space, route.to, way, via=route.via, origin=origin_here))


def _tunnel(building: Building, name: str, tunnel: TunnelSettings, origin: Origin) -> None:
    building.told += [
        Link(
            "",
            name,
            tunnel.kind,
            number=tunnel.vni,
            local=tunnel.local,
            remote=tunnel.remote,
            origin=origin,
        ),
        Address("", name, tunnel.address, origin=(*origin, "address")),
    ]
    building.up("", name, origin)
    for at, route in enumerate(tunnel.routes):
        here = (*origin, "routes", at)
        building.last.append(Route("", route.to, name, via=route.via, origin=here))


def _vtep(building: Building, name: str, vtep: VtepSettings, origin: Origin) -> None:
    """RFC 7348; frames for all, and for MACs not yet learned, go to every peer of the list.

    With FRR nothing is learned from frames, and the bridge answers itself who has an address.
    """
    told = building.settings.frr is not None
    building.told += [
        Link(
            "",
            name,
            "vxlan",
            number=vtep.vni,
            local=vtep.local,
            learning=not told,
            origin=origin,
        ),
        Wanted(LinkSetting("", name, "master", origin), vtep.on),
    ]
    if told:
        building.told.append(Wanted(LinkSetting("", name, "learning", origin), False))
        building.told.append(Wanted(LinkSetting("", name, "neigh_suppress", origin), True))
    for at, peer in enumerate(vtep.peers):
        building.told.append(Forwarding("", name, _ALL, peer, origin=(*origin, "peers", at)))
    building.up("", name, origin)


def _frr(building: Building, settings: FrrSettings, origin: Origin) -> None:
    """BGP is spoken with the neighbours alone; everything stands when it begins."""
    rules = building.rules.setdefault("", [])
    for one in settings.neighbours:
        match = Match(source=one.address, protocol="tcp", ports=(_BGP,))
        rules.append(Rule("input", match, "accept"))
    for version in _VERSIONS:
        everybody = Match(protocol="tcp", ports=(_BGP,), version=version)
        rules.append(Rule("input", everybody, "drop"))
    name = building.settings.name
    building.at_the_end.append(Routing("", name, frr.configuration(name, settings), origin=origin))
