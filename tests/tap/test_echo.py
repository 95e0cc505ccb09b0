"""Which interfaces lead back into the capture, as a table over one drawn network.

br1 (captured): ports port0, port1        br2: ports out2, b2
port1 -- far   (veth pair)                b2 -- b1p (veth pair; b1p is a port of br1)
vlan5 on br1, mac5 on port0               v1 -- v2 (veth pair, nobody's ports)
out3 -- in4 (veth pair, in4 a port of br4, which has no other)
bond0 with eth1; br1's own master is nobody
"""

from __future__ import annotations

import pytest

from tap.echo import way_back
from tap.links import Link, find


def _network(*rows: tuple[str, str | None, str | None, str | None]) -> dict[int, Link]:
    numbers = {row[0]: at for at, row in enumerate(rows, start=1)}
    return {
        numbers[name]: Link(
            index=numbers[name],
            name=name,
            kind=kind,
            master=numbers.get(master or ""),
            lower=numbers.get(lower or ""),
        )
        for name, kind, master, lower in rows
    }


LINKS = _network(
    ("br1", "bridge", None, None),
    ("port0", "veth", "br1", None),  # its peer is in a guest
    ("port1", "veth", "br1", "far"),
    ("far", "veth", None, "port1"),
    ("br2", "bridge", None, None),
    ("out2", "veth", "br2", None),
    ("b2", "veth", "br2", "b1p"),
    ("b1p", "veth", "br1", "b2"),
    ("vlan5", "vlan", None, "br1"),
    ("mac5", "macvlan", None, "port0"),
    ("v1", "veth", None, "v2"),
    ("v2", "veth", None, "v1"),
    ("out3", "veth", None, "in4"),
    ("in4", "veth", "br4", "out3"),
    ("br4", "bridge", None, None),
    ("bond0", "bond", None, None),
    ("eth1", None, "bond0", None),
    ("mirror", "veth", None, "port2"),
    ("port2", "veth", "br2", "mirror"),
    ("ring1", "veth", "br5", "ring2"),
    ("ring2", "veth", "br5", "ring1"),
    ("br5", "bridge", None, None),
)

REFUSED = [
    ("br1", "it is the interface that is captured"),
    ("port0", "it is a port of br1"),
    ("b1p", "it is a port of br1"),
    ("far", "far -> port1 -> br1"),
    ("br2", "br2 -> b2 -> b1p -> br1"),
    ("b2", "b2 -> b1p -> br1"),
    ("mirror", "mirror -> port2 -> b2 -> b1p -> br1"),
    ("vlan5", "vlan5 -> br1"),
]
ALLOWED = ["v1", "out2", "out3", "br4", "bond0", "eth1", "mac5", "ring1", "br5"]


@pytest.mark.parametrize(("name", "way"), REFUSED)
def test_leads_back(name: str, way: str) -> None:
    sender, capture = find(LINKS, name), find(LINKS, "br1")
    assert sender is not None
    assert capture is not None
    found = way_back(LINKS, sender, capture)
    assert found is not None
    assert way in found


@pytest.mark.parametrize("name", ALLOWED)
def test_leads_elsewhere(name: str) -> None:
    sender, capture = find(LINKS, name), find(LINKS, "br1")
    assert sender is not None
    assert capture is not None
    assert way_back(LINKS, sender, capture) is None


def test_the_bridge_of_a_captured_port() -> None:
    sender, capture = find(LINKS, "bond0"), find(LINKS, "eth1")
    assert sender is not None
    assert capture is not None
    assert way_back(LINKS, sender, capture) == "eth1, which is captured, is a port of it"
