"""The picture as text."""

from __future__ import annotations

from diversion.topology.draw import dot, tree
from tests.diversion.topology.pictures import circle, picture


def test_a_tree() -> None:
    assert tree(picture()) == (
        "host\n"
        "└── br0 (bridge)  192.0.2.1/24\n"
        "    └── + p0 (veth) ═ eth0 in vip\n"
        "namespace vip\n"
        '└── - eth0 (veth) ═ p0 in host  a "quoted" <detail>\n'
        "    └── ~ v5 (vlan)  id 5\n"
    )


def test_dot_names_every_node_and_edge() -> None:
    text = dot(picture())
    assert text.count(" -- ") == 3
    assert 'label="namespace vip"' in text
    assert r"a \"quoted\" <detail>" in text
    assert "color=darkgreen" in text


def test_a_circle_ends() -> None:
    assert tree(circle()) == "host\n"
