"""Rules: which decoy is behind a destination, what an agent is told, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from diversion.gateway import rules as module
from diversion.gateway.rules import OWN, Rules, RuleSet, checked
from diversion.gateway.settings import GatewaySettings

DECOYS = {name: {"gateway2": f"172.16.23.2:{9000 + at}"} for at, name in enumerate("abc")}


def rule_set(*rules: dict[str, Any]) -> RuleSet:
    return RuleSet(Rules.model_validate({"decoys": DECOYS, "rules": list(rules)}))


RULES = rule_set(
    {
        "agent": "edge",
        "destinations": ["198.51.100.0/24:1-1024"],
        "decoy": "a",
        "listen": ["0.0.0.0:7001"],
        "accept": "redirect",
    },
    {"agent": "edge", "listen": ["198.51.100.7:80", "[2001:db8::7]:80"], "decoy": "b"},
    {"agent": "edge", "destinations": ["198.51.0.0/16"], "decoy": "c"},
    {"listen": ["192.0.2.1:80"], "decoy": "c", "name": "own"},
)


@pytest.mark.parametrize(
    ("agent", "destination", "decoy"),
    [
        ("edge", ("198.51.100.7", 80), "b"),
        ("edge", ("198.51.100.7", 81), "a"),
        ("edge", ("198.51.100.7", 1025), "c"),
        ("edge", ("2001:db8::7", 80), "b"),
        ("edge", ("198.52.0.1", 80), None),
        ("edge", ("192.0.2.1", 80), None),
        (OWN, ("192.0.2.1", 80), "c"),
        ("other", ("198.51.100.7", 80), None),
    ],
)
def test_the_decoy_behind_a_destination(
    agent: str, destination: tuple[str, int], decoy: str | None
) -> None:
    for _ in range(2):  # the second time from memory
        found = RULES.decoy(agent, destination)
        assert found == (None if decoy is None else RULES.decoys[decoy])


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED", 10)
    rules = rule_set({"agent": "edge", "destinations": ["198.51.0.0/16"], "decoy": "c"})
    for host in range(100):
        assert rules.decoy("edge", (f"198.51.0.{host}", 1)) is not None
        assert len(rules._cache) <= 10


def test_an_agent_is_told_its_own_listeners_and_a_serial_of_them() -> None:
    told = RULES.message("edge")["rules"]
    assert [one["listen"] for one in told["listeners"]] == [
        "0.0.0.0:7001",
        "198.51.100.7:80",
        "[2001:db8::7]:80",
    ]
    assert told["listeners"][0]["accept"] == "redirect"
    assert told["serial"] == RULES.message("edge")["rules"]["serial"]
    assert told["serial"] != RULES.message("other")["rules"]["serial"]
    assert RULES.message("other")["rules"]["listeners"] == []
    assert RULES.listeners(OWN)[0]["name"] == "own"


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        ([{"listen": ["192.0.2.1:80"], "decoy": "z"}], "'z' is not in decoys; known: a, b, c"),
        ([{"decoy": "a"}], "needs listen, destinations or both"),
        ([{"listen": ["0.0.0.0:80"], "decoy": "a"}], "destinations: needed"),
        (
            [{"listen": ["192.0.2.1:80"], "accept": "tproxy", "decoy": "a"}],
            "destinations: needed",
        ),
        ([{"listen": ["192.0.2.1:80"], "netns": "x", "decoy": "a"}], "netns: must be a path"),
        (
            [
                {"listen": ["192.0.2.1:80"], "decoy": "a"},
                {"listen": ["192.0.2.1:80"], "decoy": "b"},
            ],
            "rules[1].listen: 192.0.2.1:80 is in rules[0] already",
        ),
        (
            [{"listen": ["192.0.2.1:80", "192.0.2.1:80"], "decoy": "a"}],
            "rules[0].listen: 192.0.2.1:80 is in rules[0] already",
        ),
    ],
)
def test_what_is_refused(rules: list[dict[str, Any]], what: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Rules.model_validate({"decoys": DECOYS, "rules": rules})
    assert what in str(raised.value)


@pytest.mark.parametrize(
    ("rule", "codec", "what"),
    [
        ({"agent": "edge", "listen": ["192.0.2.1:80"]}, "magic", None),
        ({"agent": "egde"}, None, "rules[0].agent: 'egde' is not in gateway1.agents; known: edge"),
        ({}, "proxy-v3", "decoys.a.codec: codec 'proxy-v3' is not known"),
        ({"listen": ["192.0.2.1:0"]}, None, "of gateway1's own host: [0]: listen: port 0"),
        ({"agent": "edge", "listen": ["192.0.2.1:0"]}, None, "of agent 'edge': [0]: listen: port"),
        ({"netns": "/run/\0"}, None, "of gateway1's own host: [0]: netns: may hold printable"),
    ],
)
def test_what_only_the_gateways_file_can_tell(
    rule: dict[str, Any], codec: str | None, what: str | None
) -> None:
    data = {
        "gateway1": {"agents": {"edge": {}}, "rules": "unused"},
        "codecs": {"magic": {"magic": "d1e0c0ffee5eedb5"}},
    }
    rules = Rules.model_validate(
        {
            "decoys": {"a": {"gateway2": "172.16.23.2:9080", "codec": codec}},
            "rules": [{"listen": ["192.0.2.1:80"], "decoy": "a", **rule}],
        }
    )
    settings = GatewaySettings.model_validate(data)
    if what is None:
        assert checked(settings, rules).listeners("edge")
        return
    with pytest.raises(ValueError, match=r".") as raised:
        checked(settings, rules)
    assert what in str(raised.value)


@pytest.mark.parametrize("name", ["", "a b", "a\n", 'a"', "x" * 65, "\N{SNOWMAN}"])
def test_a_decoys_name_can_stand_anywhere(name: str) -> None:
    with pytest.raises(ValidationError, match="a name has 1 to 64 letters"):
        Rules.model_validate({"decoys": {name: DECOYS["a"]}, "rules": []})
