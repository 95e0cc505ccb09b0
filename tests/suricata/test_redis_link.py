"""The connection: begun when it is needed, anew when it broke, stopped from outside, in words."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import redis

from suricata.redis_link import RedisLink
from suricata.sinks.settings import RedisServer
from tests.support.http_siem import papers
from tests.support.programs import Program, redis_server, until

pytestmark = pytest.mark.tool("redis-server")


def link(port: int, seconds: float = 60) -> RedisLink:
    return RedisLink(RedisServer(url=f"redis://127.0.0.1:{port}", timeout_seconds=seconds))


@pytest.mark.usefixtures("server")
def test_a_scripts_text_travels_once(port: int) -> None:
    one = link(port)
    script = "return {KEYS[1], ARGV[1]}"
    for _ in range(3):
        assert one.run(script, ["k"], ["a"]) == [b"k", b"a"]
    calls = redis.Redis("127.0.0.1", port).info("commandstats")
    assert (calls["cmdstat_eval"]["calls"], calls["cmdstat_evalsha"]["calls"]) == (1, 3)
    one.connected().script_flush()
    assert one.run(script, ["k"], ["a"]) == [b"k", b"a"]
    one.close()


def test_what_broke_is_told_and_made_anew(server: Program, port: int) -> None:
    one = link(port)
    first = one.connected()
    first.ping()
    server.kill()
    with pytest.raises(redis.exceptions.ConnectionError) as told:
        first.ping()
    sentence = one.broken(told.value)
    assert sentence.startswith(f"redis redis://127.0.0.1:{port}: ")
    assert sentence.endswith("; see whether it runs, and the address")
    server.start()
    again = one.connected()
    assert again is not first
    until(again.ping, "Redis")


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_a_stop_from_another_thread_ends_what_waits(
    tmp_path: Path, port: int, encrypted: bool
) -> None:
    papers(tmp_path)
    pem, authority = str(tmp_path / "server.pem"), str(tmp_path / "ca.pem")
    tls = ("--port", "0", "--tls-port", str(port), "--tls-cert-file", pem, "--tls-key-file", pem)
    tls += ("--tls-ca-cert-file", authority, "--tls-auth-clients", "no")
    url = f"rediss://localhost:{port}" if encrypted else f"redis://127.0.0.1:{port}"
    settings = RedisServer(url=url, timeout_seconds=60, ca=Path(authority) if encrypted else None)
    with redis_server(tmp_path, port, *(tls if encrypted else ())) as server:
        # Whatever the reader is at just then, it meets no error but the library's own.
        for number in range(20):
            one = RedisLink(settings)
            one.connected().ping()
            server.pause()
            timer = threading.Timer(number / 1000, one.abort)
            timer.start()
            with pytest.raises((redis.exceptions.RedisError, OSError)) as told:
                one.connected().ping()
            timer.join()
            assert "stopped amid a batch" in one.broken(told.value)
            with pytest.raises(redis.exceptions.ConnectionError, match="stopped"):
                one.connected()
            one.close()
            server.go_on()
