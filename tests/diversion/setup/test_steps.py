"""A step, its inverse, and its form in the journal."""

from __future__ import annotations

import json

import pytest

from diversion.setup.steps import Make, Remove, Set, Step, from_json, step_from_json, to_json
from diversion.setup.things import Link, Sysctl
from tests.diversion.setup import samples

STEPS: list[Step] = [
    *(Make(thing) for thing, _ in samples.THINGS),
    *(Remove(thing) for thing, _ in samples.THINGS),
    *(Set(setting, value, former) for setting, value, former, _ in samples.SETTINGS),
    Make(samples.ruleset()),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: str(step.key))
def test_a_step_comes_back_from_the_journal_as_it_was(step: Step) -> None:
    assert step_from_json(json.loads(json.dumps(to_json(step)))) == step


@pytest.mark.parametrize("step", STEPS, ids=lambda step: str(step.key))
def test_the_way_back_of_the_way_back_is_the_step(step: Step) -> None:
    back = step.inverse
    assert back is not None
    assert back.inverse == step
    assert back.key == step.key


def test_a_setting_that_came_with_its_thing_goes_with_it() -> None:
    assert Set(Sysctl("", "ipv4/conf/new/rp_filter"), "2", None).inverse is None


def test_the_place_in_the_file_is_not_kept() -> None:
    thing = Link("", "br1", "bridge", origin=("bridges", "br1"))
    again = step_from_json(to_json(Make(thing)))
    assert again == Make(thing)
    assert isinstance(again, Make)
    assert again.thing.origin == ()


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ({"is": "Popen"}, "no kind of step"),
        ({"is": "Namespace"}, "Namespace"),
        ({"is": "Namespace", "name": "a"}, "is no step"),
        ({"is": "Make", "thing": {"is": "Sysctl", "namespace": "", "name": "ipv4/x"}}, "Sysctl"),
        ({"is": "Make", "thing": {"is": "Namespace", "name": "a", "mode": 1}}, "unexpected"),
        ([], "tuple is no step"),
    ],
)
def test_what_is_no_step_is_refused(plain: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        step_from_json(plain)


def test_plain_values_stay() -> None:
    assert from_json([1, "a", None]) == (1, "a", None)
