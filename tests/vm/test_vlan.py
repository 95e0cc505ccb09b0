"""Segments behind VLANs: what `tests.vm.vlan` saw inside the virtual machine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vm import machine

pytestmark = machine.MARKS

BOTH = pytest.mark.parametrize("backend", ["nftables", "iptables"])

OFFICE = {"peer": "10.101.0.1", "destination": "10.101.0.5:22"}


def of(told: dict[str, Any], backend: str) -> dict[str, Any]:
    report = told[f"vlan_segments_{backend}"]
    assert isinstance(report, dict), report
    return report


@BOTH
def test_the_agent_hears_who_came_and_what_was_attacked(told: dict[str, Any], backend: str) -> None:
    report = of(told, backend)
    assert report["up"] == {"planned as done": True, "state": "up"}
    assert report["office"] == OFFICE
    assert report["not advertised"] == "ECONNREFUSED"
    # The same address behind another tag is another decoy.
    assert report["plant"] == {"peer": "10.101.0.9", "destination": "10.101.0.5:502"}


@BOTH
def test_a_prefix_held_by_one_route_is_the_agents(told: dict[str, Any], backend: str) -> None:
    held = of(told, backend)["held"]
    assert held == {"peer": "10.101.0.9", "destination": "10.101.0.200:80"}


@BOTH
def test_the_host_itself_is_on_the_communication_vlan(told: dict[str, Any], backend: str) -> None:
    assert of(told, backend)["gateway1"] == {"peer": "10.9.0.1", "destination": ""}


@BOTH
def test_cards_are_apart_though_their_vlans_have_one_number(
    told: dict[str, Any], backend: str
) -> None:
    report = of(told, backend)
    assert report["other card"] == {"peer": "10.101.0.7", "destination": "10.101.0.6:22"}
    assert report["first from other"] == report["other from first"] == "EHOSTUNREACH"


@BOTH
def test_down_leaves_the_host_as_it_was(told: dict[str, Any], backend: str) -> None:
    undone = of(told, backend)["down"]
    assert undone["again"] == undone["trace"] == []
    assert (undone["state"], undone["after"], undone["files"]) == ("up", "down", ["lock"])


def test_neither_a_failure_nor_a_kill_at_any_kind_of_step_leaves_a_trace(
    told: dict[str, Any],
) -> None:
    assert of(told, "nftables")["disturbed"] == {"failed at": 3, "trace": []}
