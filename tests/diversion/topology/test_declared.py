"""A file's things as a picture, with what would happen to them."""

from __future__ import annotations

from diversion.setup.desired import desired
from diversion.setup.settings import TopologySettings
from diversion.topology.declared import declared
from diversion.topology.draw import tree

SETTINGS = {
    "name": "host",
    "bridges": {"br0": {"addresses": ["192.0.2.1/24"], "ports": ["eth0"]}},
    "virtual": [
        {
            "on": "br0",
            "style": "netns",
            "addresses": ["192.0.2.9"],
            "to": "172.16.23.2",
            "ports": [80],
            "gateway": "192.0.2.254",
        }
    ],
    "gateway1": {"listen": "192.0.2.1:7000", "agents": ["10.0.0.0/8"]},
    "tap": {},
}


def test_everything_is_where_it_will_be() -> None:
    asked = desired(TopologySettings.model_validate(SETTINGS), "nftables")
    new = {one.key: "new" for one in asked if one.key[0] == "link" and one.key[2] != "br0"}
    text = tree(declared(asked, new))  # type: ignore[arg-type]
    for line in (
        "├── br0 (bridge)  192.0.2.1/24",
        "│   ├── eth0 (interface)",
        "│   └── + ppc0000209 (veth) ═ eth0 in vip-192.0.2.9",
        "+ vtap0 (tap)",
        "10.0.0.0/8 to 192.0.2.1:7000: accept",
        "vtap0: all dropped",
        "firewall (nftables)  192.0.2.9:80 to 172.16.23.2",
        "192.0.2.9/24, to 0.0.0.0/0 via 192.0.2.254",
    ):
        assert line in text, line


def test_many_addresses_are_told_as_a_number() -> None:
    segment = {
        "name": "a",
        "on": "br0",
        "network": "10.0.0.0/16",
        "addresses": ["10.0.0.5-10.0.0.24"],
        "advertise": [{"addresses": ["10.0.0.5"], "ports": ["1-100"]}],
    }
    asked = desired(
        TopologySettings.model_validate({"name": "h", "segments": [segment]}), "iptables"
    )
    text = tree(declared(asked))
    assert "10.0.0.7/16, and 17 more" in text
    assert "100 addresses with ports advertised" in text


def test_a_vrf_carries_its_interface() -> None:
    vrf = {"on": "eth0", "network": "10.0.0.0/24", "mapped": "10.9.0.0/24"}
    vrfs = {"red": vrf, "blue": vrf | {"on": "eth1"}}
    asked = desired(TopologySettings.model_validate({"name": "h", "vrfs": vrfs}), "nftables")
    text = tree(declared(asked))
    assert "red (vrf)  table " in text
    assert "└── eth0 (interface)" in text
    assert "10.9.0.0/24 from eth0 to 10.0.0.0/24" in text


def test_suricata_listens_where_it_is_and_a_machine_has_its_own_addresses() -> None:
    settings = {
        "name": "h",
        "tap": {},
        "suricata": {"on": "vtap0", "socket": "/run/suricata", "events": "/var/log/suricata"},
        "machines": {"vm": {"loopback": ["192.168.110.2/32"]}},
    }
    asked = desired(TopologySettings.model_validate(settings), "nftables")
    new = {one.key: "new" for one in asked if one.key[0] in ("link", "directory")}
    text = tree(declared(asked, new))  # type: ignore[arg-type]
    for line in (
        "+ vtap0 (tap)",
        "    └── + Suricata (sensor)  /run/suricata, /var/log/suricata",
        "lo (loopback)  192.168.110.2/32",
    ):
        assert line in text, (line, text)


def test_bgp_is_drawn_with_its_neighbours() -> None:
    settings = {
        "name": "h",
        "bridges": {"seg7": {}},
        "vteps": {"vx7": {"on": "seg7", "vni": 7, "local": "192.0.2.1"}},
        "frr": {"as": 65001, "router_id": "192.0.2.1", "neighbours": [{"address": "192.0.2.2"}]},
    }
    text = tree(declared(desired(TopologySettings.model_validate(settings), "nftables")))
    assert "bgpd (BGP EVPN)  AS 65001, 192.0.2.2, AS 65001" in text
    assert "192.0.2.2 to this host:179: accept" in text
