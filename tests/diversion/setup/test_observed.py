"""One look at a kernel: what is there, as the values that a plan compares."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from diversion.setup.machine import Machine
from diversion.setup.observed import Observed, observe
from diversion.setup.things import Address, Route, VrfRule
from tests.support.plumbing import plumbed

SCRIPT = """
import json
from diversion.setup.machine import Machine
from diversion.setup.observed import look, Observed, observe
from diversion.setup.things import Link, LinkSetting, Namespace, Sysctl, Wanted

with Machine("x") as machine:
    seen = Observed()
    look(machine, "", seen)
    absent = [Namespace("none"), Wanted(Sysctl("none", "ipv4/ip_forward"), "1")]
    nothing = observe(machine, absent)
    told = {
        "things": sorted(str(key) for key in seen.things),
        "kinds": {one.name: one.kind for one in seen.things.values() if isinstance(one, Link)},
        "master": seen.settings[LinkSetting("", "eth0", "master").key],
        "addresses": [one.address for one in seen.addresses("")],
        "routes": [one.to for one in seen.routes_out_of("", "br9")],
        "absent": [one.key in nothing.things for one in absent],
        "value": nothing.settings[absent[1].key],
    }
print(json.dumps(told))
"""


@pytest.mark.netns
def test_what_a_person_made_by_hand_is_seen() -> None:
    with plumbed(vms=0) as host:
        for command in (
            "ip link add br9 type bridge",
            "ip link set br9 up",
            "ip link set eth0 master br9",
            "ip address add 192.0.2.1/24 dev br9",
            "ip address add 2001:db8::1/64 dev br9 nodad",
            "ip route add 10.9.0.0/16 via 192.0.2.7",
            "ip rule add fwmark 7 table 77 priority 500",
        ):
            host.host.run(command.split())
        told = json.loads(host.python(SCRIPT))
    assert told["kinds"] == {"lo": "hardware", "eth0": "veth", "br9": "bridge"}
    assert told["master"] == "br9"
    assert {"192.0.2.1/24", "2001:db8::1/64"} <= set(told["addresses"])
    # What the kernel made of the address is no route that somebody set.
    assert told["routes"] == ["10.9.0.0/16"]
    assert "('rule', '', '500', '7', '', '')" in told["things"]
    assert told["absent"] == [False, False]
    assert told["value"] is None


def test_addresses_and_routes_of_one_link() -> None:
    mine, other = Address("", "br0", "192.0.2.1/24"), Address("vip", "br0", "192.0.2.2/24")
    way = Route("", "10.0.0.0/8", "br0")
    seen = Observed({one.key: one for one in (mine, other, way)})
    assert seen.addresses("") == [mine]
    assert seen.routes_out_of("", "br0") == [way]
    assert seen.routes_out_of("", "br1") == []


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        ([], False),
        ([{"FRA_PRIORITY": 0}], False),
        ([{"FRA_PRIORITY": 1000, "FRA_L3MDEV": 1}], True),
        # A kernel without the family has no such rule, and needs none.
        (NetlinkError(errno.EAFNOSUPPORT), True),
    ],
    ids=["none", "others", "the kernel's", "no such family"],
)
def test_the_rule_for_all_vrfs(answer: object, there: bool) -> None:
    rule = VrfRule("", "ipmr")
    found = observe(Paper(answer), [rule])
    assert (rule.key in found.things) is there


class Rule(dict[str, int]):
    """A RTM_NEWRULE of paper."""

    get_attr = dict.get


class Paper(Machine):
    """A machine whose kernel gives one answer to whoever asks for rules of multicast routing."""

    def __init__(self, answer: object) -> None:
        super().__init__("x")
        self.answer = answer

    def netlink(self, namespace: str) -> Any:
        return self

    def get_rules(self, family: int) -> list[Rule]:
        if isinstance(self.answer, Exception) and family == 128:
            raise self.answer
        return [Rule(one) for one in self.answer] if family == 128 else []

    def get_links(self) -> list[Rule]:
        return []

    get_addr = get_routes = get_links
