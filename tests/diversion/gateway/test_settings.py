"""A gateway's file, as models; tests/pipeline/test_proxies.py has the words of mistakes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from diversion.gateway.settings import GatewaySettings
from diversion.proxy.hub import Limits

ONE: dict[str, Any] = {
    "listen": [{"address": "172.16.24.1:7000"}],
    "agents": {"edge": {"from": ["172.16.24.2"]}},
    "rules": "rules.yaml",
}
TWO: dict[str, Any] = {
    "listen": [{"address": "172.16.23.2:9000", "decoy": ["192.168.110.2:80"]}],
    "trusted": ["172.16.23.1"],
}


def test_defaults() -> None:
    found = GatewaySettings.model_validate({"gateway1": ONE, "gateway2": TWO})
    assert found.gateway1 is not None
    assert found.gateway2 is not None
    assert found.gateway1.codec == "proxy-v2"
    assert found.gateway2.source == "nftables"
    assert found.limits.limits() == Limits()
    assert found.metrics is None


def test_codecs() -> None:
    text = [
        {"literal": "P "},
        {"ip": "peer"},
        {"literal": " "},
        {"decimal": "peer_port"},
        {"literal": " "},
        {"ip": "destination"},
        {"literal": " "},
        {"decimal": "destination_port"},
        {"terminator": "\n"},
    ]
    found = GatewaySettings.model_validate(
        {
            "gateway2": TWO,
            "codecs": {
                "magic": {"magic": "d1e0c0ffee5eedb5"},
                "line": {"layout": text, "encoding": "text", "max_length": 200},
            },
        }
    )
    assert found.codec("proxy-v1") == {"name": "proxy-v1", "kind": "proxy-v1"}
    assert found.codec("magic")["layout"][0] == {"bytes": "d1e0c0ffee5eedb5"}
    assert found.codec("line")["max_length"] == 200
    with pytest.raises(ValueError, match="known: proxy-v2, proxy-v1, magic, line"):
        found.codec("other")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({}, "needs gateway1, gateway2 or both"),
        ({"gateway1": {**ONE, "agents": {}}}, "no agent has `from`"),
        ({"gateway1": {**ONE, "codec": "sslproxy"}}, "codec 'sslproxy' is not known"),
        ({"gateway1": {**ONE, "agents": {"edge": {"from": ["x"]}}}}, "does not appear to be"),
        (
            {"gateway1": {**ONE, "agents": {'a"b': {"from": ["192.0.2.1"]}}}},
            "a name has 1 to 64 letters",
        ),
        (
            {"gateway1": {**ONE, "agents": {"a\n": {"from": ["192.0.2.1"]}}}},
            "a name has 1 to 64 letters",
        ),
        ({"gateway2": {**TWO, "source": "magic"}}, "Input should be 'nftables'"),
        ({"gateway2": {**TWO, "trusted": []}}, "at least 1 item"),
        (
            {"gateway2": {**TWO, "listen": [{"address": "1.2.3.4:5"}]}},
            "needs one of decoy and decoys",
        ),
        (
            {"gateway2": {**TWO, "listen": [{"address": "1.2.3.4:5", "decoy": []}]}},
            "decoy: is empty",
        ),
        ({"gateway2": {**TWO, "name": "A b"}}, "should match pattern"),
        ({"gateway2": TWO, "codecs": {"magic": {}}}, "codecs.magic: needs magic"),
        ({"gateway2": TWO, "codecs": {"ours": {"magic": "00"}}}, "codecs.ours: needs layout"),
        ({"gateway2": TWO, "codecs": {"proxy-v1": {"layout": []}}}, "is built in"),
        ({"gateway2": TWO, "codecs": {"x": {"layout": [{"u9": 1}]}}}, "codecs.x: "),
        ({"gateway2": TWO, "limits": {"connections": 0}}, "greater than or equal to 1"),
    ],
)
def test_mistakes(data: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError) as raised:
        GatewaySettings.model_validate(data)
    assert what in str(raised.value)


def test_where_a_listener_can_lead() -> None:
    choices = [
        {"destination": "198.51.100.0/24:1-99", "decoy": "destination"},
        {"destination": "0.0.0.0/0", "decoy": ["192.0.2.1:80", "[::1]:80"]},
    ]
    listen = [{"address": "172.16.23.2:9000", "decoys": choices}]
    found = GatewaySettings.model_validate({"gateway2": {**TWO, "listen": listen}})
    assert found.gateway2 is not None
    [one] = found.gateway2.listen
    assert [(str(each.network), each.first, each.last) for each in one.ranges] == [
        ("198.51.100.0/24", 1, 99),
        ("192.0.2.1/32", 80, 80),
        ("::1/128", 80, 80),
    ]
