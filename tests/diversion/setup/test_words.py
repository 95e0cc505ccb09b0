"""Every step in the words of the programs that a person would have used."""

from __future__ import annotations

import shlex

import pytest

from diversion.setup.steps import Make, Remove, Set
from diversion.setup.things import Setting, Thing, Value
from diversion.setup.words import commands
from tests.diversion.setup import samples


@pytest.mark.parametrize(("thing", "lines"), samples.THINGS, ids=str)
def test_a_thing_that_is_made(thing: Thing, lines: list[str]) -> None:
    assert commands(Make(thing)) == lines


@pytest.mark.parametrize(("thing", "lines"), samples.THINGS, ids=str)
def test_a_thing_that_is_removed(thing: Thing, lines: list[str]) -> None:
    [line] = commands(Remove(thing))
    assert " del " in line or line.startswith("rmdir ")
    assert "noprefixroute" not in line


@pytest.mark.parametrize(("setting", "value", "former", "line"), samples.SETTINGS, ids=str)
def test_a_setting(setting: Setting, value: Value, former: Value, line: str) -> None:
    assert commands(Set(setting, value, former)) == [line]
    assert commands(Set(setting, former, value)) != [line]


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_a_ruleset_inside_a_namespace(backend: str) -> None:
    for step in (Make(samples.ruleset(backend, "vip")), Remove(samples.ruleset(backend, "vip"))):
        for line in commands(step):
            assert line.startswith("ip netns exec vip ")
            shlex.split(line)
