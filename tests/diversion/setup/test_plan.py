"""From what is to what shall be: tables of desired x observed -> steps."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from diversion.setup.journal import Entry
from diversion.setup.observed import Observed
from diversion.setup.plan import Plan, PlanError, plan
from diversion.setup.steps import Make, Remove, Set, Step
from diversion.setup.things import (
    Address,
    Desired,
    Key,
    Link,
    LinkSetting,
    Namespace,
    Route,
    Ruleset,
    Sysctl,
    Value,
    Wanted,
)

BR1 = Link("", "br1", "bridge", origin=("bridges", "br1"))
UP = LinkSetting("", "br1", "up")
HOME = Address("", "br1", "172.16.23.1/24", origin=("bridges", "br1", "addresses", 0))
FORWARD = Sysctl("", "ipv4/ip_forward")
PORT = LinkSetting("", "eth0", "master", origin=("bridges", "br1", "ports", 0))
ETH0 = Link("", "eth0", "hardware")
SPACE = Namespace("vip")
INSIDE = Link("vip", "eth0", "macvlan", parent="br1", parent_namespace="")
IN_ADDRESS = Address("vip", "eth0", "192.0.2.1/24")
RULES = Ruleset("", "host", "nftables", ())


def seen(*things: object, **settings: Value) -> Observed:
    observed = Observed()
    for one in things:
        observed.things[one.key] = one  # type: ignore[attr-defined]
    return observed


def planned(
    desired: Sequence[Desired],
    observed: Observed,
    journal: Sequence[Step] = (),
    prints: dict[Key, str] | None = None,
    *,
    cut_me_off: bool = False,
) -> Plan:
    entries = {at: Entry(at, step, done=True) for at, step in enumerate(journal, start=1)}
    return plan(desired, observed, entries, prints or {}, cut_me_off=cut_me_off)


def steps(found: Plan) -> list[Step]:
    return [action.step for action in found.actions]


def problems(
    desired: Sequence[Desired], observed: Observed, journal: Sequence[Step] = ()
) -> list[str]:
    with pytest.raises(PlanError) as refused:
        planned(desired, observed, journal)
    return [f"{'.'.join(map(str, place))}: {text}" for place, text in refused.value.problems]


def test_what_is_absent_is_made_in_order() -> None:
    found = planned([BR1, Wanted(UP, True), HOME], seen())
    assert steps(found) == [Make(BR1), Set(UP, True, None), Make(HOME)]


def test_what_is_there_is_left_and_remembered_as_found() -> None:
    observed = seen(BR1, HOME)
    observed.settings[FORWARD.key] = "1"
    wanted = [BR1, HOME, Wanted(FORWARD, "1")]
    found = planned(wanted, observed)
    assert steps(found) == []
    assert list(found.found) == wanted


def test_what_is_ours_and_there_is_neither_made_nor_found() -> None:
    found = planned([BR1], seen(BR1), [Make(BR1)])
    assert found == Plan((), ())


def test_a_setting_remembers_what_it_was() -> None:
    observed = seen()
    observed.settings[FORWARD.key] = "0"
    assert steps(planned([Wanted(FORWARD, "1")], observed)) == [Set(FORWARD, "1", "0")]


def test_a_setting_that_drifted_goes_back_to_the_first_former_value() -> None:
    observed = seen()
    observed.settings[FORWARD.key] = "7"
    [action] = planned([Wanted(FORWARD, "1")], observed, [Set(FORWARD, "1", "0")]).actions
    assert action.step == Set(FORWARD, "1", "0")
    assert action.replaces == 1


def test_what_the_file_no_longer_asks_for_is_taken_back_latest_first() -> None:
    observed = seen(BR1, HOME, SPACE)
    journal = [Make(BR1), Make(HOME), Make(SPACE)]
    found = planned([BR1], observed, journal)
    assert steps(found) == [Remove(SPACE), Remove(HOME)]
    assert [action.cancels for action in found.actions] == [3, 2]


def test_what_was_deleted_from_outside_is_made_again_with_what_stood_on_it() -> None:
    observed = seen()
    found = planned([BR1, HOME], observed, [Make(BR1), Make(HOME)])
    assert steps(found) == [Make(BR1), Make(HOME)]
    assert [action.replaces for action in found.actions] == [1, 2]


def test_what_stands_on_a_namespace_that_goes_is_made_again() -> None:
    # The namespace is of another name now; the link in it is looked at no more.
    observed = seen(BR1, SPACE, INSIDE, IN_ADDRESS)
    other = Link("vip", "eth0", "macvlan", parent="br2", parent_namespace="")
    br2 = Link("", "br2", "bridge")
    observed.things[br2.key] = br2
    changed = Link("vip", "eth0", "vlan", parent="br1", parent_namespace="", number=5)
    journal = [Make(SPACE), Make(INSIDE), Make(IN_ADDRESS)]
    found = planned([BR1, SPACE, changed, IN_ADDRESS], observed, journal)
    assert steps(found) == [Remove(INSIDE), Make(changed), Make(IN_ADDRESS)]
    assert other != INSIDE


def test_rules_are_there_as_long_as_the_kernel_shows_what_it_showed() -> None:
    observed = seen()
    observed.fingerprints[RULES.key] = "abc"
    assert steps(planned([RULES], observed, [Make(RULES)], {RULES.key: "abc"})) == []
    found = planned([RULES], observed, [Make(RULES)], {RULES.key: "xyz"})
    assert steps(found) == [Remove(RULES), Make(RULES)]


def test_rules_of_that_name_without_a_journal_are_a_problem() -> None:
    observed = seen()
    observed.fingerprints[RULES.key] = "abc"
    [text] = problems([RULES], observed)
    assert "run down" in text


@pytest.mark.parametrize(
    ("wanted", "there", "words"),
    [
        (BR1, Link("", "br1", "veth"), "bridges.br1: there is an interface br1 already"),
        (
            Link("", "v", "vlan", parent="br1", number=5),
            Link("", "v", "vlan", parent="br1", number=6),
            "another number",
        ),
        (
            Route("", "10.1.0.0/24", "br1", "172.16.23.2"),
            Route("", "10.1.0.0/24", "br1", "172.16.23.9"),
            "there is a route to 10.1.0.0/24 already, through 172.16.23.9",
        ),
        (HOME, Address("", "eth9", "172.16.23.1/16"), "172.16.23.1 is in use on eth9"),
        (HOME, Address("", "eth9", "172.16.0.7/16"), "overlaps 172.16.0.0/16 on eth9"),
    ],
)
def test_what_is_somebody_elses_is_a_problem(wanted: Desired, there: object, words: str) -> None:
    ground = (BR1, ETH0) if wanted is not BR1 else (ETH0,)
    found = problems([wanted], seen(*ground, there))
    assert any(words in text for text in found), found


def test_an_interface_that_nobody_makes_is_a_problem() -> None:
    [text] = problems([BR1, Wanted(PORT, "br1")], seen())
    assert text == (
        "bridges.br1.ports.0: there is no interface eth0; ip link shows those there are"
    )


class TestAPortThatHasAnAddress:
    held = Address("", "eth0", "192.0.2.5/24")
    way = Route("", "0.0.0.0/0", "eth0", "192.0.2.1", protocol=3)

    def observed(self) -> Observed:
        observed = seen(ETH0, self.held, self.way, BR1)
        observed.settings[PORT.key] = ""
        return observed

    def test_is_refused(self) -> None:
        [text] = problems([BR1, Wanted(PORT, "br1")], self.observed())
        assert "eth0 has the address 192.0.2.5/24, which it loses" in text
        assert "--yes-cut-me-off" in text

    def test_gives_it_up_when_told_to_and_gets_it_back(self) -> None:
        found = planned([BR1, Wanted(PORT, "br1")], self.observed(), cut_me_off=True)
        assert steps(found) == [Remove(self.way), Remove(self.held), Set(PORT, "br1", "")]
        back = [step.inverse for step in reversed(steps(found))]
        assert back == [Set(PORT, "", "br1"), Make(self.held), Make(self.way)]

    def test_gets_it_back_when_it_is_a_port_no_more(self) -> None:
        observed = self.observed()
        observed.settings[PORT.key] = "br1"
        journal = [Remove(self.held), Set(PORT, "br1", "")]
        found = planned([BR1], observed, journal)
        assert steps(found) == [Set(PORT, "", "br1"), Make(self.held)]
        assert steps(planned([BR1, Wanted(PORT, "br1")], observed, journal)) == []

    def test_is_left_alone_once_it_is_a_port(self) -> None:
        observed = self.observed()
        observed.settings[PORT.key] = "br1"
        assert steps(planned([BR1, Wanted(PORT, "br1")], observed)) == []


class TestNetworksThatOverlap:
    red, blue = Link("", "red", "vrf", number=7), Link("", "blue", "vrf", number=8)
    into = LinkSetting("", "eth0", "master", origin=("vrfs", "red", "on"))
    other = LinkSetting("", "eth1", "master", origin=("vrfs", "blue", "on"))
    mine = Address("", "eth0", "10.0.0.1/24", origin=("vrfs", "red", "addresses", 0))
    theirs = Address("", "eth1", "10.0.0.1/24", origin=("vrfs", "blue", "addresses", 0))
    eth1 = Link("", "eth1", "hardware")

    def wanted(self) -> list[Desired]:
        return [self.red, self.blue, Wanted(self.into, "red"), self.mine]

    def observed(self, *more: object) -> Observed:
        observed = seen(ETH0, self.eth1, *more)
        observed.settings |= {self.into.key: "", self.other.key: ""}
        return observed

    def test_may_have_the_same_address(self) -> None:
        both = [*self.wanted(), Wanted(self.other, "blue"), self.theirs]
        assert Make(self.theirs) in steps(planned(both, self.observed(self.mine), cut_me_off=True))

    def test_of_which_one_is_somebody_elses_vrf(self) -> None:
        observed = self.observed(self.blue, self.theirs)
        observed.settings[self.other.key] = "blue"
        assert Make(self.mine) in steps(planned(self.wanted(), observed))

    def test_may_not_have_that_of_an_interface_outside(self) -> None:
        found = planned(self.wanted(), self.observed(self.theirs))
        assert Make(self.mine) in steps(found)
        plain = Address("", "br1", "10.0.0.1/24", origin=("bridges", "br1", "addresses", 0))
        assert problems([BR1, plain], self.observed(BR1, self.theirs))

    def test_an_address_that_was_there_moves_into_the_vrf_and_back(self) -> None:
        observed = self.observed(self.mine)
        [text] = problems(self.wanted(), observed)
        assert text.startswith("vrfs.red.on: eth0 has the address 10.0.0.1/24, which nobody")
        found = planned(self.wanted(), observed, cut_me_off=True)
        there = [Remove(self.mine), Set(self.into, "red", ""), Make(self.mine)]
        assert steps(found)[2:] == there
        back = [step.inverse for step in reversed(there)]
        assert back == [Remove(self.mine), Set(self.into, "", "red"), Make(self.mine)]

    def test_an_interface_that_somebody_took_out_goes_back_in(self) -> None:
        observed = self.observed(self.red, self.blue, self.mine)
        journal = [Make(self.red), Make(self.blue), Set(self.into, "red", ""), Make(self.mine)]
        found = planned(self.wanted(), observed, journal)
        assert steps(found) == [Remove(self.mine), Set(self.into, "red", ""), Make(self.mine)]
        # The address was ours: nothing is given back for it when all goes.
        assert [action.cancels for action in found.actions] == [4, None, None]

    def test_a_vrf_with_another_table_is_somebody_elses(self) -> None:
        [text] = problems([self.red], seen(Link("", "red", "vrf", number=9)))
        assert "with another number" in text
