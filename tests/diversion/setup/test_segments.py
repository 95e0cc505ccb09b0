"""Segments, routers and tunnels, as things."""

from __future__ import annotations

from diversion.setup.desired import desired
from diversion.setup.settings import TopologySettings
from diversion.setup.things import (
    Address,
    Desired,
    Link,
    Neighbour,
    Route,
    Routing,
    Ruleset,
    Sysctl,
    Wanted,
)


def of(**sections: object) -> list[Desired]:
    settings = TopologySettings.model_validate({"name": "host", **sections})
    return desired(settings, "iptables")


SEGMENT = {"name": "a", "on": "br0", "network": "10.20.0.0/16"}


def test_a_whole_prefix_is_one_route() -> None:
    asked = of(segments=[SEGMENT | {"held": ["10.20.0.0/16"], "gateway": "10.20.0.1"}])
    routes = [one for one in asked if isinstance(one, Route)]
    assert [(one.to, one.local, one.link) for one in routes] == [
        ("10.20.0.0/16", True, "lo"),
        ("10.20.0.0/16", False, "eth0"),
        ("10.20.0.1/32", False, "eth0"),
        ("0.0.0.0/0", False, "eth0"),
    ]
    assert not [one for one in asked if isinstance(one, Address)]


def test_a_vlan_is_an_interface_inside_and_has_the_addresses() -> None:
    asked = of(segments=[SEGMENT | {"vlan": 101, "addresses": ["10.20.0.5-10.20.0.6"]}])
    assert [one.name for one in asked if isinstance(one, Link)] == ["ps-a", "vlan101"]
    assert [(one.link, one.address) for one in asked if isinstance(one, Address)] == [
        ("vlan101", "10.20.0.5/16"),
        ("vlan101", "10.20.0.6/16"),
    ]


def test_fifty_thousand_addresses_with_ports_are_one_set_and_one_rule() -> None:
    shown = [{"addresses": ["10.20.0.0-10.20.1.243"], "ports": ["1000-1099"]}]
    asked = of(segments=[SEGMENT | {"advertise": shown}])
    [ruleset] = [one for one in asked if isinstance(one, Ruleset)]
    assert len(ruleset.sets[0].members) == 50_000
    assert len(ruleset.rules) == 1
    assert ruleset.rules[0].argument == "127.0.0.1:7000"
    [localnet] = [
        one for one in asked if isinstance(one, Wanted) and isinstance(one.setting, Sysctl)
    ]
    assert localnet.setting.key == ("sysctl", "seg-a", "ipv4/conf/eth0/route_localnet")


def test_a_routers_routes_leave_by_the_leg_that_is_their_neighbours() -> None:
    legs = [
        {"on": "br0", "addresses": ["10.2.0.1/24"]},
        {"on": "br1", "addresses": ["172.16.23.3/24"]},
    ]
    routes = [{"to": "0.0.0.0/0", "via": "172.16.23.1"}]
    asked = of(routers=[{"name": "win", "legs": legs, "routes": routes}])
    [way] = [one for one in asked if isinstance(one, Route)]
    assert (way.namespace, way.link) == ("win", "eth1")


def test_the_hosts_own_address_on_a_trunk() -> None:
    asked = of(communication=[{"on": "br0", "vlan": 10, "address": "10.9.0.5/24"}])
    [link] = [one for one in asked if isinstance(one, Link)]
    assert (link.name, link.parent, link.number) == ("br0.10", "br0", 10)


def test_a_tunnel_forwards() -> None:
    tunnel = {
        "kind": "gre",
        "local": "192.0.2.1",
        "remote": "192.0.2.2",
        "address": "10.99.0.1/30",
        "routes": [{"to": "10.3.0.0/24", "via": "10.99.0.2"}],
    }
    asked = of(tunnels={"t0": tunnel})
    assert ("sysctl", "", "ipv4/ip_forward") in {one.key for one in asked}
    assert ("route", "", "254", "False", "10.3.0.0/24", "0") in {one.key for one in asked}


def test_an_ipv6_listener_is_out_of_its_neighbours_reach() -> None:
    both = SEGMENT | {"network": ["10.20.0.0/16", "2001:db8::/64"]}
    shown = [{"addresses": ["10.20.0.5", "2001:db8::5"], "ports": [80]}]
    asked = of(segments=[both | {"advertise": shown}])
    [ruleset] = [one for one in asked if isinstance(one, Ruleset)]
    assert [(one.name, one.version, one.members) for one in ruleset.sets] == [
        ("advert", 4, ("10.20.0.5,tcp:80",)),
        ("adv6", 6, ("2001:db8::5,tcp:80",)),
    ]
    assert [(one.hook, one.action, one.argument) for one in ruleset.rules] == [
        ("dnat", "dnat", "127.0.0.1:7000"),
        ("dnat", "dnat", "[fd70:6565:6c74:6170::1]:7000"),
        ("mark", "drop", ""),
    ]
    [own] = [one for one in asked if isinstance(one, Address)]
    assert (own.link, own.address) == ("lo", "fd70:6565:6c74:6170::1/128")


def test_a_link_local_router_needs_no_way_to_it() -> None:
    asked = of(segments=[SEGMENT | {"network": "2001:db8::/64", "gateway": "fe80::1"}])
    ways = [(one.to, one.via) for one in asked if isinstance(one, Route)]
    assert ways == [("2001:db8::/64", ""), ("::/0", "fe80::1")]


VTEP = {"vx7": {"on": "br0", "vni": 7, "local": "192.0.2.1"}}
FRR = {"as": 65001, "router_id": "192.0.2.1", "neighbours": [{"address": "192.0.2.2"}]}


def test_with_frr_addresses_are_told_and_nothing_is_learned() -> None:
    segment = SEGMENT | {"addresses": ["10.20.0.5-10.20.0.6"]}
    asked = of(segments=[segment], vteps=VTEP, frr=FRR)
    [vtep] = [one for one in asked if isinstance(one, Link) and one.kind == "vxlan"]
    assert not vtep.learning
    flags = {one.key[3]: one.value for one in asked if one.key[:3] == ("link-setting", "", "vx7")}
    assert flags == {"master": "br0", "learning": False, "neigh_suppress": True, "up": True}
    told = [(one.address, one.mac) for one in asked if isinstance(one, Neighbour)]
    assert told == [("10.20.0.5", "02:50:0a:14:00:05"), ("10.20.0.6", "02:50:0a:14:00:05")]
    [pair] = [one for one in asked if isinstance(one, Link) and one.kind == "veth"]
    assert pair.peer_mac == "02:50:0a:14:00:05"
    # All of it stands when it is spoken of, and only neighbours are spoken with.
    assert isinstance(asked[-1], Routing)
    [ruleset] = [one for one in asked if isinstance(one, Ruleset)]
    assert {one.match.ports for one in ruleset.rules} == {("179",)}
    assert [(one.match.source, one.match.version, one.action) for one in ruleset.rules] == [
        ("192.0.2.2", 0, "accept"),
        ("", 4, "drop"),
        ("", 6, "drop"),
    ]


def test_of_very_many_addresses_none_is_told() -> None:
    asked = of(segments=[SEGMENT | {"addresses": ["10.20.0.0-10.20.1.0"]}], vteps=VTEP, frr=FRR)
    assert not [one for one in asked if isinstance(one, Neighbour)]
