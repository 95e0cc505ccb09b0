"""What is wrong with a topology file that only shows when its parts are seen together."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator

from diversion.setup import directories, lab
from diversion.setup.desired import MAX_MARKED, far_end
from diversion.setup.firewall.rules import split_endpoint, version_of
from diversion.setup.names import spread
from diversion.setup.settings import TopologySettings
from diversion.setup.things import Origin
from diversion.setup.values import MAX_NAME


def problems(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    """Give (place, what is wrong; what helps) for each."""
    yield from _networks(settings)
    yield from _virtual(settings)
    yield from _vrfs(settings)
    yield from _inside(settings)
    yield from _in_network(settings)
    yield from _names(settings)
    yield from lab.problems(settings)
    yield from _segments(settings)
    yield from _vteps(settings)


def _networks(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    """One address, and one network, is one interface's."""
    seen: list[tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, str]] = []
    for name, bridge in settings.bridges.items():
        for at, text in enumerate(bridge.addresses):
            value = ipaddress.ip_interface(text)
            for other, where in seen:
                if value.version != other.version:
                    continue
                if value.ip == other.ip:
                    what = f"{value.ip} is on {where} already; keep one"
                elif where != name and value.network.overlaps(other.network):
                    what = (
                        f"{value.network} overlaps {other.network} on {where}; "
                        "give each bridge a network of its own"
                    )
                else:
                    continue
                yield ("bridges", name, "addresses", at), what
                break
            seen.append((value, name))
    ports: dict[str, str] = {}
    for name, bridge in settings.bridges.items():
        for at, port in enumerate(bridge.ports):
            if port in ports:
                yield (
                    ("bridges", name, "ports", at),
                    f"{port} is a port of {ports[port]} already; an interface has one bridge",
                )
            ports.setdefault(port, name)


def _virtual(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    taken = {
        str(ipaddress.ip_interface(text).ip): f"an address of {name}"
        for name, bridge in settings.bridges.items()
        for text in bridge.addresses
    }
    marked = 0
    for at, virtual in enumerate(settings.virtual):
        held = settings.bridges[virtual.on].addresses if virtual.on in settings.bridges else []
        networks = [ipaddress.ip_interface(text).network for text in held]
        for place, text in enumerate(virtual.addresses):
            here: Origin = ("virtual", at, "addresses", place)
            addresses = spread(text)
            marked += len(addresses) if virtual.style != "direct" else 0
            for address in addresses:
                if address in taken:
                    yield here, f"{address} is {taken[address]} already; take another"
                    break
                if ipaddress.ip_address(address).is_link_local:
                    yield here, f"{address} is link-local, which nobody but neighbours reaches"
                    break
                if networks and not any(ipaddress.ip_address(address) in one for one in networks):
                    shown = ", ".join(map(str, networks))
                    yield here, f"{address} is not in the network of {virtual.on}, {shown}"
                    break
            taken |= dict.fromkeys(addresses, f"virtual address {at + 1}")
        if virtual.on not in settings.bridges:
            known = ", ".join(settings.bridges) or "none"
            yield ("virtual", at, "on"), f"{virtual.on} is none of the file's bridges: {known}"
    if marked > MAX_MARKED:
        yield (
            ("virtual",),
            f"{marked} addresses with a MAC of their own; at most {MAX_MARKED} in one topology: "
            "use the style direct for the rest",
        )


def _vrfs(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    """Whose mapped prefix an address is in must be plain; with two VRFs it is the other one's."""
    ports = {port: name for name, one in settings.bridges.items() for port in one.ports}
    taken: dict[str, str] = {}
    for name, vrf in settings.vrfs.items():
        here: Origin = ("vrfs", name)
        if vrf.on in taken:
            yield (*here, "on"), f"{vrf.on} is in the VRF {taken[vrf.on]} already; take another"
        elif vrf.on in ports:
            yield (*here, "on"), f"{vrf.on} is a port of {ports[vrf.on]}; name the bridge instead"
        elif vrf.on in settings.bridges and settings.bridges[vrf.on].addresses:
            what = f"the addresses of {vrf.on} are its VRF's; move them here from bridges"
            yield (*here, "addresses"), what
        taken.setdefault(vrf.on, name)
        if name in settings.bridges:
            yield here, f"{name} is one of the file's bridges already; take another name"
    pairs = itertools.combinations(settings.vrfs.items(), 2)
    for (first, one), (second, other) in pairs:
        mapped = ipaddress.ip_network(other.mapped)
        if len(settings.vrfs) > 2 and mapped.overlaps(ipaddress.ip_network(one.mapped)):
            yield (
                ("vrfs", second, "mapped"),
                f"{mapped} overlaps {one.mapped} of {first}; with more than two VRFs each needs a "
                "prefix of its own",
            )
    for name, vrf in settings.vrfs.items():
        for other_name, other in settings.vrfs.items():
            network = ipaddress.ip_network(other.network)
            if other_name != name and network.overlaps(ipaddress.ip_network(vrf.mapped)):
                yield (
                    ("vrfs", name, "mapped"),
                    f"{vrf.mapped} overlaps the network {network} of {other_name}, which could not "
                    "tell the two apart; take another prefix",
                )


def _inside(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    """Within one namespace, too, a network is one interface's."""
    host: list[_Held] = [
        (("bridges", name, "addresses", at), name, text)
        for name, bridge in settings.bridges.items()
        for at, text in enumerate(bridge.addresses)
    ]
    bridged = len(host)
    host += [
        (("communication", at, "address"), f"{one.on}.{one.vlan}", one.address)
        for at, one in enumerate(settings.communication)
    ]
    host += [
        (("tunnels", name, "address"), name, one.address) for name, one in settings.tunnels.items()
    ]
    # What bridges have among themselves has been told.
    yield from _overlaps(host, bridged)
    for at, router in enumerate(settings.routers):
        yield from _overlaps(
            [
                (("routers", at, "legs", number, "addresses", place), f"eth{number}", text)
                for number, leg in enumerate(router.legs)
                for place, text in enumerate(leg.addresses)
            ]
        )
    for name, machine in settings.machines.items():
        yield from _overlaps(
            [
                (("machines", name, "interfaces", link, "addresses", place), link, text)
                for link, interface in machine.interfaces.items()
                for place, text in enumerate(interface.addresses)
            ]
        )


_Held = tuple[Origin, str, str]
"""The place of an address in the file, its interface, and itself."""


def _overlaps(held: list[_Held], first: int = 0) -> Iterator[tuple[Origin, str]]:
    """Look from number `first` on at those in front of each."""
    for at, (origin, link, text) in enumerate(held[first:], first):
        mine = ipaddress.ip_interface(text)
        for _, other, held_there in held[:at]:
            theirs = ipaddress.ip_interface(held_there)
            if mine.version != theirs.version:
                continue
            if mine.ip == theirs.ip:
                yield origin, f"{mine.ip} is on {other} already; keep one"
            elif link != other and mine.network.overlaps(theirs.network):
                what = f"{mine.network} overlaps {theirs.network} on {other}"
                yield origin, f"{what}; take another network"
            else:
                continue
            break


def _in_network(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    """A segment's own addresses are in its network."""
    for at, segment in enumerate(settings.segments):
        networks = [ipaddress.ip_network(one) for one in segment.network]
        for place, text in enumerate(segment.addresses):
            first, _, last = text.partition("-")
            ends = [ipaddress.ip_address(one) for one in (first, last or first)]
            # That there is no network of its IP version is told by `_segments`.
            same = [one for one in networks if one.version == ends[0].version]
            if same and not any(all(end in one for end in ends) for one in same):
                yield (
                    ("segments", at, "addresses", place),
                    f"{text} is not in the segment's network, {', '.join(map(str, same))}",
                )


def _names(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    """Names that are made from names of the file; and namespaces, which are the host's."""
    for at, one in enumerate(settings.communication):
        yield from _too_long(("communication", at, "on"), f"{one.on}.{one.vlan}")
    if settings.tap is not None and settings.tap.kind == "veth":
        yield from _too_long(("tap", "name"), far_end(settings.tap.name))
    spaces: dict[str, str] = {}
    for origin, name, what in (
        *(
            (("segments", at, "name"), f"seg-{segment.name}", "a segment")
            for at, segment in enumerate(settings.segments)
        ),
        *(
            (("routers", at, "name"), router.name, "a router")
            for at, router in enumerate(settings.routers)
        ),
        *((("machines", name), name, "a machine") for name in settings.machines),
    ):
        if name in spaces:
            yield origin, f"the namespace {name} is that of {spaces[name]} already; rename one"
        spaces.setdefault(name, what)
    yield from _place(settings)


def _too_long(origin: Origin, name: str) -> Iterator[tuple[Origin, str]]:
    if len(name.encode()) > MAX_NAME:
        what = f"makes the interface {name}, and a name has at most {MAX_NAME} characters"
        yield origin, f"{what}; take a shorter one"


def _place(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    """Suricata's: its owner is known, and nobody wants the offloads that it does not."""
    place = settings.suricata
    if place is None:
        return
    if place.socket is not None or place.events is not None:
        unknown = directories.unknown(place.user, place.group)
        if unknown is not None:
            key = "user" if "user" in unknown else "group"
            yield ("suricata", key), f"{unknown}; create it, or name another"
    wanted = settings.offloads.get(place.on)
    for feature, on in wanted if wanted is not None else ():
        if on:
            yield (
                ("offloads", place.on, feature),
                f"Suricata listens on {place.on}, where it has to be off; take this out",
            )


def _segments(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    """What a segment has of an IP version needs a network, and a listener, of that version."""
    for at, segment in enumerate(settings.segments):
        networks = {version_of(one) for one in segment.network}
        listeners = {version_of(split_endpoint(one)[0]) for one in segment.listener}
        places: list[tuple[Origin, str]] = [
            (("addresses", place), one) for place, one in enumerate(segment.addresses)
        ]
        places += [(("held", place), one) for place, one in enumerate(segment.held)]
        places += [(("gateway",), one) for one in segment.gateway]
        shown: list[tuple[Origin, str]] = [
            (("advertise", place, "addresses", inner), one)
            for place, advertised in enumerate(segment.advertise)
            for inner, one in enumerate(advertised.addresses)
        ]
        for where, text in (*places, *shown):
            version = version_of(text)
            if version not in networks:
                what = f"{text} is of IPv{version}, and the segment has no network of it"
                yield ("segments", at, *where), f"{what}; name one under network"
        for where, text in shown:
            if version_of(text) not in listeners:
                yield ("segments", at, *where), f"there is no listener for IPv{version_of(text)}"


def _vteps(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    """A VTEP has its peers from the file, or from FRR."""
    for name, vtep in settings.vteps.items():
        if settings.frr is None and not vtep.peers:
            yield ("vteps", name), "has no peers; name them, or a section frr that finds them out"
        if settings.frr is not None and vtep.peers:
            yield ("vteps", name, "peers"), "frr finds the peers out; leave one of both away"
    if settings.frr is not None and not settings.vteps:
        yield ("frr",), "there is no VTEP to tell others of; name one under vteps"
