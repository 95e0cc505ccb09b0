"""Machines that are namespaces: what stands around a host in a demo, a trial, a test.

bridge ── pm0-NAME ══ eth0 [NAME]
                           [NAME] eth1 ══ left [OTHER]
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from diversion.setup.settings import MachineSettings, TopologySettings
from diversion.setup.things import (
    Address,
    Desired,
    Link,
    LinkSetting,
    Namespace,
    Origin,
    Route,
    Sysctl,
    Wanted,
)

if TYPE_CHECKING:
    from diversion.setup.desired import Building

# Wires that can be used at once, and on which nothing is heard but what somebody said.
_QUIET: Final = ("accept_dad", "router_solicitations")


def add(building: Building) -> None:
    """Add the file's machines: all of them, then their wires, then what goes over those."""
    machines = building.settings.machines
    for name, machine in machines.items():
        building.told += _namespace(building, name, machine, ("machines", name))
    for name, machine in machines.items():
        _wires(building, name, machine, ("machines", name))
    for name, machine in machines.items():
        _routes(building, name, machine, ("machines", name))


def _namespace(
    building: Building, name: str, machine: MachineSettings, origin: Origin
) -> Iterator[Desired]:
    from diversion.setup.desired import forwarding

    yield Namespace(name, origin)
    for scope in ("all", "default"):
        for key in _QUIET:
            yield Wanted(Sysctl(name, f"ipv6/conf/{scope}/{key}", origin), "0")
    if machine.forwards:
        yield from forwarding(name, building.backend, origin, policy=False)
        yield Wanted(Sysctl(name, "ipv6/conf/all/forwarding", origin), "1")
    if machine.low_ports:
        yield Wanted(Sysctl(name, "ipv4/ip_unprivileged_port_start", origin), "0")


def _wires(building: Building, name: str, machine: MachineSettings, origin: Origin) -> None:
    for at, (link, interface) in enumerate(machine.interfaces.items()):
        here: Origin = (*origin, "interfaces", link)
        if interface.on is not None:
            port = f"pm{at}-{name}"
            building.told += [
                Link("", port, "veth", peer=link, peer_namespace=name, origin=here),
                Wanted(LinkSetting("", port, "master", here), interface.on),
            ]
            building.up("", port, here)
        elif interface.to is not None:
            other, _, end = interface.to.partition("/")
            building.told.append(
                Link(name, link, "veth", peer=end, peer_namespace=other, origin=here)
            )
        building.up(name, link, here)
        building.last += _addresses(name, link, interface.addresses, (*here, "addresses"))
    building.told += _addresses(name, "lo", machine.loopback, (*origin, "loopback"))


def _addresses(name: str, link: str, texts: list[str], origin: Origin) -> list[Desired]:
    return [Address(name, link, text, origin=(*origin, at)) for at, text in enumerate(texts)]


def _routes(building: Building, name: str, machine: MachineSettings, origin: Origin) -> None:
    for at, route in enumerate(machine.routes):
        way = way_to(machine, route.via)
        if way is not None:
            here = (*origin, "routes", at)
            building.last.append(Route(name, route.to, way, via=route.via, origin=here))


def way_to(machine: MachineSettings, neighbour: str) -> str | None:
    """The interface in whose network a neighbour is; None if there is none."""
    wanted = ipaddress.ip_address(neighbour)
    for link, interface in machine.interfaces.items():
        for text in interface.addresses:
            if wanted in ipaddress.ip_interface(text).network:
                return link
    return None


# --- What is wrong with them ----------------------------------------------------------------------


def problems(settings: TopologySettings) -> Iterator[tuple[Origin, str]]:
    """Give (place, what is wrong; what helps) for each machine that cannot be."""
    ends: dict[tuple[str, str], Origin] = {}
    for name, machine in settings.machines.items():
        for link, interface in machine.interfaces.items():
            if interface.to is None:
                continue
            here: Origin = ("machines", name, "interfaces", link, "to")
            other, _, end = interface.to.partition("/")
            if other not in settings.machines:
                known = ", ".join(settings.machines)
                yield here, f"{other} is none of the file's machines: {known}"
            elif end not in settings.machines[other].interfaces:
                yield here, f"{other} has no interface {end}; name it there, with its addresses"
            elif (other, end) in ends or _leads_on(settings, other, end):
                yield here, f"{interface.to} has its other end already; a wire has two"
            else:
                ends[other, end] = here
    for name, machine in settings.machines.items():
        for link, interface in machine.interfaces.items():
            if (interface.on, interface.to) == (None, None) and (name, link) not in ends:
                yield (
                    ("machines", name, "interfaces", link),
                    "leads nowhere; give it on, a bridge, or to, MACHINE/INTERFACE",
                )
        for at, route in enumerate(machine.routes):
            if way_to(machine, route.via) is None:
                yield (
                    ("machines", name, "routes", at, "via"),
                    f"{route.via} is in no network of {name}; give an interface an address there",
                )


def _leads_on(settings: TopologySettings, machine: str, link: str) -> bool:
    there = settings.machines[machine].interfaces[link]
    return there.on is not None or there.to is not None
