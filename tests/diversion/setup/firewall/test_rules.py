"""The words that both back ends share: the module's table leaves none out."""

from __future__ import annotations

import typing

import pytest

from diversion.setup.firewall import rules
from diversion.setup.firewall.rules import Match, Rule
from tests.diversion.setup.samples import ruleset


@pytest.mark.parametrize("word", [*rules.HOOKS, *typing.get_args(rules.Action)])
def test_every_hook_and_action_is_explained(word: str) -> None:
    assert word in str(rules.__doc__)


def test_the_sample_has_every_hook_and_action() -> None:
    told = ruleset().rules
    assert {rule.hook for rule in told} == set(rules.HOOKS)
    assert {rule.action for rule in told} == set(typing.get_args(rules.Action))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("192.0.2.1", ("192.0.2.1", "")),
        ("192.0.2.1:80", ("192.0.2.1", "80")),
        ("2001:db8::1", ("2001:db8::1", "")),
        ("[2001:db8::1]", ("2001:db8::1", "")),
        ("[2001:db8::1]:80", ("2001:db8::1", "80")),
    ],
)
def test_an_endpoint_in_its_parts(text: str, parts: tuple[str, str]) -> None:
    assert rules.split_endpoint(text) == parts


@pytest.mark.parametrize(
    ("rule", "version"),
    [
        (Rule("forward", Match(leaving="eth1"), "drop"), 0),
        (Rule("input", Match(source="192.0.2.0/24"), "accept"), 4),
        (Rule("input", Match(destination="2001:db8::1"), "drop"), 6),
        (Rule("dnat", Match(advertised="a"), "dnat", "127.0.0.1:7000"), 4),
        (Rule("dnat", Match(advertised="a"), "dnat", "[2001:db8::1]:7000"), 6),
        (Rule("mark", Match(reply=True, version=6), "give-mark"), 6),
    ],
)
def test_the_ip_version_of_a_rule(rule: Rule, version: int) -> None:
    assert rules.version(rule) == version
