"""What the kernel has of what a topology wants: one look, as plain values."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from diversion.setup import SetupError
from diversion.setup.firewall import iptables, nft
from diversion.setup.machine import Machine, reason
from diversion.setup.netlink import RULE_FAMILIES, read_attribute
from diversion.setup.things import (
    Address,
    Desired,
    Forwarding,
    Key,
    Link,
    LinkSetting,
    Namespace,
    PolicyRule,
    Route,
    Ruleset,
    Setting,
    Value,
    VrfRule,
    Wanted,
)

# linux/rtnetlink.h
_RTN_UNICAST = 1
_RTN_LOCAL = 2
_RTN_UNREACHABLE = 7
_RTNH_F_ONLINK = 4


@dataclass
class Observed:
    """Things by key, as the kernel has them, and the values of settings.

    `fingerprints` are of rulesets; `marks` are the aliases of links.
    """

    things: dict[Key, Any] = field(default_factory=dict)
    settings: dict[Key, Value | None] = field(default_factory=dict)
    fingerprints: dict[Key, str] = field(default_factory=dict)
    marks: dict[Key, str] = field(default_factory=dict)
    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def addresses(self, namespace: str) -> list[Address]:
        """All addresses in a namespace, loopback's own left out."""
        return [
            one
            for one in self.things.values()
            if isinstance(one, Address) and one.namespace == namespace and one.link != "lo"
        ]

    def routes_out_of(self, namespace: str, link: str) -> list[Route]:
        """The routes out of a link that somebody set."""
        return [
            one
            for one in self.things.values()
            if isinstance(one, Route) and (one.namespace, one.link) == (namespace, link)
        ]


def observe(machine: Machine, desired: Iterable[Desired], also: Iterable[Setting] = ()) -> Observed:
    """Look at everything that `desired` touches, and at the settings in `also`.

    Raises SetupError where the kernel says no.
    """
    try:
        return _observe(machine, desired, also)
    except (NetlinkError, OSError) as error:
        raise SetupError(f"the network cannot be looked at: {reason(error)}") from error


def _observe(machine: Machine, desired: Iterable[Desired], also: Iterable[Setting]) -> Observed:
    found = Observed()
    wanted = list(desired)
    settings = [one.setting for one in wanted if isinstance(one, Wanted)] + list(also)
    spaces = {_home(one) for one in wanted} | {one.namespace for one in settings}
    for namespace in sorted(spaces):
        if machine.has(namespace):
            look(machine, namespace, found)
    for one in wanted:
        if isinstance(one, Namespace) and machine.has(one.name):
            found.things[one.key] = one
        if isinstance(one, VrfRule) and machine.has(one.namespace):
            _look_for_vrf_rule(machine, one, found)
        if isinstance(one, Ruleset) and machine.has(one.namespace):
            backend = nft if one.backend == "nftables" else iptables
            seen = backend.fingerprint(machine.run, one.namespace, one.name)
            if seen is not None:
                found.fingerprints[one.key] = seen
            if one.backend == "iptables":
                found.tables[one.namespace] = iptables.tables(machine.run, one.namespace)
    for setting in settings:
        if not isinstance(setting, LinkSetting) and setting.key not in found.settings:
            found.settings[setting.key] = machine.read(setting)
    return found


def _home(one: Desired) -> str:
    if isinstance(one, Wanted):
        return one.setting.namespace
    return "" if isinstance(one, Namespace) else one.namespace


def look(machine: Machine, namespace: str, found: Observed) -> None:
    """Add all links, addresses, routes and rules of a namespace."""
    netlink = machine.netlink(namespace)
    links = {message["index"]: message for message in netlink.get_links()}
    names = {index: str(message.get_attr("IFLA_IFNAME")) for index, message in links.items()}
    for message in links.values():
        link = _link(namespace, message, names)
        found.things[link.key] = link
        found.marks[link.key] = message.get_attr("IFLA_IFALIAS") or ""
        for attribute in ("up", "mtu", "master", "arp", "addrgenmode"):
            setting = LinkSetting(namespace, link.name, attribute)
            found.settings[setting.key] = read_attribute(message, attribute, names.__getitem__)
        if link.kind == "vxlan":
            _look_at_forwarding(netlink, namespace, link.name, message["index"], found)
    for message in netlink.get_addr():
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        one = Address(namespace, names[message["index"]], f"{text}/{message['prefixlen']}")
        found.things[one.key] = one
    for message in netlink.get_routes():
        route = _route(namespace, message, names)
        if route is not None:
            found.things[route.key] = route
    for message in netlink.get_rules(family=socket.AF_INET):
        rule = _rule(namespace, message)
        found.things[rule.key] = rule


def _look_for_vrf_rule(machine: Machine, wanted: VrfRule, found: Observed) -> None:
    family = RULE_FAMILIES[wanted.family]
    try:
        rules = list(machine.netlink(wanted.namespace).get_rules(family=family))
    except NetlinkError as error:
        if error.code not in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
            raise
        # A kernel without the family has no such rules, and needs none.
        found.things[wanted.key] = wanted
        return
    if any(message.get_attr("FRA_L3MDEV") for message in rules):
        found.things[wanted.key] = wanted


def _link(namespace: str, message: Any, names: dict[int, str]) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") if info else None) or "hardware"
    data = info.get_attr("IFLA_INFO_DATA") if info else None
    elsewhere = message.get_attr("IFLA_LINK_NETNSID") is not None
    lower = message.get_attr("IFLA_LINK")
    number = None
    local = remote = ""
    if data is not None:
        match kind:
            case "vlan":
                number = data.get_attr("IFLA_VLAN_ID")
            case "vxlan":
                number = data.get_attr("IFLA_VXLAN_ID")
                local = data.get_attr("IFLA_VXLAN_LOCAL") or ""
            case "vrf":
                number = data.get_attr("IFLA_VRF_TABLE")
    return Link(
        namespace,
        str(message.get_attr("IFLA_IFNAME")),
        "tap" if kind == "tun" else kind,
        parent="" if elsewhere or not lower else names.get(lower, ""),
        number=number,
        local=local,
        remote=remote,
    )


def _route(namespace: str, message: Any, names: dict[int, str]) -> Route | None:
    """A unicast, local or unreachable route that somebody set; the kernel's own are left out."""
    local = message["type"] == _RTN_LOCAL
    unreachable = message["type"] == _RTN_UNREACHABLE
    # RTPROT_KERNEL
    if message["proto"] == 2 or message["type"] not in (_RTN_UNICAST, _RTN_LOCAL, _RTN_UNREACHABLE):
        return None
    version = 4 if message["family"] == socket.AF_INET else 6
    every = "0.0.0.0" if version == 4 else "::"  # noqa: S104
    to = f"{message.get_attr('RTA_DST') or every}/{message['dst_len']}"
    return Route(
        namespace,
        str(ipaddress.ip_network(to)),
        names.get(message.get_attr("RTA_OIF") or 0, ""),
        via=message.get_attr("RTA_GATEWAY") or "",
        table=message.get_attr("RTA_TABLE") or message["table"],
        local=local,
        unreachable=unreachable,
        onlink=bool(message["flags"] & _RTNH_F_ONLINK),
        metric=message.get_attr("RTA_PRIORITY") or 0 if version == 4 else 0,
        protocol=message["proto"],
    )


def _rule(namespace: str, message: Any) -> PolicyRule:
    mark = message.get_attr("FRA_FWMARK")
    source = message.get_attr("FRA_SRC")
    return PolicyRule(
        namespace,
        message.get_attr("FRA_PRIORITY") or 0,
        message.get_attr("FRA_TABLE") or message["table"],
        mark=mark,
        mask=message.get_attr("FRA_FWMASK") or 0xFFFFFFFF,
        arriving=message.get_attr("FRA_IIFNAME") or "",
        source=f"{source}/{message['src_len']}" if source else "",
    )


def _look_at_forwarding(
    netlink: Any, namespace: str, link: str, index: int, found: Observed
) -> None:
    for message in netlink.fdb("dump", ifindex=index):
        remote = message.get_attr("NDA_DST")
        if remote:
            one = Forwarding(namespace, link, str(message.get_attr("NDA_LLADDR")), str(remote))
            found.things[one.key] = one
