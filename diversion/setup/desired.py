"""What a topology file asks for, as things and settings in the order of their making.

A thing stands behind what it stands on; the firewall comes before traffic can (interfaces go up
last), and what is asked for twice is there once.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from diversion.setup import segments, vrfs
from diversion.setup.firewall.rules import AddressSet, Match, Rule
from diversion.setup.names import mark_base, short, spread, stable_mac
from diversion.setup.settings import (
    BridgeSettings,
    Gateway1Settings,
    Gateway2Settings,
    TapSettings,
    TopologySettings,
    VirtualSettings,
)
from diversion.setup.things import (
    Address,
    Desired,
    ForwardPolicy,
    Key,
    Link,
    LinkSetting,
    Namespace,
    Offload,
    Origin,
    PolicyRule,
    Route,
    Ruleset,
    Sysctl,
    Wanted,
)

Backend = Literal["nftables", "iptables"]

RULE_PRIORITY: Final = 20_000
MAX_MARKED: Final = 255
"""How many virtual addresses with a MAC of their own one topology can have."""

# The links between this host and namespaces have link-local addresses (RFC 3927): 80 blocks of 256
# pairs, one block a topology. They end below 169.254.169.254, where clouds serve metadata.
_TRANSIT: Final = int(ipaddress.IPv4Address("169.254.2.0"))
_TRANSIT_BLOCKS: Final = 80


def desired(settings: TopologySettings, backend: Backend) -> list[Desired]:
    """Everything that the file asks for, each once."""
    building = Building(settings, backend)
    building.build()
    once: dict[Key, Desired] = {}
    for one in building.told:
        once.setdefault(one.key, one)
    return list(once.values())


class Building:
    """The topology as it grows, and the firewall's rules of each namespace."""

    def __init__(self, settings: TopologySettings, backend: Backend) -> None:
        self.settings = settings
        self.backend: Backend = backend
        self.told: list[Desired] = []
        self.rules: dict[str, list[Rule]] = {}
        self.sets: dict[str, list[AddressSet]] = {}
        self.marked = 0
        # What is done at the end, when everything stands.
        self.last: list[Desired] = []

    def build(self) -> None:
        """Add everything that the file asks for."""
        settings = self.settings
        forwards = [
            key for key in ("virtual", "gateway2", "tunnels", "vrfs") if getattr(settings, key)
        ]
        if forwards:
            self.told += forwarding("", self.backend, (forwards[0],))
        for name, bridge in settings.bridges.items():
            self.told += _bridge(name, bridge, ("bridges", name))
        for at, virtual in enumerate(settings.virtual):
            self._virtual(virtual, ("virtual", at))
        if settings.gateway1 is not None:
            self.rules.setdefault("", []).extend(_gateway1(settings.gateway1))
        for at, gateway2 in enumerate(settings.gateway2):
            self._gateway2(gateway2, ("gateway2", at))
        segments.add(self)
        vrfs.add(self)
        if settings.tap is not None:
            self._tap(settings.tap, ("tap",))
        for link, offloads in settings.offloads.items():
            for feature, on in offloads:
                if on is not None:
                    origin = ("offloads", link, feature)
                    self.told.append(Wanted(Offload("", link, feature, origin), on))
        for namespace, rules in self.rules.items():
            sets = tuple(self.sets.get(namespace, ()))
            self.told.append(Ruleset(namespace, settings.name, self.backend, tuple(rules), sets))
        self.told += self.last

    def mark(self) -> int:
        """A mark, and routing table, that no other topology on this host has."""
        self.marked += 1
        return mark_base(self.settings.name) | self.marked

    def transit(self, number: int) -> tuple[str, str]:
        """The addresses of this host and of a namespace on the link between them (RFC 3021)."""
        block = zlib.crc32(self.settings.name.encode()) % _TRANSIT_BLOCKS
        first = _TRANSIT + block * 512 + (number & 0xFF) * 2
        return str(ipaddress.IPv4Address(first)), str(ipaddress.IPv4Address(first + 1))

    def up(self, namespace: str, link: str, origin: Origin) -> None:
        """An interface goes up when everything stands."""
        self.last.append(Wanted(LinkSetting(namespace, link, "up", origin), True))

    # --- Virtual addresses ------------------------------------------------------------------------

    def _virtual(self, virtual: VirtualSettings, origin: Origin) -> None:
        for at, text in enumerate(virtual.addresses):
            for address in spread(text):
                here = (*origin, "addresses", at)
                match virtual.style:
                    case "direct":
                        self._direct(virtual, address, here)
                    case "macvlan":
                        self._macvlan(virtual, address, here)
                    case "netns":
                        self._own_namespace(virtual, address, here)

    def _direct(self, virtual: VirtualSettings, address: str, origin: Origin) -> None:
        self.told.append(Address("", virtual.on, f"{address}/32", network=False, origin=origin))
        self.rules.setdefault("", []).extend(_dnat(virtual, address))

    def _macvlan(self, virtual: VirtualSettings, address: str, origin: Origin) -> None:
        name = short("pv", address)
        mac = stable_mac(address)
        self.told.append(Link("", name, "macvlan", parent=virtual.on, mac=mac, origin=origin))
        # Each address is to be found at its own MAC only, and at no other.
        for link in (virtual.on, name):
            self.told.append(Wanted(Sysctl("", f"ipv4/conf/{link}/arp_ignore", origin), "1"))
            self.told.append(Wanted(Sysctl("", f"ipv4/conf/{link}/arp_announce", origin), "2"))
        self.told.append(Wanted(Sysctl("", f"ipv4/conf/{name}/rp_filter", origin), "2"))
        self.told.append(Address("", name, f"{address}/32", network=False, origin=origin))
        self.up("", name, origin)
        # Not by interface: where bridges call iptables (bridge-nf-call-iptables), the destination
        # is rewritten before the frame has left the bridge.
        mark = self._answers_leave_by(Match(destination=address), origin)
        # What this host itself says for the address: a refused port's RST, an echo.
        priority = RULE_PRIORITY + (mark & 0xFF)
        self.told.append(PolicyRule("", priority, mark, source=f"{address}/32", origin=origin))
        for network in self._networks(virtual.on):
            self.last.append(Route("", network, name, table=mark, origin=origin))
        if virtual.gateway is not None:
            self.last.append(
                Route(
                    "",
                    "0.0.0.0/0",
                    name,
                    via=virtual.gateway,
                    table=mark,
                    onlink=True,
                    origin=origin,
                )
            )
        self.rules.setdefault("", []).extend(_dnat(virtual, address))

    def _own_namespace(self, virtual: VirtualSettings, address: str, origin: Origin) -> None:
        space = f"vip-{address}"
        port, transit = short("pp", address), short("pt", address)
        mark = self._answers_leave_by(Match(arriving=transit), origin)
        ours, theirs = self.transit(mark)
        lengths = [ipaddress.ip_network(one).prefixlen for one in self._networks(virtual.on)]
        self.told += [
            Namespace(space, origin),
            Link(
                "",
                port,
                "veth",
                peer="eth0",
                peer_namespace=space,
                peer_mac=stable_mac(address),
                origin=origin,
            ),
            Wanted(LinkSetting("", port, "master", origin), virtual.on),
            Link("", transit, "veth", peer="host", peer_namespace=space, origin=origin),
            *forwarding(space, self.backend, origin, policy=False),
            Wanted(Sysctl("", f"ipv4/conf/{transit}/rp_filter", origin), "2"),
            Address(space, "eth0", f"{address}/{max(lengths, default=24)}", origin=origin),
            Address("", transit, f"{ours}/31", origin=origin),
            Address(space, "host", f"{theirs}/31", origin=origin),
        ]
        for namespace, link in (("", port), ("", transit), (space, "eth0"), (space, "host")):
            self.up(namespace, link, origin)
        self.last.append(Route(space, f"{virtual.to}/32", "host", via=ours, origin=origin))
        if virtual.gateway is not None:
            self.last.append(
                Route(space, "0.0.0.0/0", "eth0", via=virtual.gateway, onlink=True, origin=origin)
            )
        self.rules.setdefault(space, []).extend(_dnat(virtual, address))
        self.last.append(Route("", "0.0.0.0/0", transit, via=theirs, table=mark, origin=origin))

    def _answers_leave_by(self, came: Match, origin: Origin) -> int:
        """Answers on connections whose packets match are routed by the table that is returned."""
        mark = self.mark()
        rules = self.rules.setdefault("", [])
        rules.append(Rule("mark", came, "keep-mark", number=mark))
        rules.append(Rule("mark", Match(reply=True, connection_mark=mark), "give-mark"))
        rule = PolicyRule("", RULE_PRIORITY + (mark & 0xFF), mark, mark=mark, origin=origin)
        self.told.append(rule)
        return mark

    def _networks(self, bridge: str) -> list[str]:
        """The IPv4 networks of a bridge, as the file says."""
        held = self.settings.bridges.get(bridge, BridgeSettings()).addresses
        values = (ipaddress.ip_interface(one) for one in held)
        return [str(one.network) for one in values if one.version == 4]

    # --- Gateways and tap -------------------------------------------------------------------------

    def _gateway2(self, gateway2: Gateway2Settings, origin: Origin) -> None:
        """Answers to connections that gateway2 made in its peers' name come back to its sockets.

        ip(7), IP_TRANSPARENT; Documentation/networking/tproxy.rst in the kernel.
        """
        space = gateway2.namespace or ""
        self.told += forwarding(space, self.backend, origin)
        address, _, port = gateway2.listen.partition(":")
        here = self.rules.setdefault(space, [])
        for network in gateway2.gateway1:
            here.append(Rule("input", _to(address, port, network), "accept"))
        here.append(Rule("input", _to(address, port), "drop"))
        transparent = Match(arriving=gateway2.decoys, protocol="tcp", transparent=True)
        here.append(Rule("mark", transparent, "mark", number=gateway2.mark))
        self.told += [
            PolicyRule(space, RULE_PRIORITY, gateway2.table, mark=gateway2.mark, origin=origin),
            Route(space, "0.0.0.0/0", "lo", table=gateway2.table, local=True, origin=origin),
            Wanted(Sysctl(space, f"ipv4/conf/{gateway2.decoys}/rp_filter", origin), "2"),
        ]

    def _tap(self, tap: TapSettings, origin: Origin) -> None:
        name = tap.name
        self.told += [
            Link("", name, "tap", origin=origin),
            Wanted(LinkSetting("", name, "mtu", (*origin, "mtu")), tap.mtu),
            Wanted(LinkSetting("", name, "arp", origin), False),
            Wanted(LinkSetting("", name, "addrgenmode", origin), "none"),
            Wanted(Sysctl("", f"ipv6/conf/{name}/disable_ipv6", origin), "1"),
            Wanted(Sysctl("", f"ipv6/conf/{name}/forwarding", origin), "0"),
            Wanted(Sysctl("", f"ipv4/conf/{name}/forwarding", origin), "0"),
        ]
        # Whatever arrives there has been seen by the packet sockets; nothing else shall.
        self.rules.setdefault("", []).append(Rule("ingress", Match(arriving=name), "drop"))
        self.up("", name, origin)


# --- Parts ----------------------------------------------------------------------------------------


def forwarding(
    namespace: str, backend: Backend, origin: Origin, *, policy: bool = True
) -> Iterator[Desired]:
    """What a namespace needs to forward; `policy`: whatever iptables' FORWARD chain says."""
    # The kernel changes the one when the other is switched; named first, it is given back last.
    yield Wanted(Sysctl(namespace, "ipv4/conf/all/accept_redirects", origin), "0")
    yield Wanted(Sysctl(namespace, "ipv4/ip_forward", origin), "1")
    if policy:
        yield Wanted(ForwardPolicy(namespace, backend, origin), "ACCEPT")


def _bridge(name: str, bridge: BridgeSettings, origin: Origin) -> Iterator[Desired]:
    yield Link("", name, "bridge", origin=origin)
    if bridge.mtu is not None:
        yield Wanted(LinkSetting("", name, "mtu", (*origin, "mtu")), bridge.mtu)
    for at, port in enumerate(bridge.ports):
        here = (*origin, "ports", at)
        yield Wanted(LinkSetting("", port, "master", here), name)
        yield Wanted(LinkSetting("", port, "up", here), True)
    yield Wanted(LinkSetting("", name, "up", origin), True)
    for at, address in enumerate(bridge.addresses):
        yield Address("", name, address, origin=(*origin, "addresses", at))
    for at, route in enumerate(bridge.routes):
        yield Route("", route.to, name, via=route.via, origin=(*origin, "routes", at))


def _gateway1(gateway1: Gateway1Settings) -> Iterator[Rule]:
    address, _, port = gateway1.listen.partition(":")
    for network in gateway1.agents:
        yield Rule("input", _to(address, port, network), "accept")
    yield Rule("input", _to(address, port), "drop")


def _to(address: str, port: str, source: str = "") -> Match:
    return Match(destination=address, source=source, protocol="tcp", ports=(port,))


def _dnat(virtual: VirtualSettings, address: str) -> Iterator[Rule]:
    """Rewrite the destination alone: the source stays the attacker's."""
    if not virtual.ports:
        yield Rule("dnat", Match(destination=address), "dnat", virtual.to)
    for protocol in ("tcp", "udp"):
        ports = [one.split("/")[1] for one in virtual.ports if one.startswith(protocol)]
        for several in _chunks(ports, 7):
            match = Match(destination=address, protocol=protocol, ports=tuple(several))
            yield Rule("dnat", match, "dnat", virtual.to)


def _chunks(values: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    """Parts of at most `size`: iptables' multiport takes 15 ports, and counts a range twice."""
    return (values[at : at + size] for at in range(0, len(values), size))
