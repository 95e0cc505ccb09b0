"""A topology whose journal is lost: found by its marks, on both back ends."""

from __future__ import annotations

import json

import pytest

from diversion.setup.machine import Machine
from diversion.setup.names import mark_base
from diversion.setup.observed import Observed
from diversion.setup.steps import Remove
from diversion.setup.sweep import _inside
from diversion.setup.things import Route
from tests.support.plumbing import plumbed

FILE = """
name: lost
firewall: {backend}
bridges:
  br0: {{addresses: [203.0.113.1/24]}}
  br1: {{addresses: [172.16.23.1/24]}}
virtual:
  - {{on: br0, style: macvlan, addresses: [203.0.113.10], to: 172.16.23.2}}
  - {{on: br0, style: netns, addresses: [203.0.113.30], to: 172.16.23.2}}
segments:
  - name: a
    on: br0
    network: 10.0.0.0/24
    advertise: [{{addresses: [10.0.0.5], ports: [80]}}]
tap: {{}}
"""

SCRIPT = """
import json
from pathlib import Path
from pipeline import setup, topology_file
from tests.support import network_state

file = topology_file.load("{path}")
directory = Path("/run/state")
before = network_state.state()
setup.up(file, directory)
(directory / "lost.journal").unlink()
outcome = setup.down(file, directory)
trace = network_state.differences(before, network_state.state())
print(json.dumps({{"steps": len(outcome.steps), "trace": trace}}))
"""


@pytest.mark.netns
@pytest.mark.tool("nft", "iptables", "ipset")
@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_all_that_carries_a_mark_is_removed(backend: str) -> None:
    with plumbed(vms=0) as host:
        path = host.written("lost.yaml", FILE.format(backend=backend))
        told = json.loads(host.python(SCRIPT.format(path=path)))
    assert told["steps"] > 10
    # What has no mark: sysctls of the host itself, and what the kernel changes with them.
    rest = [one for one in told["trace"] if not one.startswith("/proc/sys/net/ipv4/")]
    assert rest == []


def test_the_route_that_ends_a_vrfs_table_goes_by_the_table() -> None:
    base = mark_base("lost")
    last = Route("", "0.0.0.0/0", "", table=base | 1, unreachable=True)
    others = Route("", "0.0.0.0/0", "", table=7, unreachable=True)
    way = Route("", "10.0.0.0/8", "eth0", table=base | 1)
    seen = Observed({one.key: one for one in (others, way, last)})
    assert list(_inside(Machine("lost"), "", seen)) == [Remove(last)]
