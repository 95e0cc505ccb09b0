"""The words that both back ends share: the module's table leaves none out."""

from __future__ import annotations

import typing

import pytest

from diversion.setup.firewall import rules
from tests.diversion.setup.samples import ruleset


@pytest.mark.parametrize("word", [*rules.HOOKS, *typing.get_args(rules.Action)])
def test_every_hook_and_action_is_explained(word: str) -> None:
    assert word in str(rules.__doc__)


def test_the_sample_has_every_hook_and_action() -> None:
    told = ruleset().rules
    assert {rule.hook for rule in told} == set(rules.HOOKS)
    assert {rule.action for rule in told} == set(typing.get_args(rules.Action))
