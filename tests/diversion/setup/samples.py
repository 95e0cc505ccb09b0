"""One thing of each kind, one setting of each kind, and a ruleset with every action."""

from __future__ import annotations

from diversion.setup.firewall.rules import AddressSet, Match, Rule
from diversion.setup.things import (
    Address,
    Forwarding,
    ForwardPolicy,
    Link,
    LinkSetting,
    Namespace,
    Offload,
    PolicyRule,
    Route,
    Ruleset,
    Setting,
    Sysctl,
    Thing,
    Value,
    VrfRule,
)

RULES = (
    Rule("zone", Match(arriving="eth0"), "zone", number=7),
    Rule("mark", Match(destination="192.0.2.10"), "keep-mark", number=5),
    Rule("mark", Match(reply=True, connection_mark=5), "give-mark"),
    Rule("mark", Match(arriving="br1", protocol="tcp", transparent=True), "mark", number=9),
    Rule("dnat", Match(destination="192.0.2.10", ports=("22", "8000-8010")), "dnat", "10.0.0.2"),
    Rule(
        "dnat", Match(arriving="eth0", protocol="tcp", advertised="advert"), "dnat", "127.0.0.1:7"
    ),
    Rule("dnat", Match(arriving="eth0", destination="10.9.0.0/24"), "dnat", "10.0.0.0/24"),
    Rule("input", Match(source="192.0.2.0/24", protocol="udp"), "accept"),
    Rule("forward", Match(leaving="eth1"), "drop"),
    Rule("snat", Match(source="10.0.0.2"), "snat", "192.0.2.1"),
    Rule("snat", Match(leaving="eth1", source="10.0.0.0/24"), "snat", "10.9.0.0/24"),
    Rule("snat", Match(leaving="eth0"), "masquerade"),
)
SETS = (AddressSet("advert", tuple(f"192.0.2.{at},tcp:80" for at in range(5))),)


def ruleset(backend: str = "nftables", namespace: str = "") -> Ruleset:
    """Every action and match in one ruleset."""
    rules = (*RULES, Rule("ingress", Match(arriving="vtap0"), "drop"))
    return Ruleset(namespace, "all", backend, rules, SETS)  # type: ignore[arg-type]


THINGS: list[tuple[Thing, list[str]]] = [
    (Namespace("vip"), ["ip netns add vip"]),
    (Link("", "br1", "bridge"), ["ip link add br1 type bridge"]),
    (
        Link("", "a", "veth", peer="b", peer_namespace="vip", peer_mac="02:50:00:00:00:01"),
        ["ip link add a type veth peer name b address 02:50:00:00:00:01 netns vip"],
    ),
    (
        Link("vip", "m", "macvlan", parent="b"),
        ["ip -n vip link add m link b type macvlan mode bridge"],
    ),
    (Link("", "v", "vlan", parent="br1", number=5), ["ip link add v link br1 type vlan id 5"]),
    (
        Link("vip", "v", "vlan", parent="br1", parent_namespace="", number=5),
        ["ip link add v link br1 netns vip type vlan id 5"],
    ),
    (
        Link("", "x", "vxlan", number=77, local="192.0.2.1", remote="192.0.2.2", learning=False),
        ["ip link add x type vxlan id 77 local 192.0.2.1 remote 192.0.2.2 dstport 4789 nolearning"],
    ),
    (Link("", "vtap0", "tap"), ["ip tuntap add vtap0 mode tap vnet_hdr"]),
    (
        Link("", "g", "gre", local="192.0.2.1", remote="192.0.2.2"),
        ["ip link add g type gre local 192.0.2.1 remote 192.0.2.2"],
    ),
    (Link("", "red", "vrf", number=7), ["ip link add red type vrf table 7"]),
    (Address("", "br1", "192.0.2.1/24"), ["ip address add 192.0.2.1/24 dev br1"]),
    (
        Address("vip", "b", "192.0.2.1/32", network=False),
        ["ip -n vip address add 192.0.2.1/32 dev b noprefixroute"],
    ),
    (
        Route("", "0.0.0.0/0", "br1", "192.0.2.9", table=7, onlink=True, metric=3),
        ["ip route add default via 192.0.2.9 dev br1 onlink table 7 metric 3 proto 112"],
    ),
    (
        Route("vip", "10.0.0.0/16", "lo", local=True),
        ["ip -n vip route add local 10.0.0.0/16 dev lo proto 112"],
    ),
    (
        Route("", "0.0.0.0/0", "", table=7, unreachable=True, metric=9),
        ["ip route add unreachable default table 7 metric 9 proto 112"],
    ),
    (VrfRule("", "inet"), ["ip rule add l3mdev priority 1000 protocol kernel"]),
    (VrfRule("vip", "ip6mr"), ["ip -n vip -6 mrule add l3mdev priority 1000 protocol kernel"]),
    (
        PolicyRule("", 20000, 7, mark=5, mask=0xFF, arriving="br1"),
        ["ip rule add priority 20000 fwmark 0x5/0xff iif br1 table 7"],
    ),
    (
        PolicyRule("", 20000, 7, source="192.0.2.10/32"),
        ["ip rule add priority 20000 from 192.0.2.10/32 table 7"],
    ),
    (
        Forwarding("", "x", "00:00:00:00:00:00", "192.0.2.2"),
        ["bridge fdb append 00:00:00:00:00:00 dev x dst 192.0.2.2"],
    ),
]

SETTINGS: list[tuple[Setting, Value, Value, str]] = [
    (LinkSetting("", "br1", "up"), True, False, "ip link set br1 up"),
    (LinkSetting("vip", "b", "master"), "br0", "", "ip -n vip link set b master br0"),
    (LinkSetting("", "b", "master"), "", "br0", "ip link set b nomaster"),
    (LinkSetting("", "vtap0", "arp"), False, True, "ip link set vtap0 arp off"),
    (LinkSetting("", "vtap0", "mtu"), 9000, 1500, "ip link set vtap0 mtu 9000"),
    (
        LinkSetting("", "vtap0", "addrgenmode"),
        "none",
        "eui64",
        "ip link set vtap0 addrgenmode none",
    ),
    (
        Sysctl("vip", "ipv4/ip_forward"),
        "1",
        "0",
        "ip netns exec vip sysctl -w net/ipv4/ip_forward=1",
    ),
    (Offload("", "br1", "gro"), False, True, "ethtool -K br1 gro off"),
    (ForwardPolicy("", "iptables"), "ACCEPT", "DROP", "iptables -P FORWARD ACCEPT"),
]
