"""What a network consists of, as frozen values: things, which exist or not, and settings.

A thing is made and removed. A setting is always there and has a value; what it had before is
remembered and given back. `key` names either within one host; `stands_on` names the things without
which it cannot be, so that the fall of one tells of the fall of others.

`namespace` is a name as `ip netns` has it, or "" for the network namespace of whoever asks.
`origin` is the place in the topology file, for messages; it is no part of the value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from diversion.setup.firewall.rules import AddressSet, Rule

Key = tuple[str, ...]
Origin = tuple[str | int, ...]

ROUTE_PROTOCOL: Final = 112
"""The owner mark on routes, rules and addresses (rtnetlink(7): free for administrators)."""

MAIN_TABLE: Final = 254

LinkKind = Literal["bridge", "veth", "macvlan", "vlan", "vxlan", "tap", "ipip", "gre", "vrf"]
"""What can be made; what is there may be of any other kind."""


RuleFamily = Literal["inet", "inet6", "ipmr", "ip6mr"]
"""Whose rules of routing: packets', or multicast routing's."""


class _Keyed:
    """What names a value within one host, and what it stands on."""

    _kind: ClassVar[str]
    _named: ClassVar[tuple[str, ...]]

    @property
    def key(self) -> Key:
        """Its kind, and the fields that tell it from others of its kind."""
        return (self._kind, *(str(getattr(self, name)) for name in self._named))

    @property
    def stands_on(self) -> tuple[Key, ...]:
        """The keys of the things without which it cannot be."""
        return self._ground()

    def _ground(self) -> tuple[Key, ...]:
        namespace = str(vars(self)["namespace"])
        link = vars(self).get("link")
        on_link: tuple[Key, ...] = (("link", namespace, link),) if link else ()
        return _inside(namespace) + on_link


@dataclass(frozen=True)
class Namespace(_Keyed):
    """A named network namespace with its loopback up."""

    _kind: ClassVar = "namespace"
    _named: ClassVar = ("name",)

    name: str
    origin: Origin = field(default=(), compare=False)

    def _ground(self) -> tuple[Key, ...]:
        return ()


@dataclass(frozen=True)
class Link(_Keyed):
    """An interface that is made.

    `parent` carries a macvlan or VLAN, in the namespace `parent_namespace` (the link's own unless
    said otherwise); `peer` is the other end of a veth pair; `number` a VLAN id, a VNI or a VRF's
    routing table; `local` and `remote` are a tunnel's addresses.
    """

    _kind: ClassVar = "link"
    _named: ClassVar = ("namespace", "name")

    namespace: str
    name: str
    kind: LinkKind | str
    parent: str = ""
    parent_namespace: str | None = None
    peer: str = ""
    peer_namespace: str = ""
    number: int | None = None
    local: str = ""
    remote: str = ""
    learning: bool = True
    # Hardware addresses of the link and of its peer; the kernel's choice where empty.
    mac: str = ""
    peer_mac: str = ""
    origin: Origin = field(default=(), compare=False)

    def _ground(self) -> tuple[Key, ...]:
        found = _inside(self.namespace)
        if self.parent:
            found += (("link", self.parents_home, self.parent),)
        return found + _inside(self.peer_namespace)

    @property
    def parents_home(self) -> str:
        """The namespace in which the parent is."""
        return self.namespace if self.parent_namespace is None else self.parent_namespace


@dataclass(frozen=True)
class Address(_Keyed):
    """An address with its prefix length, such as 192.0.2.1/24; `network`: with the route to it."""

    _kind: ClassVar = "address"
    _named: ClassVar = ("namespace", "link", "address")

    namespace: str
    link: str
    address: str
    network: bool = True
    origin: Origin = field(default=(), compare=False)


@dataclass(frozen=True)
class Route(_Keyed):
    """A route to a prefix (`to`, 0.0.0.0/0 for all) through `via`, out of `link`.

    `local`: the prefix is this host's own, all of it. `onlink`: `via` is taken to be reachable.
    `unreachable`: it ends here, and `link` is empty.
    """

    _kind: ClassVar = "route"
    _named: ClassVar = ("namespace", "table", "local", "to", "metric")

    namespace: str
    to: str
    link: str
    via: str = ""
    table: int = MAIN_TABLE
    local: bool = False
    onlink: bool = False
    unreachable: bool = False
    metric: int = 0
    protocol: int = ROUTE_PROTOCOL
    origin: Origin = field(default=(), compare=False)


@dataclass(frozen=True)
class PolicyRule(_Keyed):
    """Look `table` up for packets with the mark `mark`, from `source`, arriving on `arriving`."""

    _kind: ClassVar = "rule"
    _named: ClassVar = ("namespace", "priority", "mark", "arriving", "source")

    namespace: str
    priority: int
    table: int
    mark: int | None = None
    mask: int = 0xFFFFFFFF
    arriving: str = ""
    source: str = ""
    origin: Origin = field(default=(), compare=False)


@dataclass(frozen=True)
class VrfRule(_Keyed):
    """Whatever belongs to a VRF is looked up in its table: one rule for all VRFs of a namespace.

    The kernel makes it with the first VRF that a namespace ever has, and never removes it
    (Documentation/networking/vrf.rst); one that is there already it takes for its own. `family` is
    of addresses, or of multicast routing.
    """

    _kind: ClassVar = "vrf-rule"
    _named: ClassVar = ("namespace", "family")

    namespace: str
    family: RuleFamily
    origin: Origin = field(default=(), compare=False)


@dataclass(frozen=True)
class Forwarding(_Keyed):
    """An entry of a bridge's or VXLAN's forwarding table: frames for `mac` go to `remote`."""

    _kind: ClassVar = "forwarding"
    _named: ClassVar = ("namespace", "link", "mac", "remote")

    namespace: str
    link: str
    mac: str
    remote: str
    origin: Origin = field(default=(), compare=False)


@dataclass(frozen=True)
class Ruleset(_Keyed):
    """All firewall rules of one topology in one namespace; `name` is the topology's."""

    _kind: ClassVar = "firewall"
    _named: ClassVar = ("namespace", "name")

    namespace: str
    name: str
    backend: Literal["nftables", "iptables"]
    rules: tuple[Rule, ...]
    sets: tuple[AddressSet, ...] = ()
    # Which of iptables' tables were there before: those that were not go with the ruleset.
    tables_before: tuple[str, ...] = field(default=(), compare=False)
    origin: Origin = field(default=(), compare=False)

    def _ground(self) -> tuple[Key, ...]:
        # A netdev chain goes with its interface.
        devices = {rule.match.arriving for rule in self.rules if rule.hook == "ingress"}
        links = tuple(("link", self.namespace, name) for name in sorted(devices))
        return _inside(self.namespace) + links


@dataclass(frozen=True)
class LinkSetting(_Keyed):
    """`up`, `mtu`, `master` (a name, "" for none), `arp`, or `addrgenmode` of an interface."""

    _kind: ClassVar = "link-setting"
    _named: ClassVar = ("namespace", "link", "attribute")

    namespace: str
    link: str
    attribute: Literal["up", "mtu", "master", "arp", "addrgenmode"]
    origin: Origin = field(default=(), compare=False)


@dataclass(frozen=True)
class Sysctl(_Keyed):
    """A setting below /proc/sys/net; the name's parts are parted by slashes, as sysctl(8) takes."""

    _kind: ClassVar = "sysctl"
    _named: ClassVar = ("namespace", "name")

    namespace: str
    name: str
    origin: Origin = field(default=(), compare=False)

    def _ground(self) -> tuple[Key, ...]:
        parts = self.name.split("/")
        link = parts[2] if parts[1] == "conf" and parts[2] not in ("all", "default") else ""
        on_link: tuple[Key, ...] = (("link", self.namespace, link),) if link else ()
        return _inside(self.namespace) + on_link


@dataclass(frozen=True)
class Offload(_Keyed):
    """A feature of an interface, as `ethtool -k` calls it: true or false."""

    _kind: ClassVar = "offload"
    _named: ClassVar = ("namespace", "link", "feature")

    namespace: str
    link: str
    feature: str
    origin: Origin = field(default=(), compare=False)


@dataclass(frozen=True)
class ForwardPolicy(_Keyed):
    """What iptables' FORWARD chain does with what no rule matches: ACCEPT or DROP."""

    _kind: ClassVar = "forward-policy"
    _named: ClassVar = ("namespace",)

    namespace: str
    backend: Literal["nftables", "iptables"]
    origin: Origin = field(default=(), compare=False)


Thing = Namespace | Link | Address | Route | PolicyRule | VrfRule | Forwarding | Ruleset
Setting = LinkSetting | Sysctl | Offload | ForwardPolicy
Value = str | int | bool


@dataclass(frozen=True)
class Wanted:
    """A setting and the value that it shall have."""

    setting: Setting
    value: Value

    @property
    def key(self) -> Key:
        """The setting's."""
        return self.setting.key

    @property
    def stands_on(self) -> tuple[Key, ...]:
        """The setting's."""
        return self.setting.stands_on

    @property
    def origin(self) -> Origin:
        """The setting's."""
        return self.setting.origin


Desired = Thing | Wanted


def _inside(namespace: str) -> tuple[Key, ...]:
    return (("namespace", namespace),) if namespace else ()
