"""Networks that overlap, in VRFs: what `tests.vm.vrf` saw inside the virtual machine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vm import machine

pytestmark = machine.MARKS

BOTH = pytest.mark.parametrize("backend", ["nftables", "iptables"])


def of(told: dict[str, Any], backend: str) -> dict[str, Any]:
    report = told[f"overlapping_{backend}"]
    assert isinstance(report, dict), report
    return report


@BOTH
def test_either_network_reaches_the_other_by_the_mapped_prefix(
    told: dict[str, Any], backend: str
) -> None:
    report = of(told, backend)
    assert report["up"] == {"planned as done": True, "state": "up"}
    assert report["pings"] == [True, True]


@BOTH
def test_equal_five_tuples_in_both_directions_stay_two_connections(
    told: dict[str, Any], backend: str
) -> None:
    report = of(told, backend)
    # As each client sees its own.
    assert report["pairs"] == [["10.0.0.2", 5000, "10.9.0.2", 80]] * 2
    assert report["said"] == [True, True, True]
    # As each server sees its client: what answers them is alike as well, so one port is changed.
    [one, other] = report["peers"]
    assert one == ["10.9.0.2", 5000]
    assert other[0] == "10.9.0.2"
    assert other[1] != 5000
    # The kernel tracks two that begin alike, in two zones.
    assert report["tracked"] == [2, 2]


@BOTH
def test_down_leaves_the_host_as_it_was(told: dict[str, Any], backend: str) -> None:
    undone = of(told, backend)["down"]
    assert undone["again"] == undone["trace"] == []
    assert (undone["state"], undone["after"], undone["files"]) == ("up", "down", ["lock"])


def test_neither_a_failure_nor_a_kill_at_any_kind_of_step_leaves_a_trace(
    told: dict[str, Any],
) -> None:
    assert of(told, "nftables")["disturbed"] == {"failed at": 7, "trace": []}


def test_three_networks_reach_one_another_and_nothing_else(told: dict[str, Any]) -> None:
    report = told["three_networks"]
    assert isinstance(report, dict), report
    assert report["pings"] == [True] * 6
    assert report["its own"] == report["nobody's"] == "EHOSTUNREACH"
