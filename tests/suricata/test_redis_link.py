"""The connection: begun when it is needed, anew when it broke, stopped from outside, in words."""

from __future__ import annotations

import threading

import pytest
import redis

from suricata.redis_link import RedisLink
from suricata.sinks.settings import RedisServer
from tests.support.programs import Program, until

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


def test_a_stop_from_another_thread_ends_what_waits(server: Program, port: int) -> None:
    one = link(port, 60)
    one.connected().ping()
    server.pause()
    timer = threading.Timer(0.1, one.abort)
    timer.start()
    # The library's own reader may find its buffer closed under it.
    with pytest.raises((redis.exceptions.RedisError, OSError, ValueError)) as told:
        one.connected().ping()
    assert "stopped amid a batch" in one.broken(told.value)
    with pytest.raises(redis.exceptions.ConnectionError, match="stopped"):
        one.connected()
    server.go_on()
