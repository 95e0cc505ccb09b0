"""Configurations of the real programs, tried by those programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.demo import configs
from pipeline.demo.configs import Listen


def test_what_haproxy_is_told_of_each_service() -> None:
    text = configs.haproxy(
        [Listen(("192.0.2.1", 80), ("2001:db8::1", 81), "accept-proxy", "send-proxy-v2")],
        "%ci",
        ["option tcplog"],
    )
    assert text.splitlines()[-5:] == [
        "  timeout server 10m",
        "  option tcplog",
        "listen route0",
        "  bind 192.0.2.1:80 accept-proxy",
        "  server server0 [2001:db8::1]:81 send-proxy-v2",
    ]


def test_sshd_listens_where_it_is_told() -> None:
    text = configs.sshd(Path("/place"), [("192.0.2.1", 22), ("2001:db8::1", 22)])
    assert text.startswith(
        "ListenAddress 192.0.2.1:22\nListenAddress [2001:db8::1]:22\nHostKey /place/host_key\n"
    )


@pytest.mark.tool("haproxy")
def test_haproxy_takes_it(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    as_peer = "source 0.0.0.0 usesrc clientip"
    listen = Listen(("127.0.0.1", 80), ("192.0.2.2", 22), "accept-proxy", as_peer)
    config.write_text(configs.haproxy([listen], "%ci:%cp"))
    done = subprocess.run(["haproxy", "-c", "-f", config], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.tool("nginx")
def test_nginx_takes_it(tmp_path: Path) -> None:
    config = tmp_path / "nginx.conf"
    text = configs.nginx(tmp_path, "nginx", ["127.0.0.1:8080"], log=f"{tmp_path}/access.log")
    # Without a key of its own: what is tried is the words.
    config.write_text("\n".join(line for line in text.splitlines() if "ssl_cert" not in line))
    (tmp_path / "www").mkdir()
    argv = ["nginx", "-t", "-e", "stderr", "-c", config]
    done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin"})
    assert done.returncode == 0, done.stderr
