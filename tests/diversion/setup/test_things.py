"""What names a thing, and what it stands on."""

from __future__ import annotations

import pytest

from diversion.setup.things import (
    Address,
    Desired,
    ForwardPolicy,
    Key,
    Link,
    LinkSetting,
    Namespace,
    Route,
    Sysctl,
    Wanted,
)
from tests.diversion.setup import samples

GROUND: list[tuple[Desired, set[Key]]] = [
    (Namespace("vip"), set()),
    (Link("", "br1", "bridge"), set()),
    (Link("", "a", "veth", peer="b", peer_namespace="vip"), {("namespace", "vip")}),
    (Link("vip", "v", "vlan", parent="b"), {("namespace", "vip"), ("link", "vip", "b")}),
    (
        Link("vip", "v", "vlan", parent="br1", parent_namespace=""),
        {("namespace", "vip"), ("link", "", "br1")},
    ),
    (Address("vip", "b", "192.0.2.1/24"), {("namespace", "vip"), ("link", "vip", "b")}),
    (Route("", "0.0.0.0/0", "br1"), {("link", "", "br1")}),
    (Wanted(LinkSetting("", "a", "master"), "br1"), {("link", "", "a")}),
    (Wanted(Sysctl("", "ipv4/conf/br1/rp_filter"), "2"), {("link", "", "br1")}),
    (Wanted(Sysctl("", "ipv4/conf/all/rp_filter"), "2"), set()),
    (Wanted(Sysctl("vip", "ipv4/ip_forward"), "1"), {("namespace", "vip")}),
    (Wanted(ForwardPolicy("", "nftables"), "ACCEPT"), set()),
    (samples.ruleset(), {("link", "", "vtap0")}),
]


@pytest.mark.parametrize(("one", "ground"), GROUND, ids=[str(one.key) for one, _ in GROUND])
def test_what_it_stands_on(one: Desired, ground: set[Key]) -> None:
    assert set(one.stands_on) == ground


def test_different_things_have_different_keys() -> None:
    keys = [thing.key for thing, _ in samples.THINGS]
    keys += [setting.key for setting, *_ in samples.SETTINGS]
    assert len(keys) == len(set(keys))


def test_the_place_in_the_file_is_no_part_of_the_value() -> None:
    assert Namespace("vip", ("virtual", 0)) == Namespace("vip")
