"""What a file asks for, in an order in which it can be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from diversion.setup.desired import desired
from diversion.setup.firewall.rules import Match, Rule
from diversion.setup.settings import TopologySettings
from diversion.setup.things import (
    Desired,
    Directory,
    Link,
    LinkSetting,
    Offload,
    Ownership,
    PolicyRule,
    Route,
    Ruleset,
    Wanted,
)
from pipeline import topology_file

EXAMPLES = sorted((Path(__file__).parents[3] / "fixtures/topologies").glob("*.yaml"))


def of(path: Path) -> list[Desired]:
    return desired(topology_file.load(path).settings, "nftables")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_comes_before_what_it_stands_on(path: Path) -> None:
    asked = of(path)
    made = {one.key for one in asked}
    peers = {("link", one.peer_namespace, one.peer) for one in asked if isinstance(one, Link)}
    there: set[object] = set()
    for one in asked:
        for key in one.stands_on:
            assert key in there or key not in made | peers, (one, key)
        there.add(one.key)
        if isinstance(one, Link) and one.peer:
            there.add(("link", one.peer_namespace, one.peer))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_is_asked_for_twice_and_everything_has_a_place(path: Path) -> None:
    asked = of(path)
    assert len({one.key for one in asked}) == len(asked)
    for one in asked:
        assert one.origin or isinstance(one, Ruleset)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_no_name_is_too_long(path: Path) -> None:
    for one in of(path):
        if isinstance(one, Link):
            assert len(one.name) <= 15
            assert len(one.peer) <= 15


def test_the_firewall_stands_before_interfaces_with_virtual_addresses_go_up() -> None:
    asked = of(EXAMPLES[[path.stem for path in EXAMPLES].index("virtual")])
    firewall = [at for at, one in enumerate(asked) if isinstance(one, Ruleset)]
    ups = [
        at
        for at, one in enumerate(asked)
        if isinstance(one, Wanted)
        and isinstance(one.setting, LinkSetting)
        and one.setting.attribute == "up"
        and one.setting.link.startswith("p")
    ]
    assert max(firewall) < min(ups)


def virtual(name: str = "host", style: str = "macvlan", **more: object) -> list[Desired]:
    one = {"on": "br0", "style": style, "to": "172.16.23.2", "addresses": ["203.0.113.10"]}
    settings = {
        "name": name,
        "bridges": {"br0": {"addresses": ["203.0.113.1/24"]}},
        "virtual": [one | more],
    }
    return desired(TopologySettings.model_validate(settings), "nftables")


def rules(asked: list[Desired]) -> tuple[Rule, ...]:
    [found] = [one.rules for one in asked if isinstance(one, Ruleset)]
    return found


def test_the_source_stays_the_attackers() -> None:
    assert rules(virtual(style="direct")) == (
        Rule("dnat", Match(destination="203.0.113.10"), "dnat", "172.16.23.2"),
    )


def test_many_ports_become_rules_of_a_size_that_iptables_takes() -> None:
    told = rules(virtual(style="direct", ports=[*range(1, 16), "udp/53"]))
    assert [len(one.match.ports) for one in told] == [7, 7, 1, 1]
    assert told[-1].match.protocol == "udp"


def test_answers_leave_by_the_address_they_were_asked_at() -> None:
    asked = virtual(gateway="203.0.113.254")
    tables = {one.table for one in asked if isinstance(one, PolicyRule)}
    [table] = tables
    ways = {(one.to, one.via) for one in asked if isinstance(one, Route) and one.table == table}
    assert ways == {("203.0.113.0/24", ""), ("0.0.0.0/0", "203.0.113.254")}


def test_two_topologies_have_marks_of_their_own() -> None:
    one, other = (
        {rule.table for rule in virtual(name) if isinstance(rule, PolicyRule)}
        for name in ("one", "two")
    )
    assert not one & other


def of_sections(**sections: object) -> list[Desired]:
    settings = TopologySettings.model_validate({"name": "host", **sections})
    return desired(settings, "nftables")


def gateway2(**more: object) -> list[Desired]:
    one = {"listen": "172.16.23.3:9022", "gateway1": ["172.16.23.1/32"]}
    return of_sections(gateway2=[one | more])


def test_gateway2_gets_the_ways_back_that_it_needs() -> None:
    def ways(asked: list[Desired]) -> list[tuple[int | None, str]]:
        return [(one.mark, one.source) for one in asked if isinstance(one, PolicyRule)]

    # Of its own: only who may connect.
    assert ways(gateway2()) == []
    assert {rule.hook for rule in rules(gateway2())} == {"input"}
    # Decoys behind an interface answer through the mark; those beside it by their address.
    assert ways(gateway2(decoys="br1")) == [(0x5054, "")]
    assert ways(gateway2(beside=["192.168.120.2/32"])) == [(None, "192.168.120.2/32")]
    both = gateway2(decoys="br1", beside=["192.168.120.2/32"])
    assert ways(both) == [(0x5054, ""), (None, "192.168.120.2/32")]
    [own] = [one for one in both if isinstance(one, Route)]
    assert (own.to, own.local, own.table) == ("0.0.0.0/0", True, 5054)


def test_a_pair_stands_for_a_tap_and_both_its_ends_are_quiet() -> None:
    asked = of_sections(tap={"kind": "veth"})
    assert Link("", "vtap0", "veth", peer="vtap0-end") in asked
    for name in ("vtap0", "vtap0-end"):
        assert Wanted(LinkSetting("", name, "arp"), False) in asked
        assert Wanted(LinkSetting("", name, "up"), True) in asked
    # What is injected into the one end arrives on the other.
    assert rules(asked) == (Rule("ingress", Match(arriving="vtap0-end"), "drop"),)


def test_suricatas_place() -> None:
    place = {"on": "vtap0", "socket": "/run/suricata", "events": "/var/log/suricata/"}
    asked = of_sections(suricata=place | {"group": "adm", "mode": "750"})
    off = [one for one in asked if isinstance(one, Wanted) and isinstance(one.setting, Offload)]
    assert {(one.setting.link, one.value) for one in off} == {("vtap0", False)}  # type: ignore[union-attr]
    assert off[-1].setting.key[-1] == "sg"
    assert [one for one in asked if isinstance(one, Directory)] == [
        Directory("/run/suricata"),
        Directory("/var/log/suricata"),
    ]
    assert Wanted(Ownership("/var/log/suricata"), "root:adm 0750") in asked


def test_an_ipv6_address_has_a_table_of_its_own_version() -> None:
    six = {"to": "2001:db8:23::2", "addresses": ["2001:db8:113::10"], "gateway": "fe80::1"}
    settings = {
        "name": "host",
        "bridges": {"br0": {"addresses": ["203.0.113.1/24", "2001:db8:113::1/64"]}},
        "virtual": [{"on": "br0", **six}],
    }
    asked = desired(TopologySettings.model_validate(settings), "nftables")
    rules_told = [one for one in asked if isinstance(one, PolicyRule)]
    assert {one.version for one in rules_told} == {6}
    [table] = {one.table for one in rules_told}
    ways = {(one.to, one.via) for one in asked if isinstance(one, Route) and one.table == table}
    assert ways == {("2001:db8:113::/64", ""), ("::/0", "fe80::1")}
    values = {one.key: one.value for one in asked if isinstance(one, Wanted)}
    assert values["sysctl", "", "ipv6/conf/all/forwarding"] == "1"
    assert values["sysctl", "", "ipv6/conf/br0/accept_ra"] == "2"
    assert ("sysctl", "", "ipv4/ip_forward") not in values
