"""What `ip` made by hand is found, with the pairs across namespaces."""

from __future__ import annotations

import pytest

from tests.support.plumbing import plumbed

SCRIPT = """
from diversion.topology.discover import discover
from diversion.topology.draw import tree
print(tree(discover()), end="")
"""


@pytest.mark.netns
def test_bridges_pairs_and_what_stands_on_them() -> None:
    with plumbed(vms=0) as host:
        for command in (
            "ip link add br0 type bridge",
            "ip address add 192.0.2.1/24 dev br0",
            "ip link set br0 up",
            "ip link set eth0 master br0",
            "ip link add m0 link br0 type macvlan mode bridge",
            "ip link add x7 type vxlan id 7 local 192.0.2.1 dstport 4789",
            "ip netns add one",
            "ip netns add two",
            # The same indexes in both namespaces: only the kernel's numbers tell them apart.
            "ip link add p1 index 71 type veth peer name eth0 index 9 netns one",
            "ip link add p2 index 72 type veth peer name eth0 index 9 netns two",
            "ip -n one address add 10.0.0.5/24 dev eth0",
            "ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev br0",
        ):
            host.host.run(command.split())
        text = host.python(SCRIPT).decode()
    for line in (
        "├── br0 (bridge)  192.0.2.1/24",
        "│   ├── 192.0.2.7 (neighbour)  02:00:00:00:00:07",
        "│   ├── eth0 (veth)",
        "│   └── m0 (macvlan)  down",
        "p1 (veth) ═ eth0 in one  down",
        "p2 (veth) ═ eth0 in two  down",
        "x7 (vxlan)  vni 7, down",
        "namespace one\n└── eth0 (veth) ═ p1 in host  10.0.0.5/24, down",
        "namespace two\n└── eth0 (veth) ═ p2 in host  down",
    ):
        assert line in text, f"{line} is not in\n{text}"
