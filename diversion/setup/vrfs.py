"""Networks that overlap, each in a VRF, which reach one another by mapped prefixes.

    10.0.0.5 in red, to 10.9.0.7        10.9.0.5 in blue, to 10.0.0.7
           eth0 [red] ─── mark, dnat ─── route ─── snat ─── eth1 [blue]

A packet to another VRF's mapped prefix gets the mark by which the other table is looked up, and the
prefix that its destination has there; once routed, the prefix under which its own network is known.
Answers go the same way back: they are to a mapped prefix, too. Both networks may hold the same
addresses, so a new connection is tracked in the zone of the network that it comes from; its answers
come from the other one and are in no zone (conntrack zones with a direction: `ct original zone`).
"""

from __future__ import annotations

import itertools
import typing
from typing import TYPE_CHECKING, Final

from diversion.setup.firewall.rules import Match, Rule
from diversion.setup.settings import VrfSettings
from diversion.setup.things import (
    Address,
    Link,
    LinkSetting,
    Origin,
    PolicyRule,
    Route,
    RuleFamily,
    VrfRule,
    Wanted,
)

if TYPE_CHECKING:
    from diversion.setup.desired import Building

PRIORITY: Final = 500
"""Of the rules for marks; they go before the rule for all VRFs, which is the kernel's 1000th."""

_LAST_METRIC: Final = 4278198272
"""Of the route that ends a VRF's table, as Documentation/networking/vrf.rst has it."""


def add(building: Building) -> None:
    """Add what the file says of VRFs."""
    vrfs = building.settings.vrfs
    if vrfs:
        # Before the first VRF, which would bring them: whoever makes them takes them back.
        families: tuple[RuleFamily, ...] = typing.get_args(RuleFamily)
        building.told += [VrfRule("", family, ("vrfs",)) for family in families]
    marks = {name: building.mark() for name in vrfs}
    for name, vrf in vrfs.items():
        _vrf(building, name, vrf, marks[name], ("vrfs", name))
    for one, other in itertools.permutations(vrfs, 2):
        _way(building, (vrfs[one], marks[one]), (vrfs[other], marks[other]))


def _vrf(building: Building, name: str, vrf: VrfSettings, mark: int, origin: Origin) -> None:
    building.told += [
        Link("", name, "vrf", number=mark, origin=origin),
        Wanted(LinkSetting("", name, "up", origin), True),
        # What its table does not know shall not be looked for in the host's own.
        Route(
            "",
            "0.0.0.0/0",
            "",
            table=mark,
            unreachable=True,
            metric=_LAST_METRIC,
            origin=origin,
        ),
        # An interface that changes its VRF loses its routes: addresses come afterwards.
        Wanted(LinkSetting("", vrf.on, "master", (*origin, "on")), name),
        *(
            Address("", vrf.on, one, origin=(*origin, "addresses", at))
            for at, one in enumerate(vrf.addresses)
        ),
        PolicyRule("", PRIORITY + (mark & 0xFF), mark, mark=mark, origin=origin),
    ]
    building.up("", vrf.on, origin)
    for at, route in enumerate(vrf.routes):
        here = (*origin, "routes", at)
        building.last.append(Route("", route.to, vrf.on, via=route.via, table=mark, origin=here))
    zone = Rule("zone", Match(arriving=vrf.on), "zone", number=mark & 0xFFFF)
    building.rules.setdefault("", []).append(zone)


def _way(building: Building, here: tuple[VrfSettings, int], there: tuple[VrfSettings, int]) -> None:
    """The rules for packets of one VRF's network to the mapped prefix of another's."""
    (vrf, mark), (other, table) = here, there
    to = Match(arriving=vrf.on, source=vrf.network, destination=other.mapped)
    first = Match(arriving=vrf.on, source=vrf.network, destination=other.mapped, reply=False)
    known = Match(leaving=other.on, source=vrf.network, connection_mark=mark)
    building.rules.setdefault("", []).extend(
        [
            Rule("mark", to, "mark", number=table),
            # Where it came from: behind the routing, equal networks cannot be told apart.
            Rule("mark", first, "keep-mark", number=mark),
            Rule("dnat", to, "dnat", other.network),
            Rule("snat", known, "snat", vrf.mapped),
        ]
    )
