"""The agent as HAProxy; that HAProxy does the same is shown in tests/netns/test_chain.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from diversion.agent import config
from diversion.agent.print_haproxy import render
from diversion.agent.rules import save
from diversion.proxy.haproxy import NoHAProxyError
from diversion.proxy.listeners import Listener

BASE = {"name": "edge", "gateway1": "172.16.24.1:7000"}


def test_own_listeners_and_kept_rules(tmp_path: Path) -> None:
    state = str(tmp_path / "rules.json")
    save(state, "x", (Listener("there", ("::1", 22), "tproxy", "/run/netns/edge"),))
    tls = {"certificate": "a.pem", "key": "a.key", "ca": "ca.pem", "name": "gateway1"}
    own = [{"listen": "192.0.2.1:80"}]
    text = render(config.check({**BASE, "state": state, "listeners": own, "tls": tls}, "x"))
    assert "  bind 192.0.2.1:80\n" in text
    assert "  bind [::1]:22 v6only namespace edge transparent\n" in text
    assert (
        "  server gateway1 172.16.24.1:7000 send-proxy-v2 ssl crt a.pem ca-file ca.pem "
        "verify required verifyhost gateway1\n" in text
    )
    assert text.startswith("# a.pem must hold the certificate and the key a.key\n")
    save(state, "x", (Listener("there", ("::1", 22), "direct", "/run/netns/a level admin"),))
    with pytest.raises(NoHAProxyError, match="'a level admin' cannot stand"):
        render(config.check({**BASE, "state": state}, "x"))


def test_what_haproxy_cannot_do() -> None:
    with pytest.raises(NoHAProxyError, match="no listener yet"):
        render(config.check(BASE, "x"))
    magic = {"codec": {"magic": "d1e0c0ffee5eedb5"}, "listeners": [{"listen": "192.0.2.1:80"}]}
    with pytest.raises(NoHAProxyError, match="HAProxy cannot send layout"):
        render(config.check({**BASE, **magic}, "x"))
