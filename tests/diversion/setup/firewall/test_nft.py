"""Rulesets in nft's own words: taken by a real nft, seen again, gone."""

from __future__ import annotations

import json

import pytest

from diversion.setup.firewall import nft
from tests.diversion.setup.samples import ruleset
from tests.support.plumbing import plumbed

SCRIPT = """
import json
from diversion.setup.firewall import {backend} as backend
from diversion.setup.machine import Machine
from diversion.setup.steps import Make, Remove
from diversion.setup.things import Link
from tests.diversion.setup.samples import ruleset
from tests.support import network_state

told = {{}}
with Machine("all") as machine:
    machine.apply(Make(Link("", "vtap0", "tap")))
    before = network_state.state()
    rules = ruleset("{name}")
    told["policy"] = backend.forward_policy(machine.run, "")
    backend.set_forward_policy(machine.run, "", "ACCEPT")
    told["nothing"] = backend.fingerprint(machine.run, "", "all")
    backend.remove(machine.run, rules)
    backend.make(machine.run, rules)
    told["listed"] = machine.run("", ["nft", "list", "ruleset"])
    one = backend.fingerprint(machine.run, "", "all")
    told["same"] = one == backend.fingerprint(machine.run, "", "all")
    told["owned"] = backend.owned(machine.run, "", "all"), backend.owned(machine.run, "", "al")
    machine.run("", {spoil})
    told["drifted"] = one != backend.fingerprint(machine.run, "", "all")
    backend.remove(machine.run, rules)
    told["trace"] = network_state.differences(before, network_state.state())
print(json.dumps(told))
"""


def run_script(backend: str, name: str, spoil: list[str]) -> dict[str, object]:
    with plumbed(vms=0) as host:
        script = SCRIPT.format(backend=backend, name=name, spoil=spoil)
        told: dict[str, object] = json.loads(host.python(script))
    return told


@pytest.mark.netns
@pytest.mark.tool("nft")
def test_every_match_and_action_there_and_gone() -> None:
    spoil = ["nft", "delete", "element", "inet", "peeltap-all", "advert"]
    told = run_script("nft", "nftables", [*spoil, "{ 192.0.2.0 . tcp . 80 }"])
    listed = str(told["listed"])
    for line in (
        "ip daddr 192.0.2.10 ct mark set 0x00000005",
        "ct direction reply ct mark 0x00000005 meta mark set ct mark",
        "ip daddr 192.0.2.10 tcp dport { 22, 8000-8010 } dnat ip to 10.0.0.2",
        "dnat ip to 127.0.0.1:7",
        'iifname "eth0" ct original zone set 7',
        'iifname "eth0" ip daddr 10.9.0.0/24 dnat ip prefix to 10.0.0.0/24',
        'oifname "eth1" ip saddr 10.0.0.0/24 snat ip prefix to 10.9.0.0/24',
        "ip saddr 10.0.0.2 snat ip to 192.0.2.1",
        'oifname "eth0" masquerade',
        'type filter hook ingress device "vtap0" priority -500; policy drop;',
    ):
        assert line in listed, line
    assert told["policy"] == "ACCEPT"
    assert told["nothing"] is None
    assert told["same"] is True
    assert told["drifted"] is True
    assert told["owned"] == [True, False]
    assert told["trace"] == []


def test_for_people_a_long_set_is_cut() -> None:
    lines = nft.commands(ruleset())
    assert "# ... and 2 more elements" in lines
    assert lines[0] == "nft add table inet peeltap-all"
    assert nft.removal_commands(ruleset()) == [
        "nft delete table inet peeltap-all",
        "nft delete table netdev peeltap-all",
    ]
