"""What a person would have typed for a step: `ip`, `sysctl`, `ethtool`, `nft`, `iptables`, `ipset`.

For reading, and for a host without Peeltap; nothing here is run.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from diversion.setup.firewall import iptables, nft
from diversion.setup.steps import Make, Set, Step
from diversion.setup.things import (
    MAIN_TABLE,
    Address,
    Forwarding,
    ForwardPolicy,
    Link,
    LinkSetting,
    Namespace,
    Offload,
    PolicyRule,
    Route,
    RuleFamily,
    Ruleset,
    Setting,
    Sysctl,
    Thing,
    Value,
    VrfRule,
)

_VRF_RULE: Final = "l3mdev priority 1000 protocol kernel"
_RULES: Final[dict[RuleFamily, str]] = {
    "inet": "{ip} rule",
    "inet6": "{ip} -6 rule",
    "ipmr": "{ip} mrule",
    "ip6mr": "{ip} -6 mrule",
}


def commands(step: Step) -> list[str]:
    """The commands that do what the step does."""
    if isinstance(step, Set):
        return [_setting(step.setting, step.value)]
    return _thing(step.thing, add=isinstance(step, Make))


def _thing(thing: Thing, *, add: bool) -> list[str]:
    verb = "add" if add else "del"
    match thing:
        case Namespace(name):
            return [f"ip netns {verb} {name}"]
        case Link():
            return [_link(thing) if add else f"{_ip(thing.namespace)} link del {thing.name}"]
        case Address():
            flag = "" if thing.network or not add else " noprefixroute"
            where = f"{thing.address} dev {thing.link}"
            return [f"{_ip(thing.namespace)} address {verb} {where}{flag}"]
        case Route():
            return [f"{_ip(thing.namespace)} route {verb} {_route(thing)}"]
        case PolicyRule():
            return [f"{_ip(thing.namespace)} rule {verb} {_rule(thing)}"]
        case VrfRule(namespace, family):
            return [f"{_RULES[family].format(ip=_ip(namespace))} {verb} {_VRF_RULE}"]
        case Forwarding():
            kind = f"{thing.mac} dev {thing.link} dst {thing.remote}"
            # One address may have several entries, as the flooding list's 00:00:00:00:00:00 has.
            inside = f" -n {thing.namespace}" if thing.namespace else ""
            return [f"bridge{inside} fdb {'append' if add else 'del'} {kind}"]
        case Ruleset():
            backend = nft if thing.backend == "nftables" else iptables
            lines = backend.commands(thing) if add else backend.removal_commands(thing)
            return [_within(thing.namespace, line) for line in lines]


def _setting(setting: Setting, value: Value) -> str:
    match setting:
        case LinkSetting(namespace, link, "up"):
            return f"{_ip(namespace)} link set {link} {'up' if value else 'down'}"
        case LinkSetting(namespace, link, "master"):
            return f"{_ip(namespace)} link set {link} " + (
                f"master {value}" if value else "nomaster"
            )
        case LinkSetting(namespace, link, "arp"):
            return f"{_ip(namespace)} link set {link} arp {'on' if value else 'off'}"
        case LinkSetting(namespace, link, attribute):
            return f"{_ip(namespace)} link set {link} {attribute} {value}"
        case Sysctl(namespace, name):
            return _within(namespace, f"sysctl -w net/{name}={value}")
        case Offload(namespace, link, feature):
            return _within(namespace, f"ethtool -K {link} {feature} {'on' if value else 'off'}")
        case ForwardPolicy(namespace):
            return _within(namespace, f"iptables -P FORWARD {value}")
    raise TypeError(setting)


def _ip(namespace: str) -> str:
    return f"ip -n {namespace}" if namespace else "ip"


def _within(namespace: str, command: str) -> str:
    return f"ip netns exec {namespace} {command}" if namespace else command


def _link(link: Link) -> str:
    begin = f"{_ip(link.namespace)} link add {link.name}"
    begin += f" address {link.mac}" if link.mac else ""
    match link.kind:
        case "veth":
            netns = f" netns {link.peer_namespace}" if link.peer_namespace else ""
            mac = f" address {link.peer_mac}" if link.peer_mac else ""
            return f"{begin} type veth peer name {link.peer}{mac}{netns}"
        case "macvlan":
            return f"{begin} link {link.parent} type macvlan mode bridge"
        case "vlan":
            if link.parents_home != link.namespace:
                move = f" netns {link.namespace}" if link.namespace else ""
                home = _ip(link.parents_home)
                begin = f"{home} link add {link.name} link {link.parent}{move}"
                return f"{begin} type vlan id {link.number}"
            return f"{begin} link {link.parent} type vlan id {link.number}"
        case "vxlan":
            learning = "" if link.learning else " nolearning"
            remote = f" remote {link.remote}" if link.remote else ""
            ends = f"local {link.local}{remote} dstport 4789"
            return f"{begin} type vxlan id {link.number} {ends}{learning}"
        case "tap":
            return f"ip tuntap add {link.name} mode tap vnet_hdr"
        case "vrf":
            return f"{begin} type vrf table {link.number}"
        case "ipip" | "gre":
            return f"{begin} type {link.kind} local {link.local} remote {link.remote}"
        case _:
            return f"{begin} type {link.kind}"


def _route(route: Route) -> str:
    words = ["local"] if route.local else ["unreachable"] if route.unreachable else []
    words.append("default" if ipaddress.ip_network(route.to).prefixlen == 0 else route.to)
    words += ["via", route.via] if route.via else []
    words += ["dev", route.link] if route.link else []
    words += ["onlink"] if route.onlink else []
    words += ["table", str(route.table)] if route.table != MAIN_TABLE else []
    words += ["metric", str(route.metric)] if route.metric else []
    words += ["proto", str(route.protocol)]
    return " ".join(words)


def _rule(rule: PolicyRule) -> str:
    words = ["priority", str(rule.priority)]
    words += ["from", rule.source] if rule.source else []
    if rule.mark is not None:
        mask = "" if rule.mask == 0xFFFFFFFF else f"/{rule.mask:#x}"
        words += ["fwmark", f"{rule.mark:#x}{mask}"]
    words += ["iif", rule.arriving] if rule.arriving else []
    return " ".join([*words, "table", str(rule.table)])
