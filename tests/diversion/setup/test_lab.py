"""Machines that are namespaces: their wires, and what is wrong with them."""

from __future__ import annotations

from typing import Any

from diversion.setup.desired import desired
from diversion.setup.lab import problems, way_to
from diversion.setup.settings import TopologySettings
from diversion.setup.things import Address, Desired, Link, LinkSetting, Namespace, Route, Wanted

VM = {
    "interfaces": {
        "eth0": {"on": "br1", "addresses": ["172.16.23.2/24"]},
        "eth1": {"addresses": ["10.0.0.1/24", "2001:db8::1/64"]},
    },
    "loopback": ["192.168.110.2/32"],
    "routes": [{"to": "0.0.0.0/0", "via": "172.16.23.1"}],
    "forwards": True,
}
DECOY = {
    "interfaces": {"eth0": {"to": "vm/eth1", "addresses": ["10.0.0.2/24", "2001:db8::2/64"]}},
    "routes": [{"to": "::/0", "via": "2001:db8::1"}],
    "low_ports": True,
}


def read(**machines: Any) -> TopologySettings:
    return TopologySettings.model_validate(
        {"name": "lab", "bridges": {"br1": {}}, "machines": machines}
    )


def asked() -> list[Desired]:
    return desired(read(decoy=DECOY, vm=VM), "nftables")


def test_a_wire_has_its_ends_in_two_machines_or_on_a_bridge() -> None:
    links = [one for one in asked() if isinstance(one, Link) and one.kind == "veth"]
    assert links == [
        Link("decoy", "eth0", "veth", peer="eth1", peer_namespace="vm"),
        Link("", "pm0-vm", "veth", peer="eth0", peer_namespace="vm"),
    ]
    assert Wanted(LinkSetting("", "pm0-vm", "master"), "br1") in asked()


def test_both_ends_have_their_addresses_and_routes_leave_by_the_neighbours_network() -> None:
    addresses = [one for one in asked() if isinstance(one, Address)]
    assert {(one.namespace, one.link, one.address) for one in addresses} == {
        ("decoy", "eth0", "10.0.0.2/24"),
        ("decoy", "eth0", "2001:db8::2/64"),
        ("vm", "eth0", "172.16.23.2/24"),
        ("vm", "eth1", "10.0.0.1/24"),
        ("vm", "eth1", "2001:db8::1/64"),
        ("vm", "lo", "192.168.110.2/32"),
    }
    routes = [one for one in asked() if isinstance(one, Route)]
    assert routes == [
        Route("decoy", "::/0", "eth0", via="2001:db8::1"),
        Route("vm", "0.0.0.0/0", "eth0", via="172.16.23.1"),
    ]


def test_routes_come_when_every_wire_is_up() -> None:
    told = asked()
    ups = [
        at
        for at, one in enumerate(told)
        if isinstance(one, Wanted)
        and isinstance(one.setting, LinkSetting)
        and one.setting.attribute == "up"
    ]
    routes = [at for at, one in enumerate(told) if isinstance(one, Route)]
    assert max(ups) < min(routes)


def test_what_a_machine_is_told_of_itself() -> None:
    settings = {
        (one.setting.namespace, one.setting.key[-1]): one.value
        for one in asked()
        if isinstance(one, Wanted) and one.key[0] == "sysctl"
    }
    assert settings["vm", "ipv4/ip_forward"] == "1"
    assert settings["vm", "ipv6/conf/all/forwarding"] == "1"
    assert ("decoy", "ipv4/ip_forward") not in settings
    assert settings["decoy", "ipv4/ip_unprivileged_port_start"] == "0"
    assert settings["decoy", "ipv6/conf/default/accept_dad"] == "0"
    assert [one.name for one in asked() if isinstance(one, Namespace)] == ["decoy", "vm"]


def test_the_way_to_a_neighbour() -> None:
    vm = read(vm=VM, decoy=DECOY).machines["vm"]
    assert way_to(vm, "10.0.0.9") == "eth1"
    assert way_to(vm, "2001:db8::9") == "eth1"
    assert way_to(vm, "172.16.23.1") == "eth0"
    assert way_to(vm, "192.0.2.1") is None


def test_what_is_right_has_no_problems() -> None:
    assert list(problems(read(decoy=DECOY, vm=VM))) == []


def test_a_wire_has_two_ends() -> None:
    again = {"interfaces": {"eth0": {"to": "vm/eth1"}}}
    onto_a_bridge = {"interfaces": {"eth0": {"to": "vm/eth0"}}}
    nowhere = {"interfaces": {"eth0": {"to": "vm/eth9"}}}
    found = problems(read(decoy=DECOY, vm=VM, again=again, onto=onto_a_bridge, nowhere=nowhere))
    assert [(place[1], text) for place, text in found] == [
        ("again", "vm/eth1 has its other end already; a wire has two"),
        ("onto", "vm/eth0 has its other end already; a wire has two"),
        ("nowhere", "vm has no interface eth9; name it there, with its addresses"),
    ]
    alone = {"interfaces": {"eth0": {"to": "alone/eth0"}}}
    [(_, text)] = problems(read(alone=alone))
    assert text == "alone/eth0 has its other end already; a wire has two"
