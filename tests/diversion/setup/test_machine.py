"""Steps on a real kernel: there, gone, and borne where they were done already."""

from __future__ import annotations

import errno
import json

import pytest

from diversion.setup import SetupError
from diversion.setup.machine import Machine
from diversion.setup.netlink import link_mark
from diversion.setup.steps import Make
from diversion.setup.things import Link, Namespace, Thing
from tap.device import MARK
from tests.support.plumbing import plumbed

# Runs inside the host's namespaces, where /run is the laboratory's own.
SCRIPT = """
import json
from diversion.setup import SetupError
from diversion.setup.machine import NAMED, Machine
from diversion.setup.observed import observe
from diversion.setup.plan import difference
from diversion.setup.steps import Make, Remove, Set
from diversion.setup.things import *

THINGS = [
    Namespace("vip"),
    Link("", "br1", "bridge"),
    Link("", "a", "veth", peer="b", peer_namespace="vip", peer_mac="02:50:00:00:00:01"),
    Link("", "m", "macvlan", parent="br1", mac="02:50:00:00:00:02"),
    Link("", "x", "vxlan", number=77, local="192.0.2.1", learning=False),
    Link("", "vtap9", "tap"),
    Address("", "br1", "192.0.2.1/24"),
    Address("vip", "b", "192.0.2.9/32", network=False),
    Address("", "br1", "2001:db8::1/64"),
    Forwarding("", "x", "00:00:00:00:00:00", "192.0.2.2"),
    Forwarding("", "x", "00:00:00:00:00:00", "192.0.2.3"),
    Route("vip", "10.0.0.0/16", "lo", local=True),
    Route("vip", "2001:db8:9::/64", "lo", local=True),
    PolicyRule("", 20002, 7, mark=6, version=6),
    PolicyRule("", 20000, 7, mark=5, mask=0xFF),
    PolicyRule("", 20001, 7, source="192.0.2.1/32"),
]
SETTINGS = [
    Set(LinkSetting("", "br1", "up"), True, False),
    Set(LinkSetting("", "a", "master"), "br1", ""),
    Set(LinkSetting("", "a", "learning"), False, True),
    Set(LinkSetting("", "a", "neigh_suppress"), True, False),
    Set(LinkSetting("", "a", "mtu"), 1400, 1500),
    Set(LinkSetting("", "vtap9", "arp"), False, True),
    Set(LinkSetting("", "vtap9", "addrgenmode"), "none", "eui64"),
    Set(Sysctl("vip", "ipv4/ip_forward"), "1", "0"),
    Set(Offload("", "br1", "gro"), False, True),
]
# Neighbours are forgotten when a bridge takes its first port's MAC.
LATE = [
    Route("", "10.1.0.0/24", "br1", "192.0.2.7"),
    Route("", "0.0.0.0/0", "br1", table=7),
    Neighbour("", "br1", "192.0.2.77", "02:50:c0:00:02:4d"),
    Neighbour("", "br1", "2001:db8::77", "02:50:c0:00:02:4d"),
]
wrong = []

def there(things):
    seen = observe(machine, things)
    found = [seen.things.get(one.key) for one in things]
    return [two is not None and difference(one, two) is None for one, two in zip(things, found)]

with Machine("test") as machine:
    for one in THINGS:
        machine.apply(Make(one))
    for one in SETTINGS:
        if machine.read(one.setting) != one.former:
            wrong.append(f"{one.setting}: was {machine.read(one.setting)!r}")
        machine.apply(one)
        if machine.read(one.setting) != one.value:
            wrong.append(f"{one.setting}: is {machine.read(one.setting)!r}")
    for one in LATE:
        machine.apply(Make(one))
    wrong += [str(one) for one, ok in zip(THINGS + LATE, there(THINGS + LATE)) if not ok]
    marks = observe(machine, THINGS).marks
    told = {str(key): mark for key, mark in marks.items() if mark}
    for one in THINGS + LATE:
        try:
            machine.apply(Make(one))
            # A flooding list takes an entry that it has.
            wrong += [] if isinstance(one, Forwarding) else [f"made twice: {one}"]
        except SetupError as error:
            if not error.was_there:
                wrong.append(f"{one}: {error}")
        machine.apply(Make(one), strict=False)
    for one in reversed(SETTINGS):
        machine.apply(one.inverse)
        if machine.read(one.setting) != one.former:
            wrong.append(f"{one.setting}: did not go back")
    for one in reversed(THINGS + LATE):
        machine.apply(Remove(one), strict=False)
        machine.apply(Remove(one), strict=False)
    wrong += [f"stays: {one}" for one, ok in zip(THINGS + LATE, there(THINGS + LATE)) if ok]
    for step in (Make(Link("", "q", "veth", peer="r", peer_namespace="none")),
                 Make(Address("", "none", "192.0.2.1/24"))):
        try:
            machine.apply(step)
            wrong.append("made on nothing")
        except SetupError as error:
            told[str(step.key)] = str(error)
print(json.dumps({"wrong": wrong, "told": told}))
"""


@pytest.mark.netns
def test_every_kind_of_step_there_and_back() -> None:
    with plumbed(vms=0) as host:
        told = json.loads(host.python(SCRIPT))
    assert told["wrong"] == []
    assert told["told"]["('link', '', 'br1')"] == "peeltap:test"
    assert told["told"]["('link', '', 'vtap9')"] == "peeltap's: made, and deleted, by it (test)"
    assert told["told"]["('address', '', 'none', '192.0.2.1/24')"] == "there is no interface none"


def test_the_alias_of_a_tap_is_the_one_that_the_service_adopts() -> None:
    assert link_mark(Machine("host"), Link("", "vtap0", "tap")).startswith(MARK)


def test_without_root_the_reason_is_told() -> None:
    with pytest.raises(SetupError, match="not permitted; setup needs root"):
        _Forbidden("host").apply(Make(Namespace("vip")))


class _Forbidden(Machine):
    """A machine that is not this user's."""

    def _make(self, thing: Thing) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")
