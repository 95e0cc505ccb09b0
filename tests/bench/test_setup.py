"""The provisioning bench: both sides make the same, and its table is filled."""

from __future__ import annotations

import pytest

from bench.setup import compare, script, topology
from diversion.setup.desired import desired
from diversion.setup.things import Link, Ruleset
from pipeline import topology_file


def test_both_make_as_many_segments_and_members() -> None:
    asked = desired(topology_file.parse(topology(7, 500), "bench.yaml").settings, "iptables")
    lines = list(script(7, 500))
    assert sum(isinstance(one, Link) and one.kind == "veth" for one in asked) == 7
    assert sum(" type veth " in line for line in lines) == 7
    [rules] = [one for one in asked if isinstance(one, Ruleset)]
    members = {f"ipset add advert {one}" for one in rules.sets[0].members}
    assert members == {line for line in lines if line.startswith("ipset add")}


@pytest.mark.netns
@pytest.mark.tool("iptables", "ipset")
def test_a_small_run_measures_both() -> None:
    told = compare(2, 100)
    assert set(told["measured"]) == {"peeltap setup up", "shell script"}
    for one in told["measured"].values():
        assert min(one.values()) > 0
