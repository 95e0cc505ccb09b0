"""All of a plan or none of it; what another topology stands on stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from diversion.setup import SetupError, apply
from diversion.setup.journal import Journal, load
from diversion.setup.machine import Machine
from diversion.setup.plan import Action, Plan
from diversion.setup.steps import Make, Remove, Set, Step
from diversion.setup.things import Link, Sysctl, Wanted

BR1 = Make(Link("", "br1", "bridge"))
BR2 = Make(Link("", "br2", "bridge"))
FORWARD = Set(Sysctl("", "ipv4/ip_forward"), "1", "0")


class Paper(Machine):
    """A machine of paper: writes down what it is told, and refuses one step."""

    def __init__(self, refuse: Step | None = None, *, was_there: bool = False) -> None:
        super().__init__("host")
        self.told: list[Step] = []
        self.refuse = refuse
        self.was_there = was_there

    def apply(self, step: Step, *, strict: bool = True) -> None:
        if step == self.refuse:
            raise SetupError("no", was_there=self.was_there)
        self.told.append(step)


def actions(*steps: Step) -> Plan:
    return Plan(tuple(Action(step) for step in steps))


def held(journal: Journal) -> list[Step]:
    return [entry.step for entry in journal.entries.values()]


def test_up_and_down_are_mirror_images(tmp_path: Path) -> None:
    machine, journal = Paper(), load(tmp_path, "host")
    apply.up(machine, actions(BR1, FORWARD, BR2), journal)
    assert held(load(tmp_path, "host")) == [BR1, FORWARD, BR2]
    assert apply.down(machine, load(tmp_path, "host")) == []
    assert machine.told == [
        BR1,
        FORWARD,
        BR2,
        Remove(BR2.thing),
        Set(FORWARD.setting, "0", "1"),
        Remove(BR1.thing),
    ]
    assert not journal.path.exists()


def test_a_refused_step_takes_back_what_came_before_and_names_itself(tmp_path: Path) -> None:
    machine, journal = Paper(refuse=BR2), load(tmp_path, "host")
    with pytest.raises(apply.StepError, match=r"ip link add br2 type bridge: no; everything"):
        apply.up(machine, actions(BR1, BR2), journal)
    # The refused one as well: half of it may have been done.
    assert machine.told == [BR1, Remove(BR2.thing), Remove(BR1.thing)]
    assert not journal.path.exists()


def test_what_somebody_else_made_meanwhile_is_left_alone(tmp_path: Path) -> None:
    machine, journal = Paper(refuse=BR2, was_there=True), load(tmp_path, "host")
    with pytest.raises(apply.StepError):
        apply.up(machine, actions(BR1, BR2), journal)
    assert machine.told == [BR1, Remove(BR1.thing)]


def test_a_failure_while_things_are_taken_back_for_good_makes_them_again(tmp_path: Path) -> None:
    machine, journal = Paper(), load(tmp_path, "host")
    apply.up(machine, actions(BR1), journal)
    machine.refuse = BR2
    again = load(tmp_path, "host")
    plan = Plan((Action(Remove(BR1.thing), cancels=1), Action(BR2)))
    with pytest.raises(apply.StepError):
        apply.up(machine, plan, again)
    assert machine.told == [BR1, Remove(BR1.thing), Remove(BR2.thing), BR1]
    assert held(load(tmp_path, "host")) == [BR1]


def test_ctrl_c_takes_back_as_well(tmp_path: Path) -> None:
    machine, journal = Paper(), load(tmp_path, "host")

    def interrupt(step: Step) -> None:
        if step == BR2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply.up(machine, actions(BR1, BR2), journal, interrupt)
    assert machine.told == [BR1, Remove(BR2.thing), Remove(BR1.thing)]


def test_what_cannot_be_taken_back_is_told_and_stays_in_the_journal(tmp_path: Path) -> None:
    machine = Paper()
    apply.up(machine, actions(BR1, BR2), load(tmp_path, "host"))
    machine.refuse = Remove(BR1.thing)
    assert apply.down(machine, load(tmp_path, "host")) == ["ip link del br1: no"]
    assert held(load(tmp_path, "host")) == [BR1]


def test_what_another_topology_stands_on_goes_to_it(tmp_path: Path) -> None:
    machine = Paper()
    apply.up(machine, actions(BR1, FORWARD), load(tmp_path, "host"))
    stands_on = Plan((Action(BR2),), (BR1.thing, Wanted(FORWARD.setting, "1")))
    apply.up(machine, stands_on, load(tmp_path, "guest"))
    machine.told.clear()
    assert apply.down(machine, load(tmp_path, "host")) == []
    assert machine.told == []
    assert apply.down(machine, load(tmp_path, "guest")) == []
    assert machine.told == [
        Remove(BR2.thing),
        Set(FORWARD.setting, "0", "1"),
        Remove(BR1.thing),
    ]
