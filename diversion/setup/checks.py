"""What is wrong with a topology file that only shows when its parts are seen together."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator

from diversion.setup.desired import MAX_MARKED
from diversion.setup.names import spread
from diversion.setup.settings import TopologySettings
from diversion.setup.things import Origin


def problems(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    """Give (place, what is wrong; what helps) for each."""
    yield from _networks(settings)
    yield from _virtual(settings)
    yield from _vrfs(settings)


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
