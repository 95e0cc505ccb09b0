"""Links, addresses, routes, rules and what is set on links, by rtnetlink(7) and ethtool's ioctl."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pyroute2.ethtool import Ethtool  # type: ignore[import-untyped]

from diversion.setup.things import (
    ROUTE_PROTOCOL,
    Address,
    Forwarding,
    Link,
    LinkSetting,
    PolicyRule,
    Route,
    RuleFamily,
    Thing,
    Value,
    VrfRule,
)

if TYPE_CHECKING:
    from diversion.setup.machine import Machine

# linux/if.h, linux/if_addr.h, linux/rtnetlink.h, linux/if_link.h
IFF_UP: Final = 0x1
IFF_NOARP: Final = 0x80
_IFA_F_NODAD: Final = 0x02
_IFA_F_NOPREFIXROUTE: Final = 0x200
_RTNH_F_ONLINK: Final = 4
_SCOPE_LINK: Final = 253
_SCOPE_HOST: Final = 254
_RTN_UNICAST: Final = 1
_RTN_LOCAL: Final = 2
_RTN_UNREACHABLE: Final = 7
ADDR_GEN_MODES: Final = {0: "eui64", 1: "none", 2: "stable-privacy", 3: "random"}

# linux/if_tun.h
_TUNSETIFF: Final = 0x400454CA
_TUNSETPERSIST: Final = 0x400454CB
_TUNSETOWNER: Final = 0x400454CC
_TUN_FLAGS: Final = 0x0002 | 0x1000 | 0x4000 | 0x8000  # tap, no packet info, vnet_hdr, exclusive

VXLAN_PORT: Final = 4789


def make(machine: Machine, thing: Thing) -> None:
    """Make a thing; NetlinkError or OSError as the kernel says."""
    match thing:
        case Link():
            _make_link(machine, thing)
        case Address():
            machine.netlink(thing.namespace).addr("add", **_address(machine, thing))
        case Route():
            machine.netlink(thing.namespace).route("add", **_route(machine, thing))
        case PolicyRule():
            machine.netlink(thing.namespace).rule("add", **_rule(thing))
        case VrfRule():
            machine.netlink(thing.namespace).rule("add", **_vrf_rule(thing))
        case Forwarding():
            machine.netlink(thing.namespace).fdb("append", **_forwarding(machine, thing))


def remove(machine: Machine, thing: Thing) -> None:
    """Remove a thing."""
    match thing:
        case Link():
            socket = machine.netlink(thing.namespace)
            socket.link("del", index=machine.link_index(thing.namespace, thing.name))
        case Address():
            machine.netlink(thing.namespace).addr("del", **_address(machine, thing))
        case Route():
            machine.netlink(thing.namespace).route("del", **_route(machine, thing))
        case PolicyRule():
            machine.netlink(thing.namespace).rule("del", **_rule(thing))
        case VrfRule():
            _remove_vrf_rule(machine, thing)
        case Forwarding():
            machine.netlink(thing.namespace).fdb("del", **_forwarding(machine, thing))


# --- Links ----------------------------------------------------------------------------------------


def _make_link(machine: Machine, link: Link) -> None:
    if link.kind == "tap":
        with machine.entered(link.namespace):
            _make_tap(link.name)
    else:
        _add_link(machine, link)
    ends = [(link.namespace, link.name)]
    if link.peer:
        ends.append((link.peer_namespace, link.peer))
    for namespace, name in ends:
        index = machine.link_index(namespace, name)
        machine.netlink(namespace).link("set", index=index, ifalias=link_mark(machine, link))


def link_mark(machine: Machine, link: Link) -> str:
    """The alias of a link; a tap's begins as that of the service's own, which adopts it."""
    return (
        f"peeltap's: made, and deleted, by it ({machine.owner})"
        if link.kind == "tap"
        else (machine.mark)
    )


def _add_link(machine: Machine, link: Link) -> None:
    told: dict[str, Any] = {"ifname": link.name, "kind": link.kind}
    if link.mac:
        told["address"] = link.mac
    home = link.namespace
    opened = -1
    try:
        match link.kind:
            case "veth":
                peer: dict[str, Any] = {"ifname": link.peer}
                if link.peer_mac:
                    peer["address"] = link.peer_mac
                if link.peer_namespace != link.namespace:
                    opened = _open_namespace(link.peer_namespace)
                    peer["net_ns_fd"] = opened
                told["peer"] = peer
            case "macvlan" | "vlan":
                home = link.parents_home
                told["link"] = machine.link_index(home, link.parent)
                if link.kind == "macvlan":
                    told["macvlan_mode"] = "bridge"
                else:
                    told["vlan_id"] = link.number
                if home != link.namespace:
                    opened = _open_namespace(link.namespace)
                    told["net_ns_fd"] = opened
            case "vxlan":
                told |= {"vxlan_id": link.number, "vxlan_local": link.local}
                told |= {"vxlan_port": VXLAN_PORT, "vxlan_learning": int(link.learning)}
                if link.remote:
                    told["vxlan_group"] = link.remote
            case "vrf":
                told["vrf_table"] = link.number
            case "ipip" | "gre":
                told |= {f"{link.kind}_local": link.local, f"{link.kind}_remote": link.remote}
        machine.netlink(home).link("add", **told)
    finally:
        if opened >= 0:
            os.close(opened)


def _open_namespace(name: str) -> int:
    path = f"/run/netns/{name}" if name else "/proc/thread-self/ns/net"
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _make_tap(name: str) -> None:
    """A persistent tap with the virtio-net header, owned by whoever makes it."""
    queue = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.ioctl(queue, _TUNSETIFF, struct.pack("=16sH22x", name.encode(), _TUN_FLAGS))
        except OSError as error:
            # So says the driver where everybody else says EEXIST.
            if error.errno == errno.EBUSY:
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            raise
        # Without an owner any user could open it, and feed it.
        fcntl.ioctl(queue, _TUNSETOWNER, os.geteuid())
        fcntl.ioctl(queue, _TUNSETPERSIST, 1)
    finally:
        os.close(queue)


def link_setting(machine: Machine, setting: LinkSetting) -> Value | None:
    """The value of a link's attribute; None if there is no such link."""
    socket = machine.netlink(setting.namespace)
    found = socket.link_lookup(ifname=setting.link)
    if not found:
        return None
    [message] = socket.get_links(found[0])
    return read_attribute(message, setting.attribute, lambda index: _name(socket, index))


def read_attribute(message: Any, attribute: str, name: Callable[[int], str]) -> Value | None:
    """One attribute out of a RTM_NEWLINK; `name` gives an interface's name by its index."""
    match attribute:
        case "up":
            return bool(message["flags"] & IFF_UP)
        case "arp":
            return not message["flags"] & IFF_NOARP
        case "mtu":
            return int(message.get_attr("IFLA_MTU"))
        case "master":
            master = message.get_attr("IFLA_MASTER")
            return name(master) if master else ""
        case _:
            families = message.get_attr("IFLA_AF_SPEC")
            inet6 = families.get_attr("AF_INET6") if families else None
            mode = inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE") if inet6 else None
            return ADDR_GEN_MODES.get(mode) if mode is not None else None


def _name(socket: Any, index: int) -> str:
    [message] = socket.get_links(index)
    return str(message.get_attr("IFLA_IFNAME"))


def set_link(machine: Machine, setting: LinkSetting, value: Value) -> None:
    """Set a link's attribute."""
    socket = machine.netlink(setting.namespace)
    index = machine.link_index(setting.namespace, setting.link)
    match setting.attribute:
        case "up":
            socket.link("set", index=index, state="up" if value else "down")
        case "arp":
            socket.link("set", index=index, arp=bool(value))
        case "mtu":
            socket.link("set", index=index, mtu=value)
        case "master":
            master = machine.link_index(setting.namespace, str(value)) if value else 0
            socket.link("set", index=index, master=master)
        case "addrgenmode":
            [mode] = [number for number, name in ADDR_GEN_MODES.items() if name == value]
            inet6 = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", mode)]}
            socket.link("set", index=index, IFLA_AF_SPEC={"attrs": [("AF_INET6", inet6)]})


# --- Addresses, routes, rules ---------------------------------------------------------------------


def _address(machine: Machine, thing: Address) -> dict[str, Any]:
    value = ipaddress.ip_interface(thing.address)
    flags = 0 if thing.network else _IFA_F_NOPREFIXROUTE
    if value.version == 6:
        # Duplicate address detection would keep the address unusable for a second.
        flags |= _IFA_F_NODAD
    told: dict[str, Any] = {
        "index": machine.link_index(thing.namespace, thing.link),
        "address": str(value.ip),
        "prefixlen": value.network.prefixlen,
        "proto": ROUTE_PROTOCOL,
    }
    return told | ({"flags": flags} if flags else {})


def _route(machine: Machine, thing: Route) -> dict[str, Any]:
    network = ipaddress.ip_network(thing.to)
    told: dict[str, Any] = {
        "family": 2 if network.version == 4 else 10,
        "dst": str(network),
        "table": thing.table,
        "proto": thing.protocol,
        "type": _RTN_LOCAL if thing.local else _RTN_UNICAST,
    }
    if thing.link:
        told["oif"] = machine.link_index(thing.namespace, thing.link)
    if thing.local:
        told["scope"] = _SCOPE_HOST
    elif thing.unreachable:
        told["type"] = _RTN_UNREACHABLE
    elif not thing.via:
        told["scope"] = _SCOPE_LINK
    if thing.via:
        told["gateway"] = thing.via
    if thing.onlink:
        told["flags"] = _RTNH_F_ONLINK
    if thing.metric:
        told["priority"] = thing.metric
    return told


def _rule(thing: PolicyRule) -> dict[str, Any]:
    told: dict[str, Any] = {
        "family": 2,
        "priority": thing.priority,
        "table": thing.table,
        "protocol": ROUTE_PROTOCOL,
    }
    if thing.mark is not None:
        told |= {"fwmark": thing.mark, "fwmask": thing.mask}
    if thing.arriving:
        told["iifname"] = thing.arriving
    if thing.source:
        address, _, length = thing.source.partition("/")
        told |= {"src": address, "src_len": int(length)}
    return told


# A rule that asks the VRF for its table (linux/fib_rules.h), as the kernel's vrf_fib_rule() has it.
VRF_PREFERENCE: Final = 1000
_RTPROT_KERNEL: Final = 2
_FR_ACT_TO_TBL: Final = 1
# sys/socket.h; linux/rtnetlink.h for those of multicast routing.
RULE_FAMILIES: Final[dict[RuleFamily, int]] = {"inet": 2, "inet6": 10, "ipmr": 128, "ip6mr": 129}


def _vrf_rule(thing: VrfRule) -> dict[str, Any]:
    return {
        "family": RULE_FAMILIES[thing.family],
        "priority": VRF_PREFERENCE,
        "FRA_L3MDEV": 1,
        "FRA_PROTOCOL": _RTPROT_KERNEL,
        "action": _FR_ACT_TO_TBL,
    }


def _remove_vrf_rule(machine: Machine, thing: VrfRule) -> None:
    """Remove it, unless somebody else's VRF lives by it."""
    socket = machine.netlink(thing.namespace)
    if not any(_kind(message) == "vrf" for message in socket.get_links(kind="vrf")):
        socket.rule("del", **_vrf_rule(thing))


def _kind(message: Any) -> str | None:
    info = message.get_attr("IFLA_LINKINFO")
    return info.get_attr("IFLA_INFO_KIND") if info else None


def _forwarding(machine: Machine, thing: Forwarding) -> dict[str, Any]:
    return {
        "ifindex": machine.link_index(thing.namespace, thing.link),
        "lladdr": thing.mac,
        "dst": thing.remote,
    }


# --- Offloads -------------------------------------------------------------------------------------

# ethtool's short names, as people write them, and the kernel's features behind them.
FEATURES: Final = {
    "gro": "rx-gro",
    "gso": "tx-generic-segmentation",
    "tso": "tx-tcp-segmentation",
    "lro": "rx-lro",
}


def offload(link: str, feature: str) -> bool | None:
    """Whether a feature is on; None if there is no such interface or feature."""
    try:
        with Ethtool() as ethtool:
            features = ethtool.get_features(link).features
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            return None
        raise
    one = features.get(FEATURES[feature])
    return None if one is None else bool(one.enable)


def set_offload(link: str, feature: str, on: bool) -> None:
    """Switch a feature on or off."""
    with Ethtool() as ethtool:
        features = ethtool.get_features(link)
        features.features[FEATURES[feature]].enable = on
        ethtool.set_features(link, features)
