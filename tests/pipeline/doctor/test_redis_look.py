"""Looks at a real Redis: with and without rights, divided, full of other things, absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from pipeline.doctor import redis_look
from pipeline.doctor.redis_server import Server
from suricata.event_settings import RedisEvents
from suricata.settings import EveRedis
from suricata.sinks.settings import RedisServer
from suricata.sources.redis import RedisSource
from tests.support.programs import free_port, redis_server, until
from tests.support.redis_load import event, push, sequences

pytestmark = pytest.mark.tool("redis-server")
PASSWORD = "correct-horse-battery"


def settings(port: int, **more: Any) -> RedisEvents:
    values = {"url": f"redis://127.0.0.1:{port}", "partitions": 4, "timeout_seconds": 5, **more}
    return RedisEvents.model_validate(values)


def look(port: int, **more: Any) -> Server:
    return redis_look.server("events.redis", settings(port, **more))


@pytest.mark.usefixtures("server")
def test_a_redis_and_what_waits_in_it(port: int, tmp_path: Path) -> None:
    # 1. Of itself.
    found = look(port)
    assert (found.error, found.hidden, found.name) == (None, None, "Redis")
    assert int(found.version.partition(".")[0]) >= 7
    assert (found.append_only, found.replica, found.clustered) == (True, False, False)
    assert (found.largest, found.policy) == (0, "noeviction")
    assert found.used > 100_000
    own = redis_look.suricatas(EveRedis(port=port))
    assert own is not None
    assert own.run_id == found.run_id
    assert redis_look.suricatas(EveRedis(server="/run/redis.sock")) is None
    # 2. Its inbox, before and while a worker is there.
    empty = redis_look.inbox(settings(port))
    assert (empty.kind, empty.agreed, empty.waiting, empty.workers) == ("none", None, 0, 0)
    push(port, [event(one, sequence) for one, sequence in sequences(10, 100)])
    worker = RedisSource(settings(port))
    assert worker.read(1 << 14, 0) is not None
    push(port, [b"{}"] * 7)
    read = redis_look.inbox(settings(port, partitions=2))
    assert (read.kind, read.agreed, read.workers, read.error) == ("list", 4, 1, None)
    assert (read.waiting, read.pending) == (107, worker.status()["open"])
    worker.close()
    # 3. Set up for a cache, and full of other things.
    admin = redis.Redis("127.0.0.1", port)
    admin.config_set("maxmemory", "64mb")
    admin.config_set("maxmemory-policy", "allkeys-lru")
    admin.config_set("appendonly", "no")
    found = look(port)
    assert (found.largest, found.policy, found.append_only) == (64 << 20, "allkeys-lru", False)
    admin.flushall()
    admin.set("suricata", "text")
    for mode in ({}, {"mode": "stream", "partitions": 1}):
        told = redis_look.inbox(settings(port, **mode))
        assert (told.kind, told.error) == ("string", None)
    admin.hset("{suricata}:peeltap", "partitions", "9" * 18)
    assert redis_look.inbox(settings(port)).agreed == int("9" * 18)
    admin.set("{suricata}:peeltap", "no hash")
    assert "WRONGTYPE" in str(redis_look.inbox(settings(port)).error)
    # 4. With rights to nothing, then without.
    (tmp_path / "password").write_text(PASSWORD)
    secret = {"password": {"file": tmp_path / "password"}}
    admin.execute_command("ACL SETUSER worker on >" + PASSWORD + " +ping")
    poor = look(port, user="worker", **secret)
    assert (poor.error, "permissions to run the 'info' command" in str(poor.hidden)) == (None, True)
    assert "no permissions" in str(redis_look.inbox(settings(port, user="worker", **secret)).error)
    admin.config_set("requirepass", PASSWORD)
    assert "see user and password" in str(look(port).error)
    assert look(port, **secret).error is None
    (tmp_path / "password").write_text("another")
    assert f"see the file {tmp_path / 'password'}" in str(look(port, **secret).error)


def test_a_cluster(tmp_path: Path, port: int) -> None:
    bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with redis_server(tmp_path, port, *bus):
        admin = redis.Redis("127.0.0.1", port)
        admin.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
        state = "cluster_state"
        until(lambda: admin.execute_command("CLUSTER INFO")[state] == "ok", "the cluster")
        assert look(port).clustered
        found = look(port, cluster=True)
        assert (found.error, found.clustered, found.cluster) == (None, True, True)
        push(port, [b"{}"] * 3)
        worker = RedisSource(settings(port, cluster=True))
        worker.look()
        read = redis_look.inbox(settings(port, cluster=True))
        assert (read.error, read.waiting, read.workers, read.agreed) == (None, 3, 1, 4)
        worker.close()


def test_none_is_there(tmp_path: Path, port: int) -> None:
    assert "see whether it runs, and the address" in str(look(port).error)
    assert "see whether it runs" in str(redis_look.inbox(settings(port)).error)
    absent = RedisServer.model_validate({"url": f"rediss://127.0.0.1:{port}", "ca": tmp_path / "x"})
    assert str(tmp_path / "x") in str(redis_look.server("flows.redis", absent).error)


def test_one_server_is_asked_once(port: int) -> None:
    flows = RedisServer(url=f"redis://127.0.0.1:{port}")
    found = redis_look.servers({"events.redis": settings(port), "flows.redis": flows})
    assert [one.key for one in found] == ["events.redis and flows.redis"]
    other = RedisServer(url=f"redis://127.0.0.1:{port}/1")
    found = redis_look.servers({"events.redis": settings(port), "flows.redis": other})
    assert [one.key for one in found] == ["events.redis", "flows.redis"]
    assert [one.key for one in redis_look.servers({"events.redis": None, "x": other})] == ["x"]
