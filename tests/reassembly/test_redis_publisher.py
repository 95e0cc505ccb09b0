"""A sensor's records on their way: at once, or later by a dead Redis, a full queue, a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from reassembly.records import FlowRecord
from reassembly.redis_flows import Site
from reassembly.redis_publisher import FlowPublisher
from reassembly.store import SqliteStore
from suricata.redis_link import RedisLink
from suricata.sinks.settings import RedisServer
from tests.support.programs import Program, until
from tests.support.redis_load import SECOND, flow, line, up

pytestmark = pytest.mark.tool("redis-server")
SITE = Site()


def now_flow(number: int, **more: Any) -> FlowRecord:
    """One that has just begun: the file is read from not so long ago."""
    return flow(number, start=time.time_ns() - 2 * SECOND, **more)


@contextmanager
def publisher(place: Path, port: int, **more: Any) -> Iterator[FlowPublisher]:
    SqliteStore(place / "flows.sqlite").close()
    settings = RedisServer(url=f"redis://127.0.0.1:{port}", timeout_seconds=60)
    one = FlowPublisher(RedisLink(settings), SITE, "a", place / "flows.sqlite", **more)
    one.start()
    try:
        yield one
    finally:
        one.close()
        until(lambda: not one.alive, "its end")


def count(port: int) -> int:
    return len(redis.Redis("127.0.0.1", port).keys("peeltap:flow:*"))


def word(port: int) -> int:
    return int(redis.Redis("127.0.0.1", port).get(SITE.sensor_key("a")) or 0)


@pytest.mark.usefixtures("server")
def test_records_are_there_before_the_sensor_says_so(tmp_path: Path, port: int) -> None:
    records = [now_flow(number) for number in range(1, 2000)]
    with publisher(tmp_path, port) as one:
        text = b"".join(line(record._replace(end=None)) + line(record) for record in records)
        one.add_lines(text + b"garbage\n")
        one.add_lines(b"")
        after = time.time_ns()
        until(lambda: word(port) > after, "the sensor's word")
        assert count(port) == len(records)
        status = one.status()
        # Of what opened and closed at once only the end.
        assert (status["published"], status["garbage"]) == (len(records), 1)
        assert status["queued_bytes"] == 0
        assert status["until"] <= time.time_ns()
    key = SITE.key("TCP", records[0].observed)
    assert [value[:1] for value in redis.Redis("127.0.0.1", port).hvals(key)] == [b"c"]


def test_a_dead_redis_gets_what_was_queued_meanwhile(
    tmp_path: Path, server: Program, port: int
) -> None:
    told: list[str] = []
    server.kill()
    with publisher(tmp_path, port, say=lambda _, text: told.append(text)) as one:
        for number in range(1, 100):
            one.add_lines(line(now_flow(number)))
        until(lambda: one.status()["trouble"], "the trouble")
        server.start()
        until(lambda: up(port) and count(port) == 99, "all")
        until(lambda: one.status()["trouble"] is None, "its end")
    assert "flow records are not published, and workers wait for them: redis redis://" in told[0]
    assert told[-1] == "flow records are published again"


def test_what_the_queue_could_not_hold_comes_from_the_file(
    tmp_path: Path, server: Program, port: int
) -> None:
    records = [now_flow(number) for number in range(1, 3000)]
    old = flow(60_000, start=time.time_ns() - 3000 * SECOND)
    with publisher(tmp_path, port, max_queued_bytes=20_000) as one:
        until(lambda: word(port), "its first word")
        server.pause()
        for record in (*records, old):
            one.add_lines(line(record))
        assert one.status()["overflowed"] > 0
        with SqliteStore(tmp_path / "flows.sqlite") as local:
            local.add_many([old, *records])
        server.go_on()
        until(lambda: count(port) >= len(records), "all")
        until(lambda: not one.status()["behind"], "the file's end")
        assert one.status()["again"] > 0
        # What had ended long before is not published again.
        assert not redis.Redis("127.0.0.1", port).exists(SITE.key("TCP", old.observed))


def test_a_restart_goes_on_where_the_last_run_stopped(
    tmp_path: Path, server: Program, port: int
) -> None:
    before, after = now_flow(1), now_flow(2)
    with publisher(tmp_path, port) as one:
        one.add_lines(line(before))
        until(lambda: word(port), "its word")
    # Killed before it was published.
    with SqliteStore(tmp_path / "flows.sqlite") as local:
        local.add_many([before, after._replace(end=None)])
    with publisher(tmp_path, port):
        until(lambda: count(port) == 2, "the other")
    assert server is not None


def test_what_redis_lost_is_published_again(tmp_path: Path, server: Program, port: int) -> None:
    told: list[str] = []
    record = now_flow(1)
    with publisher(tmp_path, port, say=lambda _, text: told.append(text)) as one:
        with SqliteStore(tmp_path / "flows.sqlite") as local:
            local.add(record)
        one.add_lines(line(record))
        until(lambda: count(port) == 1 and word(port), "the record")
        redis.Redis("127.0.0.1", port).flushall()
        until(lambda: count(port) == 1, "it again")
        until(lambda: word(port), "the sensor's word")
    assert any("Redis has lost flow records" in text for text in told)
    assert server is not None


def test_a_stop_waits_for_a_dead_redis_no_longer_than_asked(tmp_path: Path, port: int) -> None:
    with publisher(tmp_path, port) as one:
        one.add_lines(line(now_flow(1)))
        until(lambda: one.status()["trouble"], "the trouble")
