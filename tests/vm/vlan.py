"""Segments behind the trunk ports of two cards: `vlan-segments.yaml`, with both back ends."""

from __future__ import annotations

from typing import Any

from diversion.setup.steps import Make, Step
from diversion.setup.things import Link, Ruleset
from fixtures.netns import Namespace
from tests.vm import stage, talk

OFFICE, PLANT, LAB = "seg-office", "seg-plant", "seg-lab"
AGENT = ("127.0.0.1", 7000)


def vlan_segments_nftables() -> dict[str, Any]:
    """Up, what answers, down; and failures at every kind of step that VLANs brought."""
    return _segments("nftables", disturbed=True)


def vlan_segments_iptables() -> dict[str, Any]:
    """Up, what answers, down."""
    return _segments("iptables")


def _segments(backend: str, *, disturbed: bool = False) -> dict[str, Any]:
    with stage.host([], []) as host:
        first, second = host.behind
        # Each segment's attacker is behind a tag of its own, so that addresses may be equal.
        _tagged(host, first, {101: "10.101.0.1/24", 10: "10.9.0.1/24"})
        _tagged(host, second, {101: "10.101.0.7/24"})
        file = stage.example("vlan-segments", backend)
        told: dict[str, Any] = {"up": host.up(file)}
        with (
            talk.listen(host.within(OFFICE), *AGENT) as office,
            talk.listen(host.within(PLANT), *AGENT) as plant,
            talk.listen(host.within(LAB), *AGENT) as lab,
            talk.listen(host.host.entered(), "10.9.0.5", 9) as gateway1,
        ):
            told["office"] = talk.asked(office, first.entered(), ("10.101.0.5", 22))
            told["not advertised"] = talk.asked(office, first.entered(), ("10.101.0.5", 502))
            told["gateway1"] = talk.asked(gateway1, first.entered(), ("10.9.0.5", 9))
            told["other card"] = talk.asked(lab, second.entered(), ("10.101.0.6", 22))
            told["first from other"] = talk.asked(office, second.entered(), ("10.101.0.5", 22))
            told["other from first"] = talk.asked(lab, first.entered(), ("10.101.0.6", 22))
            first.run(["ip", "address", "flush", "dev", "vlan101"])
            _tagged(host, first, {102: "10.101.0.9/24"})
            told["plant"] = talk.asked(plant, first.entered(), ("10.101.0.5", 502))
            told["held"] = talk.asked(plant, first.entered(), ("10.101.0.200", 80))
        told["down"] = host.down(file)
        if disturbed:
            told["disturbed"] = host.disturbed(file, KINDS)
    return told


def _tagged(host: stage.Host, machine: Namespace, addresses: dict[int, str]) -> None:
    for vlan, address in addresses.items():
        name = f"vlan{vlan}"
        kind = ["type", "vlan", "id", str(vlan)]
        machine.run(["ip", "link", "add", name, "link", "eth0", "up", *kind])
        host.lab.address(machine, name, address)


def _inside(step: Step) -> bool:
    """A VLAN of a segment."""
    return _is_vlan(step) and step.key[1] != ""


def _outside(step: Step) -> bool:
    """The VLAN that the host itself has on its trunk."""
    return _is_vlan(step) and step.key[1] == ""


def _is_vlan(step: Step) -> bool:
    return isinstance(step, Make) and isinstance(step.thing, Link) and step.thing.kind == "vlan"


def _rules(step: Step) -> bool:
    return isinstance(step, Make) and isinstance(step.thing, Ruleset)


KINDS = [_outside, _inside, _rules]
SCENARIOS = (vlan_segments_nftables, vlan_segments_iptables)
