"""What a topology file asks for, as things and settings in the order of their making.

A thing stands behind what it stands on; the firewall comes before traffic can (interfaces go up
last), and what is asked for twice is there once.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from diversion.setup import lab, segments, vrfs
from diversion.setup.firewall.rules import AddressSet, Match, Rule, version_of
from diversion.setup.names import mark_base, short, space_name, spread, stable_mac
from diversion.setup.settings import (
    BridgeSettings,
    Gateway1Settings,
    Gateway2Settings,
    SuricataPlaceSettings,
    TapSettings,
    TopologySettings,
    VirtualSettings,
)
from diversion.setup.things import (
    Address,
    Desired,
    Directory,
    ForwardPolicy,
    Key,
    Link,
    LinkSetting,
    Namespace,
    Offload,
    Origin,
    Ownership,
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
        # And behind that, what speaks of it to others.
        self.at_the_end: list[Desired] = []

    def build(self) -> None:
        """Add everything that the file asks for."""
        settings = self.settings
        four = [key for key in ("gateway2", "tunnels", "vrfs") if getattr(settings, key)]
        if any(version_of(one.to) == 4 for one in settings.virtual):
            four.insert(0, "virtual")
        if four:
            self.told += forwarding("", self.backend, (four[0],))
        for name, bridge in settings.bridges.items():
            self.told += _bridge(
                name, bridge, ("bridges", name), segments.bridge_mac(settings, name)
            )
        six = [one for one in settings.virtual if version_of(one.to) == 6]
        for one in six:
            # A host that forwards gives up its routers' advertisements unless told otherwise.
            accept = Sysctl("", f"ipv6/conf/{one.on}/accept_ra", ("virtual",))
            self.told.append(Wanted(accept, "2"))
        if six:
            self.told += forwarding("", self.backend, ("virtual",), version=6)
        lab.add(self)
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
        if settings.suricata is not None:
            self.told += _suricata(settings.suricata, ("suricata",))
        for link, offloads in settings.offloads.items():
            for feature, on in offloads:
                if on is not None:
                    origin = ("offloads", link, feature)
                    self.told.append(Wanted(Offload("", link, feature, origin), on))
        for namespace, rules in self.rules.items():
            sets = tuple(self.sets.get(namespace, ()))
            self.told.append(Ruleset(namespace, settings.name, self.backend, tuple(rules), sets))
        self.told += self.last + self.at_the_end

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
        alone = _alone(address)
        self.told.append(Address("", virtual.on, alone, network=False, origin=origin))
        self.rules.setdefault("", []).extend(_dnat(virtual, address))

    def _macvlan(self, virtual: VirtualSettings, address: str, origin: Origin) -> None:
        name, alone, version = short("pv", address), _alone(address), version_of(address)
        mac = stable_mac(address)
        self.told.append(Link("", name, "macvlan", parent=virtual.on, mac=mac, origin=origin))
        if version == 4:
            # Each address is to be found at its own MAC only, and at no other. Of IPv6 that is so
            # by itself: a neighbour is answered by the interface that has the address.
            for link in (virtual.on, name):
                self.told.append(Wanted(Sysctl("", f"ipv4/conf/{link}/arp_ignore", origin), "1"))
                self.told.append(Wanted(Sysctl("", f"ipv4/conf/{link}/arp_announce", origin), "2"))
            self.told.append(Wanted(Sysctl("", f"ipv4/conf/{name}/rp_filter", origin), "2"))
        self.told.append(Address("", name, alone, network=False, origin=origin))
        self.up("", name, origin)
        # Not by interface: where bridges call iptables (bridge-nf-call-iptables), the destination
        # is rewritten before the frame has left the bridge.
        mark = self._answers_leave_by(Match(destination=address), origin, version)
        # What this host itself says for the address: a refused port's RST, an echo.
        priority = RULE_PRIORITY + (mark & 0xFF)
        self.told.append(
            PolicyRule("", priority, mark, source=alone, version=version, origin=origin)
        )
        for network in self._networks(virtual.on, version):
            self.last.append(Route("", network, name, table=mark, origin=origin))
        if virtual.gateway is not None:
            every = segments.EVERYTHING[version]
            way = Route(
                "", every, name, via=virtual.gateway, table=mark, onlink=True, origin=origin
            )
            self.last.append(way)
        self.rules.setdefault("", []).extend(_dnat(virtual, address))

    def _own_namespace(self, virtual: VirtualSettings, address: str, origin: Origin) -> None:
        space, version = space_name(address), version_of(address)
        port, transit = short("pp", address), short("pt", address)
        mark = self._answers_leave_by(Match(arriving=transit), origin, version)
        if version == 4:
            ours, theirs = self.transit(mark)
            between = 31
        else:
            # Link-local addresses are each link's own (RFC 4291, section 2.5.6).
            ours, theirs, between = "fe80::1", "fe80::2", 64
        networks = self._networks(virtual.on, version)
        lengths = [ipaddress.ip_network(one).prefixlen for one in networks]
        length = max(lengths, default=24 if version == 4 else 64)
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
            *forwarding(space, self.backend, origin, policy=False, version=version),
            Address(space, "eth0", f"{address}/{length}", origin=origin),
            Address("", transit, f"{ours}/{between}", network=version == 4, origin=origin),
            Address(space, "host", f"{theirs}/{between}", network=version == 4, origin=origin),
        ]
        if version == 4:
            self.told.append(Wanted(Sysctl("", f"ipv4/conf/{transit}/rp_filter", origin), "2"))
        for namespace, link in (("", port), ("", transit), (space, "eth0"), (space, "host")):
            self.up(namespace, link, origin)
        every = segments.EVERYTHING[version]
        self.last.append(Route(space, _alone(virtual.to), "host", via=ours, origin=origin))
        if virtual.gateway is not None:
            way = Route(space, every, "eth0", via=virtual.gateway, onlink=True, origin=origin)
            self.last.append(way)
        self.rules.setdefault(space, []).extend(_dnat(virtual, address))
        self.last.append(Route("", every, transit, via=theirs, table=mark, origin=origin))

    def _answers_leave_by(self, came: Match, origin: Origin, version: Literal[4, 6]) -> int:
        """Answers on connections whose packets match are routed by the table that is returned."""
        mark = self.mark()
        rules = self.rules.setdefault("", [])
        rules.append(Rule("mark", came, "keep-mark", number=mark))
        rules.append(Rule("mark", Match(reply=True, connection_mark=mark), "give-mark"))
        priority = RULE_PRIORITY + (mark & 0xFF)
        self.told.append(PolicyRule("", priority, mark, mark=mark, version=version, origin=origin))
        return mark

    def _networks(self, bridge: str, version: int) -> list[str]:
        """The networks of a bridge of one IP version, as the file says."""
        held = self.settings.bridges.get(bridge, BridgeSettings()).addresses
        values = (ipaddress.ip_interface(one) for one in held)
        return [str(one.network) for one in values if one.version == version]

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
        table = gateway2.table
        if gateway2.decoys is not None:
            transparent = Match(arriving=gateway2.decoys, protocol="tcp", transparent=True)
            here.append(Rule("mark", transparent, "mark", number=gateway2.mark))
            self.told += [
                PolicyRule(space, RULE_PRIORITY, table, mark=gateway2.mark, origin=origin),
                Wanted(Sysctl(space, f"ipv4/conf/{gateway2.decoys}/rp_filter", origin), "2"),
            ]
        # What a decoy on this machine says passes no hook before it is routed: by its source.
        self.told += [
            PolicyRule(space, RULE_PRIORITY, table, source=network, origin=(*origin, "beside", at))
            for at, network in enumerate(gateway2.beside)
        ]
        if gateway2.decoys is not None or gateway2.beside:
            own = Route(space, "0.0.0.0/0", "lo", table=table, local=True, origin=origin)
            self.told.append(own)

    def _tap(self, tap: TapSettings, origin: Origin) -> None:
        # What is written into a tap arrives on it; into one end of a pair, on the other end.
        paired = tap.kind == "veth"
        ends = [tap.name, *([far_end(tap.name)] if paired else [])]
        peer = ends[-1] if paired else ""
        self.told.append(Link("", tap.name, tap.kind, peer=peer, origin=origin))
        for name in ends:
            self.told += [
                Wanted(LinkSetting("", name, "mtu", (*origin, "mtu")), tap.mtu),
                Wanted(LinkSetting("", name, "arp", origin), False),
                Wanted(LinkSetting("", name, "addrgenmode", origin), "none"),
                Wanted(Sysctl("", f"ipv6/conf/{name}/disable_ipv6", origin), "1"),
                Wanted(Sysctl("", f"ipv6/conf/{name}/forwarding", origin), "0"),
                Wanted(Sysctl("", f"ipv4/conf/{name}/forwarding", origin), "0"),
            ]
            self.up("", name, origin)
        # Whatever arrives there has been seen by the packet sockets; nothing else shall.
        self.rules.setdefault("", []).append(Rule("ingress", Match(arriving=ends[-1]), "drop"))


# --- Parts ----------------------------------------------------------------------------------------


def forwarding(
    namespace: str,
    backend: Backend,
    origin: Origin,
    *,
    policy: bool = True,
    version: Literal[4, 6] = 4,
) -> Iterator[Desired]:
    """What a namespace needs to forward; `policy`: whatever iptables' FORWARD chain says."""
    if version == 4:
        # The kernel changes the one when the other is switched; named first, it is given back last.
        yield Wanted(Sysctl(namespace, "ipv4/conf/all/accept_redirects", origin), "0")
        yield Wanted(Sysctl(namespace, "ipv4/ip_forward", origin), "1")
    else:
        yield Wanted(Sysctl(namespace, "ipv6/conf/all/forwarding", origin), "1")
    if policy:
        yield Wanted(ForwardPolicy(namespace, backend, version, origin), "ACCEPT")


def _alone(address: str) -> str:
    """An address with the length of a single one."""
    return f"{address}/{ipaddress.ip_address(address).max_prefixlen}"


def _bridge(name: str, bridge: BridgeSettings, origin: Origin, mac: str) -> Iterator[Desired]:
    yield Link("", name, "bridge", mac=mac, origin=origin)
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


def far_end(tap: str) -> str:
    """The other end of a pair that stands for a tap."""
    return f"{tap}-end"


def _suricata(place: SuricataPlaceSettings, origin: Origin) -> Iterator[Desired]:
    """Suricata's own words: "ethtool -K IFACE sg off gro off lro off tso off gso off".

    Where they are on it switches them off itself, and on again when it ends. The kernel takes tso
    away with sg, so that sg goes last, and comes back first; both features of it count as sg.
    """
    for feature in ("gro", "lro", "tso", "gso", "tx-scatter-gather-fraglist", "sg"):
        yield Wanted(Offload("", place.on, feature, (*origin, "on")), False)
    for key in ("socket", "events"):
        path = getattr(place, key)
        if path is not None:
            here = (*origin, key)
            yield Directory(path, beside=place.on, origin=here)
            whose = f"{place.user}:{place.group} {place.mode}"
            yield Wanted(Ownership(path, here), whose)


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
