"""Networks that overlap, as things and rules."""

from __future__ import annotations

from typing import Any

from diversion.setup.desired import desired
from diversion.setup.firewall.rules import Match, Rule
from diversion.setup.settings import TopologySettings
from diversion.setup.things import (
    Address,
    Desired,
    Link,
    LinkSetting,
    PolicyRule,
    Route,
    Ruleset,
    VrfRule,
    Wanted,
)
from diversion.setup.vrfs import PRIORITY

RED: dict[str, Any] = {
    "on": "eth0",
    "addresses": ["10.0.0.1/24"],
    "network": "10.0.0.0/24",
    "mapped": "10.1.0.0/24",
}
BLUE = RED | {"on": "eth1", "mapped": "10.2.0.0/24"}
GREEN = RED | {"on": "eth2", "mapped": "10.3.0.0/24"}


def of(**vrfs: object) -> list[Desired]:
    settings = TopologySettings.model_validate({"name": "host", "vrfs": vrfs})
    return desired(settings, "nftables")


def rules(asked: list[Desired], hook: str) -> list[Rule]:
    [found] = [one.rules for one in asked if isinstance(one, Ruleset)]
    return [rule for rule in found if rule.hook == hook]


def test_a_vrf_has_a_table_of_its_own_that_ends_there() -> None:
    asked = of(red=RED | {"routes": [{"to": "10.5.0.0/16", "via": "10.0.0.9"}]})
    [vrf] = [one for one in asked if isinstance(one, Link)]
    routes = [one for one in asked if isinstance(one, Route)]
    assert {one.table for one in routes} == {vrf.number}
    assert [(one.to, one.via, one.unreachable) for one in routes] == [
        ("0.0.0.0/0", "", True),
        ("10.5.0.0/16", "10.0.0.9", False),
    ]


def test_the_kernels_rule_is_made_before_the_vrf_that_would_bring_it() -> None:
    asked = of(red=RED)
    kinds = [type(one) for one in asked]
    assert kinds.count(VrfRule) == 4
    assert max(at for at, kind in enumerate(kinds) if kind is VrfRule) < kinds.index(Link)


def test_addresses_come_after_the_move_that_would_cost_their_routes() -> None:
    asked = of(red=RED)
    moved = next(at for at, one in enumerate(asked) if one.key[-1] == "master")
    assert moved < next(at for at, one in enumerate(asked) if isinstance(one, Address))


def test_marks_look_the_other_table_up_before_the_rule_for_all_vrfs() -> None:
    asked = of(red=RED, blue=BLUE)
    marks = [one for one in asked if isinstance(one, PolicyRule)]
    assert [one.priority for one in marks] == [PRIORITY + 1, PRIORITY + 2]
    assert max(one.priority for one in marks) < 1000
    assert all(one.mark == one.table for one in marks)
    tables = {one.name: one.number for one in asked if isinstance(one, Link)}
    to_blue, first = rules(asked, "mark")[:2]
    assert to_blue.number == tables["blue"]
    assert (to_blue.match.arriving, to_blue.match.destination) == ("eth0", "10.2.0.0/24")
    assert (first.action, first.number, first.match.reply) == ("keep-mark", tables["red"], False)


def test_each_network_is_mapped_on_its_way_in_and_out() -> None:
    asked = of(red=RED, blue=BLUE)
    assert rules(asked, "dnat")[0] == Rule(
        "dnat",
        Match(arriving="eth0", source="10.0.0.0/24", destination="10.2.0.0/24"),
        "dnat",
        "10.0.0.0/24",
    )
    snat = rules(asked, "snat")[0]
    assert (snat.match.leaving, snat.argument) == ("eth1", "10.1.0.0/24")


def test_every_network_is_a_zone_and_reaches_every_other() -> None:
    asked = of(red=RED, blue=BLUE, green=GREEN)
    zones = [rule.number for rule in rules(asked, "zone")]
    assert len(set(zones)) == 3
    assert all(0 < zone < 65536 for zone in zones)
    ways = {(rule.match.arriving, rule.match.destination) for rule in rules(asked, "dnat")}
    assert len(ways) == 6


def test_a_bridge_may_lead_to_a_network() -> None:
    settings = {"name": "host", "bridges": {"br0": {}}, "vrfs": {"red": RED | {"on": "br0"}}}
    asked = desired(TopologySettings.model_validate(settings), "iptables")
    moves = {
        one.setting.link: one.value
        for one in asked
        if isinstance(one, Wanted)
        and isinstance(one.setting, LinkSetting)
        and one.setting.attribute == "master"
    }
    assert moves == {"br0": "red"}
