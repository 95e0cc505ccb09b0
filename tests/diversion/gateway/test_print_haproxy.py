"""Gateways as HAProxy; that HAProxy does the same is shown in tests/netns/test_chain.py."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from diversion.gateway.print_haproxy import render
from diversion.gateway.rules import Rules
from diversion.gateway.settings import GatewaySettings
from diversion.proxy.haproxy import NoHAProxyError

ONE: dict[str, Any] = {
    "listen": [{"address": "127.0.0.1:7000"}],
    "agents": {"edge": {"from": ["172.16.24.2"], "headers": ["proxy-v1"]}},
    "rules": "rules.yaml",
}
MAGIC = {"from": ["1.2.3.4"], "headers": ["magic"]}
RULES: dict[str, Any] = {
    "decoys": {"web": {"gateway2": "172.16.23.2:9000", "codec": "proxy-v1"}},
    "rules": [
        {"agent": "edge", "destinations": ["198.51.0.0/16:1-99"], "decoy": "web"},
        {"agent": "edge", "listen": ["192.0.2.1:80"], "decoy": "web"},
        {"listen": ["127.0.0.1:8080"], "decoy": "web"},
    ],
}
TWO: dict[str, Any] = {
    "listen": [
        {
            "address": "127.0.0.1:9000",
            "decoys": [
                {"destination": "198.51.0.0/16", "decoy": "destination"},
                {"destination": "0.0.0.0/0", "decoy": ["192.0.2.1:80", "[2001:db8::1]:80"]},
            ],
        }
    ],
    "trusted": ["172.16.23.1"],
}


def printed(one: Any = ONE, two: Any = TWO, rules: Any = RULES) -> str:
    settings = GatewaySettings.model_validate(
        {
            "gateway1": one,
            "gateway2": two,
            "codecs": {"magic": {"magic": "d1e0c0ffee5eedb5"}},
            "limits": {"connections": 1000},
        }
    )
    return render(settings, Rules.model_validate(rules))


def test_the_same_choices() -> None:
    lines = printed().splitlines()
    exact = "  use_backend decoy-web if { dst 192.0.2.1/32 } { dst_port 80:80 }"
    wide = "  use_backend decoy-web if { dst 198.51.0.0/16 } { dst_port 1:99 }"
    assert lines.index(exact) < lines.index(wide), "single addresses first"
    assert "  tcp-request connection reject unless { src 172.16.24.2/32 }" in lines
    assert "  server decoy-web 172.16.23.2:9000 send-proxy" in lines
    assert "  server leg0-0 0.0.0.0:0" in lines
    assert "  server leg0-1-v6 [2001:db8::1]:80" in lines
    assert lines.count("  source 0.0.0.0 usesrc client") == 3
    assert any(line.startswith("# HAProxy has no nftables source") for line in lines)


@pytest.mark.tool("haproxy")
def test_haproxy_accepts_it(tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(printed())
    done = subprocess.run(["haproxy", "-c", "-f", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("one", "two", "what"),
    [
        ({**ONE, "codec": "magic"}, TWO, None),
        (
            {**ONE, "agents": {"edge": {"from": ["1.2.3.4"], "headers": ["magic"]}}},
            TWO,
            "agent edge",
        ),
        (ONE, {**TWO, "listen": [{**TWO["listen"][0], "headers": ["magic"]}]}, "gateway2"),
    ],
)
def test_what_haproxy_cannot_do(one: Any, two: Any, what: str | None) -> None:
    if what is None:
        rules = {**RULES, "decoys": {"web": {"gateway2": "172.16.23.2:9000"}}}
        with pytest.raises(NoHAProxyError, match="HAProxy cannot send magic"):
            printed(one, two, rules)
    else:
        with pytest.raises(NoHAProxyError, match=f"{what}: HAProxy cannot read magic"):
            printed(one, two)
