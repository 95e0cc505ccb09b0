"""Lines of HAProxy's configuration."""

from __future__ import annotations

import pytest

from diversion.proxy import haproxy
from diversion.proxy.haproxy import NoHAProxyError, Server, word
from diversion.proxy.hub import Limits


def test_limits_are_haproxys_own() -> None:
    lines = haproxy.head(Limits(connections=7, connect_seconds=0.5, idle_seconds=60))
    assert "  maxconn 7" in lines
    assert "  timeout connect 500" in lines
    assert "  timeout client 60000" in lines


def test_binds_and_backends() -> None:
    assert haproxy.bind(("192.0.2.1", 80)) == "  bind 192.0.2.1:80"
    assert haproxy.bind(("::1", 80), "accept-proxy") == "  bind [::1]:80 v6only accept-proxy"
    server = Server("a", ("::1", 9), "proxy-v1", "ssl")
    assert haproxy.backend(server) == ["backend a", "  server a [::1]:9 send-proxy ssl"]
    assert haproxy.backend(Server("b", None, None), ["  x"])[1:] == ["  x", "  server b 0.0.0.0:0"]


def test_what_haproxy_cannot_send() -> None:
    with pytest.raises(NoHAProxyError, match="cannot send magic: only proxy-v2, proxy-v1"):
        haproxy.backend(Server("a", ("::1", 9), "magic"))


def test_a_word_of_the_file_is_one_word() -> None:
    assert word("/etc/peeltap/edge-3.pem") == "/etc/peeltap/edge-3.pem"
    for name in ("", "a b", "a\nglobal", "a#", "a\\", 'a"', "a$b"):
        with pytest.raises(NoHAProxyError, match="plainer name"):
            word(name)
