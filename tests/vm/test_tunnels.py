"""Tunnels between hosts, of kinds that not every kernel has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import between_hosts
from tests.vm import machine

pytestmark = machine.MARKS


@pytest.mark.parametrize("kind", ["ipip", "gre"])
def test_two_hosts_reach_what_is_behind_the_other(told: dict[str, Any], kind: str) -> None:
    assert told[kind] == between_hosts.RIGHT
