"""Where records lie in a real Redis, for how long, and what of a port used again is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from reassembly.records import Endpoints, RecordError
from reassembly.redis_flows import MAX_EPOCHS, Site, emit, parse, put
from suricata.redis_link import RedisLink
from suricata.sinks.settings import RedisServer
from tests.support.programs import free_port, redis_server, until
from tests.support.redis_load import START, flow

SITE = Site("lab", seconds=100, open_seconds=1000)


def link(port: int, *, cluster: bool = False) -> RedisLink:
    return RedisLink(RedisServer(url=f"redis://127.0.0.1:{port}", cluster=cluster))


@pytest.mark.parametrize("end", [None, 5], ids=["open", "closed"])
def test_what_an_event_needs_of_a_record_comes_back(end: int | None) -> None:
    record = flow(40_000, epoch=3, end=end, vlan=(7, 9), restored=True)
    field, value = emit(record, "sensor-1")
    kept = parse(field.encode(), value)
    assert kept.sensor == "sensor-1"
    found = kept.record
    same = ("id", "epoch", "proto", "observed", "vlan", "true", "start", "end", "verdict")
    assert [getattr(found, name) for name in same] == [getattr(record, name) for name in same]
    assert (found.codecs, found.restored) == (record.codecs, True)
    assert value[:1] == (b"o" if end is None else b"c")


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_garbage_is_no_record(field: bytes, value: bytes) -> None:
    with pytest.raises(RecordError):
        parse(field, value)


def test_both_directions_are_one_key_and_sites_are_apart() -> None:
    ends = Endpoints("172.16.23.1", 40_000, "2001:db8::1", 9000)
    assert SITE.key("TCP", ends) == SITE.key("TCP", ends.reverse())
    assert len({SITE.key("TCP", ends), SITE.key("UDP", ends), Site("b").key("TCP", ends)}) == 3


@pytest.mark.tool("redis-server")
@pytest.mark.usefixtures("server")
def test_a_closed_record_stays_shorter_and_is_not_opened_again(port: int) -> None:
    server, known = redis.Redis("127.0.0.1", port), flow(40_000)
    key = SITE.key("TCP", known.observed)
    put(link(port), SITE, [known._replace(end=None)], "a")
    assert 100 < server.ttl(key) <= 1000
    put(link(port), SITE, [known], "a")
    put(link(port), SITE, [known._replace(end=None)], "a")
    assert 0 < server.ttl(key) <= 100
    assert [value[:1] for value in server.hvals(key)] == [b"c"]
    # One that is open keeps its tuple's others.
    put(link(port), SITE, [flow(40_000, epoch=1, end=None), flow(40_000, epoch=2)], "a")
    assert 100 < server.ttl(key) <= 1000


@pytest.mark.tool("redis-server")
@pytest.mark.usefixtures("server")
def test_of_a_port_used_without_end_the_latest_are_kept(port: int) -> None:
    epochs = [flow(40_000, epoch=number) for number in range(100)]
    put(link(port), SITE, [*epochs[50:], *epochs[:50]], "a")
    [key] = redis.Redis("127.0.0.1", port).keys("peeltap:flow:*")
    fields = redis.Redis("127.0.0.1", port).hkeys(key)
    starts = sorted(int(field.split(b" ")[0]) for field in fields)
    assert starts == [one.start for one in epochs[-MAX_EPOCHS:]]
    assert starts[0] > START


@pytest.mark.tool("redis-server")
@pytest.mark.usefixtures("server")
def test_a_restored_connection_is_found_by_both_its_tuples(port: int) -> None:
    record = flow(40_000, restored=True)
    put(link(port), SITE, [record], "a")
    assert record.true is not None
    server = redis.Redis("127.0.0.1", port)
    assert server.exists(SITE.key("TCP", record.observed), SITE.key("TCP", record.true)) == 2


@pytest.mark.tool("redis-server")
def test_a_cluster(tmp_path: Path) -> None:
    port = free_port()
    bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with redis_server(tmp_path, port, *bus):
        admin = redis.Redis("127.0.0.1", port)
        admin.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
        state = "cluster_state"
        until(lambda: admin.execute_command("CLUSTER INFO")[state] == "ok", "the cluster")
        records = [flow(number) for number in range(1, 200)]
        put(link(port, cluster=True), SITE, records, "a")
        assert admin.dbsize() == len(records)
