"""A topology file's mistakes: each with file, line, key and remedy, before anything is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.topology_file import load, parse

EXAMPLES = sorted((Path(__file__).parents[2] / "fixtures/topologies").glob("*.yaml"))

BRIDGES = "name: host\nbridges:\n  br0: {addresses: [203.0.113.1/24]}\n"
VIRTUAL = BRIDGES + "virtual:\n  - {on: br0, to: 172.16.23.2, "
VRFS = "name: host\nvrfs:\n  red: {on: eth0, network: 10.0.0.0/24, mapped: 10.9.0.0/24}\n"
BLUE = VRFS + "  blue: {on: eth1, network: 10.0.0.0/24, "
SEGMENT = BRIDGES + "segments:\n  - {name: a, on: br0, network: 10.0.0.0/24, "

MISTAKES = [
    (
        BLUE + "mapped: 10.9.0.0/16}",
        "t.yaml:4: vrfs.blue: network 10.0.0.0/24 and mapped 10.9.0.0/16 differ in length; "
        "write mapped: 10.9.0.0/24, or another",
    ),
    (
        BLUE + "mapped: 10.0.0.0/24}",
        "t.yaml:4: vrfs.blue: mapped 10.0.0.0/24 overlaps network 10.0.0.0/24; take another",
    ),
    (
        VRFS + "  blue: {on: eth1, network: 10.9.0.0/24, mapped: 10.8.0.0/24}",
        "t.yaml:3: vrfs.red.mapped: 10.9.0.0/24 overlaps the network 10.9.0.0/24 of blue",
    ),
    (
        BLUE + "mapped: 10.8.0.0/24}\n  x: {on: eth2, network: 10.1.0.0/24, mapped: 10.9.0.0/24}",
        "t.yaml:5: vrfs.x.mapped: 10.9.0.0/24 overlaps 10.9.0.0/24 of red; with more than two",
    ),
    (
        VRFS + "  blue: {on: eth0, network: 10.0.0.0/24, mapped: 10.9.0.0/24}",
        "t.yaml:4: vrfs.blue.on: eth0 is in the VRF red already",
    ),
    (
        VRFS + "bridges: {br0: {ports: [eth0]}}",
        "t.yaml:3: vrfs.red.on: eth0 is a port of br0; name the bridge instead",
    ),
    (
        VRFS + "bridges: {eth0: {addresses: [10.0.0.1/24]}}",
        "t.yaml:3: vrfs.red.addresses: the addresses of eth0 are its VRF's; move them here",
    ),
    (VRFS + "bridges: {red: {}}", "t.yaml:3: vrfs.red: red is one of the file's bridges already"),
    ("", "t.yaml:1: name: missing; what this topology is called"),
    ("[]", "t.yaml:1: must be a mapping of keys to values, not a list"),
    ("name: host", "t.yaml:1: asks for nothing"),
    ("name: Host\nbridges: {}", "t.yaml:1: name: 'Host' cannot be a topology's name"),
    ("name: host\nbridgs: {}", "t.yaml:2: bridgs: unknown key; did you mean bridges?"),
    (
        "name: host\nbridges:\n  br0: {adresses: []}",
        "t.yaml:3: bridges.br0.adresses: unknown key; did you mean addresses?",
    ),
    (
        "name: host\nbridges:\n  a-name-that-is-too-long: {}",
        "t.yaml:3: bridges.a-name-that-is-too-long: 'a-name-that-is-too-long' has 23 characters",
    ),
    (
        "name: host\nbridges:\n  br0: {addresses: [192.0.2.1]}",
        "t.yaml:3: bridges.br0.addresses[0]: '192.0.2.1' has no prefix length; write 192.0.2.1/24",
    ),
    (
        BRIDGES + "  br1: {addresses: [203.0.113.129/25]}",
        "t.yaml:4: bridges.br1.addresses[0]: 203.0.113.128/25 overlaps 203.0.113.0/24 on br0",
    ),
    (
        BRIDGES + "  br1: {addresses: [203.0.113.1/32]}",
        "t.yaml:4: bridges.br1.addresses[0]: 203.0.113.1 is on br0 already; keep one",
    ),
    (
        "name: host\nbridges:\n  br0: {ports: [eth0]}\n  br1: {ports: [eth0]}",
        "t.yaml:4: bridges.br1.ports[0]: eth0 is a port of br0 already",
    ),
    (
        VIRTUAL + "addresses: [203.0.113.20-203.0.113.10]}",
        "t.yaml:5: virtual[0].addresses[0]: '203.0.113.20-203.0.113.10' runs backwards",
    ),
    (
        VIRTUAL + "addresses: [203.0.113.9], ports: [8010-8000]}",
        "t.yaml:5: virtual[0].ports[0]: the port range '8010-8000' runs backwards; write 8000-8010",
    ),
    (
        VIRTUAL + "addresses: [203.0.113.9], ports: [70000]}",
        "t.yaml:5: virtual[0].ports[0]: '70000' is no port; allowed: 1 to 65535",
    ),
    (
        VIRTUAL + "addresses: [203.0.113.9], ports: [sctp/80]}",
        "'sctp' is no protocol; allowed: tcp, udp",
    ),
    (
        VIRTUAL + "addresses: [203.0.113.1]}",
        "t.yaml:5: virtual[0].addresses[0]: 203.0.113.1 is an address of br0 already",
    ),
    (
        VIRTUAL + "addresses: [198.51.100.1]}",
        "t.yaml:5: virtual[0].addresses[0]: 198.51.100.1 is not in the network of br0",
    ),
    (
        VIRTUAL + "style: ipvlan, addresses: [203.0.113.9]}",
        "t.yaml:5: virtual[0].style: 'ipvlan' is not allowed; allowed: direct, macvlan, netns",
    ),
    (
        "name: a\nbridges: {}\nvirtual: [{on: br9, to: 10.0.0.1, addresses: [10.0.0.2]}]",
        "t.yaml:3: virtual[0].on: br9 is none of the file's bridges: none",
    ),
    (SEGMENT + "vlan: 5000}", "t.yaml:5: segments[0].vlan: 5000 is too large; at most 4094"),
    (
        SEGMENT + "held: [10.0.0.1/24]}",
        "t.yaml:5: segments[0].held[0]: '10.0.0.1/24' has bits below its prefix; the network is "
        "10.0.0.0/24",
    ),
    (
        SEGMENT + "advertise: [{addresses: [10.0.0.5], ports: [udp/53]}]}",
        "segments[0].advertise[0].ports[0]: 'udp/53': the agent accepts TCP only",
    ),
    (
        "name: a\ntunnels:\n  t0: {kind: gre, vni: 5, local: 10.0.0.1, remote: 10.0.0.2, "
        "address: 10.1.0.1/24}",
        "t.yaml:3: tunnels.t0: vni is needed for a vxlan, and has no meaning for another tunnel",
    ),
    ("name: a\ntap: {name: vtap0, mtu: 1}", "t.yaml:2: tap.mtu: 1 is too small; at least 68"),
    ("name: a\nname: b\ntap: {}", "t.yaml:2: name: given twice, first in line 1"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[row[1][:60] for row in MISTAKES])
def test_a_mistake_is_told_with_its_place_and_what_helps(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text, "t.yaml")
    assert message in str(refused.value)


def test_all_mistakes_are_told_at_once_in_the_files_order() -> None:
    with pytest.raises(ConfigError) as refused:
        parse("name: host\nbridges:\n  br0: {mtu: 1}\ntap: {mtu: 2}\nfoo: 1", "t.yaml")
    assert [line.split(": ")[0] for line in refused.value.lines] == [
        "t.yaml:3",
        "t.yaml:4",
        "t.yaml:5",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_right(path: Path) -> None:
    assert load(path).settings.name


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")
