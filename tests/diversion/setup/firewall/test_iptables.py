"""Rulesets in iptables' and ipset's own words: taken by the real ones, seen again, gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from diversion.setup.firewall import iptables
from diversion.setup.firewall.rules import version
from diversion.setup.things import Ruleset
from tests.diversion.setup.firewall.test_nft import run_script
from tests.diversion.setup.samples import RULES, SETS, ruleset


@pytest.mark.netns
@pytest.mark.tool("iptables", "ip6tables", "ipset", "nft")
def test_every_match_and_action_there_and_gone() -> None:
    name = iptables.set_name(ruleset("iptables"), ruleset().sets[0])
    told = run_script("iptables", "iptables", ["ipset", "del", name, "192.0.2.0,tcp:80"])
    assert told["policy"] == "ACCEPT"
    assert told["nothing"] is None
    assert told["same"] is True
    assert told["drifted"] is True
    assert told["owned"] == [True, False]
    assert told["trace"] == []


def test_names_fit_and_differ_between_namespaces() -> None:
    one, other = ruleset("iptables", "one"), ruleset("iptables", "other")
    names = {iptables.set_name(rules, rules.sets[0]) for rules in (one, other)}
    assert len(names) == 2
    assert max(map(len, names)) <= 31


def test_for_people() -> None:
    lines = iptables.commands(ruleset("iptables"))
    assert "# ... and 2 more members" in lines
    assert (
        "iptables -t nat -A PT-all-dnat -d 192.0.2.10 -p tcp -m multiport --dports 22,8000:8010 "
        "-j DNAT --to-destination 10.0.0.2"
    ) in lines
    assert (
        "ip6tables -t nat -A PT-all-dnat -d 2001:db8::10 -p tcp -m multiport --dports 22 "
        "-j DNAT --to-destination 2001:db8:1::2"
    ) in lines
    six = iptables.set_name(ruleset("iptables"), ruleset().sets[1])
    assert f"ipset create {six} hash:ip,port family inet6 maxelem 65536" in lines
    # A rule of no version is of both, one of IPv4 is not IPv6's.
    assert "ip6tables -t nat -A PT-all-snat -o eth0 -j MASQUERADE" in lines
    assert not [line for line in lines if line.startswith("ip6") and "192.0.2." in line]
    jump = "iptables -t raw -A PREROUTING -m comment --comment peeltap:all -j PT-all-ingress"
    assert jump in lines
    gone = iptables.removal_commands(ruleset("iptables"))
    assert "iptables -t nat -X PT-all-dnat" in gone


def test_without_ipv6_nothing_is_said_to_its_program() -> None:
    rules = tuple(one for one in RULES if version(one) != 6)
    lines = iptables.commands(Ruleset("", "all", "iptables", rules, SETS[:1]))
    assert not [line for line in lines if line.startswith("ip6tables")]


def test_a_kernel_without_ipv6_is_not_asked_about_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def run(namespace: str, argv: list[str], text: str = "") -> str:
        asked.append(argv[0])
        return '{"nftables": []}' if argv[0] == "nft" else namespace + text

    monkeypatch.setattr(iptables, "_SIX", tmp_path / "none")
    iptables.remove(run, Ruleset("", "all", "iptables", RULES))
    assert iptables.tables(run, "") == ()
    assert iptables.fingerprint(run, "", "all") is None
    assert iptables.forward_policy(run, "", 6) == "ACCEPT"
    assert not [one for one in asked if one.startswith("ip6")]
