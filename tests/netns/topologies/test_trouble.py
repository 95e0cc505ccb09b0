"""Every example: a failure at a step, or a kill, and nothing is left of it.

Where an example is of one kind of network, a step fails at every one of its steps in turn; the two
that are of all kinds take longer for each, and fail at some.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.plumbing import ROOT, Host, plumbed, with_backend

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft", "iptables", "ipset")]

EXAMPLES = ROOT / "fixtures/topologies"

# Example, back end; a failure at every Nth step, a kill at every Mth.
CASES = [
    ("host-tap", "nftables", 1, 5),
    ("host-tap", "iptables", 3, 7),
    ("proxies", "nftables", 1, 5),
    ("proxies", "iptables", 1, 5),
    ("segments", "nftables", 1, 5),
    ("segments", "iptables", 1, 5),
    ("side-by-side", "nftables", 1, 5),
    ("virtual", "nftables", 1, 6),
    ("virtual", "iptables", 2, 11),
    ("vm-network", "iptables", 3, 11),
    ("vxlan", "nftables", 1, 5),
    ("whole-host", "nftables", 13, 40),
    ("whole-host", "iptables", 17, 50),
    ("demo", "nftables", 17, 50),
    ("ipv6", "nftables", 5, 23),
    ("ipv6", "iptables", 7, 29),
]

# Between two hosts (test_evpn); for want of VRFs, and of 802.1Q, in a virtual machine (tests/vm).
ELSEWHERE = {"evpn", "overlapping", "vlan-segments"}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """One host for all, which each of them has to leave as it was."""
    with plumbed(vms=2) as made:
        made.lab.connect((made.host, "win0", ()), (made.attacker, "win0", ()))
        yield made


@pytest.mark.parametrize(("name", "backend", "fail_every", "kill_every"), CASES)
def test_nothing_is_left(
    host: Host, name: str, backend: str, fail_every: int, kill_every: int
) -> None:
    text = with_backend(EXAMPLES / f"{name}.yaml", backend)
    # Sets of ten thousands of elements are no other step than sets of some.
    text = text.replace("10.20.129.243", "10.20.128.3")
    topology = host.written(f"{name}.yaml", text)
    told = host.setup("trouble", topology, None, fail_every, kill_every)
    assert told["steps"] > 10
    assert told["trace"] == []


def test_every_example_is_tried() -> None:
    tried = {name for name, *_ in CASES}
    assert tried | ELSEWHERE == {path.stem for path in EXAMPLES.glob("*.yaml")}
