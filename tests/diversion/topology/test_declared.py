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
