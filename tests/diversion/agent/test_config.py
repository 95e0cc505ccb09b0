"""The agent's file: what is right, and every mistake with its key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from diversion.agent import config
from diversion.agent.config import AgentConfigError

RIGHT: dict[str, Any] = {"name": "edge-3", "gateway1": "172.16.24.1:7000"}


def test_what_is_left_out_has_a_default() -> None:
    found = config.check(RIGHT, "agent.json")
    assert found.gateway1 == ("172.16.24.1", 7000)
    assert found.codec == {"kind": "proxy-v2"}
    assert found.rules
    assert found.tls is None


def test_everything() -> None:
    tls = {"certificate": "a", "key": "b", "ca": "c", "name": "gateway1"}
    found = config.check(
        {
            **RIGHT,
            "tls": tls,
            "codec": {"magic": "d1e0c0ffee5eedb5"},
            "rules": False,
            "listeners": [{"name": "web", "listen": "192.0.2.1:80"}],
            "state": "rules.json",
            "log": "agent.log",
            "limits": {"connections": 5, "idle_seconds": 2},
        },
        "agent.json",
    )
    assert found.codec["kind"] == "layout"
    assert found.limits.connections == 5
    assert found.listeners[0].listen == ("192.0.2.1", 80)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"name": None}, "name: must be text"),
        ({"name": "a/b"}, "name: may hold letters"),
        ({"gateway1": "gateway1:7000"}, "gateway1: 'gateway1' is not an IP address"),
        ({"codec": "sslproxy"}, "codec: 'sslproxy' is no codec that can be sent"),
        ({"codec": {"magic": "d1"}}, "codec: magic: must be 8 bytes"),
        ({"codec": {"layout": [{"x": 1}]}}, "codec: the layout is broken"),
        ({"codec": 7}, "codec: proxy-v2"),
        ({"tls": {"key": "x"}}, "tls: must be an object with certificate, key, ca, name"),
        ({"rules": "no"}, "rules: must be true or false"),
        ({"rules": False}, "listeners: missing"),
        ({"listeners": [{"listen": "x"}]}, r"listeners\[0\]: 'x' is not ADDRESS:PORT"),
        ({"limits": {"connections": 1.5}}, "limits: connections: must be a whole number"),
        ({"limits": {"connections": 0}}, "limits: connections: must be more than 0"),
        ({"limits": {"speed": 1}}, "limits: speed: unknown; allowed: connections"),
        ({"state": ""}, "state: must be the name of a file"),
        ({"stat": "x"}, "stat: unknown key; allowed: name, gateway1"),
    ],
)
def test_each_mistake_is_named(change: dict[str, Any], what: str) -> None:
    with pytest.raises(AgentConfigError, match=f"agent.json: {what}"):
        config.check({**RIGHT, **change}, "agent.json")


def test_all_mistakes_at_once() -> None:
    with pytest.raises(AgentConfigError) as raised:
        config.check({"name": 1, "x": 1}, "agent.json")
    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "what"), [("{", "not JSON"), ("[]", "must be an object"), ("[" * 100_000, "not JSON")]
)
def test_what_is_no_file_of_ours(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "agent.json"
    path.write_text(text)
    with pytest.raises(AgentConfigError, match=what):
        config.load(str(path))
    with pytest.raises(AgentConfigError, match="cannot be read: No such file"):
        config.load(str(tmp_path / "gone"))


def test_a_file_that_is_right(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(RIGHT))
    assert config.load(str(path)).name == "edge-3"
