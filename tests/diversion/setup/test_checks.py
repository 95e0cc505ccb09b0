"""What only shows when the parts of a file are seen together."""

from __future__ import annotations

from diversion.setup.checks import problems
from diversion.setup.settings import TopologySettings


def found(**sections: object) -> list[str]:
    settings = TopologySettings.model_validate({"name": "host", **sections})
    return [text for _, text in problems(settings)]


BRIDGES = {"br0": {"addresses": ["203.0.113.1/24", "2001:db8::1/64"]}}


def virtual(*addresses: str, style: str = "macvlan") -> dict[str, object]:
    return {"on": "br0", "to": "172.16.23.2", "addresses": list(addresses), "style": style}


def test_what_is_right() -> None:
    several = [virtual("203.0.113.10-203.0.113.20"), virtual("203.0.113.30", style="direct")]
    assert found(bridges=BRIDGES, virtual=several) == []


def test_an_address_is_given_away_once() -> None:
    twice = [virtual("203.0.113.10-203.0.113.20"), virtual("203.0.113.20")]
    assert found(bridges=BRIDGES, virtual=twice) == [
        "203.0.113.20 is virtual address 1 already; take another"
    ]


def test_addresses_with_macs_are_counted_and_direct_ones_are_not() -> None:
    wide = {"br0": {"addresses": ["203.0.0.1/16"]}}
    many = "203.0.1.0-203.0.2.0"
    [text] = found(bridges=wide, virtual=[virtual(many)])
    assert text.startswith("257 addresses with a MAC of their own; at most 255")
    assert found(bridges=wide, virtual=[virtual(many, style="direct")]) == []


def test_two_bridges_do_not_share_a_network() -> None:
    other = BRIDGES | {"br1": {"addresses": ["2001:db8::2/64"]}}
    [text] = found(bridges=other)
    assert text.startswith("2001:db8::/64 overlaps 2001:db8::/64 on br0")


def test_one_namespace_has_a_network_once() -> None:
    legs = [{"on": "b", "addresses": ["10.0.0.1/24"]}, {"on": "b", "addresses": ["10.0.0.2/25"]}]
    assert found(routers=[{"name": "r", "legs": legs}]) == [
        "10.0.0.0/25 overlaps 10.0.0.0/24 on eth0; take another network"
    ]
    tunnel = {"kind": "gre", "local": "10.0.0.1", "remote": "10.0.0.2", "address": "203.0.113.1/32"}
    assert found(bridges=BRIDGES, tunnels={"t0": tunnel}) == [
        "203.0.113.1 is on br0 already; keep one"
    ]
    eth = {
        "eth0": {"on": "b", "addresses": ["10.0.0.1/24"]},
        "eth1": {"on": "b", "addresses": ["10.0.0.9/24", "2001:db8::1/64"]},
    }
    assert found(machines={"m": {"interfaces": eth}}) == [
        "10.0.0.0/24 overlaps 10.0.0.0/24 on eth0; take another network"
    ]


def test_a_namespace_has_one_owner() -> None:
    leg = [{"on": "b", "addresses": ["10.0.0.1/24"]}]
    segment = {"name": "a", "on": "b", "network": "10.0.0.0/24"}
    assert found(
        routers=[{"name": "seg-a", "legs": leg}], segments=[segment], machines={"seg-a": {}}
    ) == [
        "the namespace seg-a is that of a segment already; rename one",
        "the namespace seg-a is that of a segment already; rename one",
    ]


def test_the_pair_of_a_tap_has_names_of_its_own() -> None:
    assert found(tap={"name": "a" * 11, "kind": "veth"}) == []
    [text] = found(tap={"name": "a" * 12, "kind": "veth"})
    assert text.startswith("makes the interface aaaaaaaaaaaa-end, and a name has at most 15")


FRR = {"as": 65001, "router_id": "192.0.2.1", "neighbours": [{"address": "192.0.2.2"}]}


def test_a_vtep_has_its_peers_from_the_file_or_from_frr() -> None:
    vtep = {"on": "br0", "vni": 7, "local": "192.0.2.1"}
    named = vtep | {"peers": ["192.0.2.2"]}
    assert found(vteps={"vx": named}) == []
    assert found(vteps={"vx": vtep}, frr=FRR) == []
    [text] = found(vteps={"vx": vtep})
    assert text.startswith("has no peers")
    [text] = found(vteps={"vx": named}, frr=FRR)
    assert text.startswith("frr finds the peers out")
    [text] = found(bridges=BRIDGES, frr=FRR)
    assert text.startswith("there is no VTEP")


SEGMENT = {"name": "a", "on": "br0", "network": "10.0.0.0/24"}


def test_a_segment_needs_a_network_and_a_listener_of_each_ip_version() -> None:
    both = SEGMENT | {"network": ["10.0.0.0/24", "2001:db8::/64"]}
    shown = {"advertise": [{"addresses": ["2001:db8::5"], "ports": [80]}]}
    assert found(segments=[both | shown]) == []
    for key in ("addresses", "held", "gateway"):
        value = "2001:db8::/64" if key == "held" else "2001:db8::5"
        assert found(segments=[both | {key: [value]}]) == []
        [text] = found(segments=[SEGMENT | {key: [value]}])
        assert text == (
            f"{value} is of IPv6, and the segment has no network of it; name one under network"
        )
    [text] = found(segments=[both | shown | {"listener": "127.0.0.1:7000"}])
    assert text == "there is no listener for IPv6"


def test_a_link_local_address_is_no_virtual_one() -> None:
    one = {"on": "br0", "to": "2001:db8:1::2", "addresses": ["fe80::5"]}
    [text] = found(bridges=BRIDGES, virtual=[one])
    assert text.startswith("fe80::5 is link-local")
