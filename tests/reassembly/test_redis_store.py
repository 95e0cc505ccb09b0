"""Lookups in a real Redis: as in memory, never by an answer that is too old, and patient."""

from __future__ import annotations

import threading
import time

import pytest
import redis

from reassembly import redis_store
from reassembly.records import FlowRecord
from reassembly.redis_flows import Site, put
from reassembly.redis_store import RedisStore
from reassembly.store import FlowStore, Match, MemoryStore, StoreError
from suricata.redis_link import RedisLink
from suricata.sinks.settings import RedisServer
from tests.support.programs import Program, until
from tests.support.redis_load import SECOND, event, flow

pytestmark = pytest.mark.tool("redis-server")
SITE = Site()


def link(port: int, seconds: float = 5) -> RedisLink:
    return RedisLink(RedisServer(url=f"redis://127.0.0.1:{port}", timeout_seconds=seconds))


def ask(store: FlowStore, record: FlowRecord, at: int, **more: int) -> Match | None:
    ends = record.observed
    return store.lookup("TCP", ends.src_ip, ends.src_port, ends.dest_ip, ends.dest_port, at, **more)


def say(port: int, sensor: str, moment: int) -> None:
    redis.Redis("127.0.0.1", port).set(SITE.sensor_key(sensor), moment)


@pytest.mark.usefixtures("server")
def test_it_answers_as_a_store_in_memory_does(port: int) -> None:
    kept, local = RedisStore(link(port)), MemoryStore()
    records = [flow(port_, epoch=epoch) for port_ in range(1, 30) for epoch in range(4)]
    records += [flow(31, end=None), flow(32, vlan=(7,)), flow(32, vlan=(9,), id="b" * 16)]
    records += [flow(33, restored=True)]
    for one in (kept, local):
        assert one.add_many(records) == len(records)
    for record in records:
        for after in (-2 * SECOND, -1000, 0, 1000, SECOND, SECOND + 1000, 3 * SECOND):
            for started in (None, record.start):
                for ends in (record.observed, record.observed.reverse()):
                    question = ("TCP", *ends, record.start + after)
                    more = {"started": started, "vlan": record.vlan}
                    found, wanted = (one.lookup(*question, **more) for one in (kept, local))
                    assert (found is None) == (wanted is None), question
                    if found is not None and wanted is not None:
                        assert found.record.id == wanted.record.id
                        assert found[1:4] == wanted[1:4]
                        assert (found.since <= found.until) == (wanted.since <= wanted.until)
    assert ask(kept, flow(99), 0) is None
    assert kept.lookup("TCP", "no address", 1, "at all", 2, 0) is None


@pytest.mark.usefixtures("server")
def test_an_open_connection_is_sure_up_to_its_sensors_word(port: int) -> None:
    store, old = RedisStore(link(port)), flow(1, end=None)
    put(link(port), SITE, [old], "a")
    # Of the sensor nothing is known as yet.
    first = ask(store, old, old.start + SECOND)
    assert first is not None
    assert first.confidence == "late"
    say(port, "a", old.start + 10 * SECOND)
    until(lambda: sure(store, old, old.start + SECOND), "the next word")
    # Beyond it there may be another use of the port, which is on its way.
    later = old.start + 11 * SECOND
    assert not sure(store, old, later)
    found = ask(store, old, old.start + SECOND)
    assert found is not None
    assert found.until < old.start + 10 * SECOND
    new = flow(1, epoch=1, start=later - 1000)
    put(link(port), SITE, [old._replace(end=later - 2000), new], "a")
    say(port, "a", later + SECOND)
    until(lambda: sure(store, new, later), "the next use")
    # And late events of the old one are the old one's.
    assert sure(store, old, old.start + SECOND)


def sure(store: RedisStore, record: FlowRecord, at: int) -> bool:
    """Whether the answer is `record`, and no wait would change it; the store may ask again."""
    assert store.version >= 0
    found = ask(store, record, at)
    return found is not None and found.confidence != "late" and found.record.id == record.id


@pytest.mark.usefixtures("server")
def test_what_one_event_waits_for_is_asked_for_whatever_others_find(port: int) -> None:
    store, old, new = RedisStore(link(port)), flow(1), flow(1, epoch=1)
    put(link(port), SITE, [old], "a")
    for _ in range(2):
        assert not sure(store, new, new.start)
        assert sure(store, old, old.start)
    put(link(port), SITE, [new], "a")
    until(lambda: sure(store, new, new.start), "the other use")
    # And no longer than somebody waits.
    until(lambda: store.version >= 0 and not store.stats()["wanted"], "nothing to be wanted")


@pytest.mark.usefixtures("server")
def test_a_block_of_events_is_two_round_trips(port: int) -> None:
    records = [flow(number) for number in range(1, 500)]
    put(link(port), SITE, records, "a")
    store = RedisStore(link(port))
    lines = b"\n".join(event(one, 0) for one in records * 3) + b"\n"
    # What only looks like a tuple, and one beyond all ports.
    lines += b'{"url":"\\"src_ip\\":\\"1.1.1.1\\",\\"src_port\\":1"}\n'
    lines += (
        b'{"src_ip":"1.1.1.1","src_port":99999,"dest_ip":"2.2.2.2","dest_port":1,"proto":"TCP"}\n'
    )
    before = store.version
    store.prefetch(lines)
    # Nobody waits for any of them.
    assert store.version == before
    for one in records:
        assert sure(store, one, one.start + 1)
    stats = store.stats()
    assert (stats["round_trips"], stats["asked"]) == (1, 500)
    # Soon after, nothing is asked again.
    store._entries = {key: _fresh(one) for key, one in store._entries.items()}
    store.prefetch(lines)
    assert store.stats()["asked"] == 500


def _fresh(entry: redis_store._Entry) -> redis_store._Entry:
    entry.at = time.monotonic() + 1000
    return entry


@pytest.mark.usefixtures("server")
def test_what_is_remembered_is_bounded(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "_MAX_WANTED", 10)
    store = RedisStore(link(port), cached=20)
    for number in range(1, 50):
        assert ask(store, flow(number), 0) is None
    assert (len(store), store.stats()["wanted"]) == (20, 10)


@pytest.mark.usefixtures("server")
def test_garbage_in_redis_is_counted_and_harms_nothing(port: int) -> None:
    known = flow(1)
    put(link(port), SITE, [known], "a")
    server = redis.Redis("127.0.0.1", port)
    key = SITE.key("TCP", known.observed)
    server.hset(key, mapping={"x": "y", "1 a b 2": "o{}", b"\xff \xff \xff 1": b"c\xff"})
    store = RedisStore(link(port))
    assert sure(store, known, known.start)
    assert store.stats()["garbage"] == 3


def test_everything_waits_while_redis_is_gone(server: Program, port: int) -> None:
    told: list[str] = []
    store = RedisStore(link(port), say=lambda _, text: told.append(text))
    known = flow(1)
    store.add(known)
    server.kill()
    timer = threading.Timer(0.3, server.start)
    timer.start()
    found = ask(store, known, known.start)
    assert found is not None
    timer.join()
    assert "flow records cannot be had, events wait: redis redis://" in told[0]
    assert told[-1] == "flow records are to be had again"
    assert store.stats()["trouble"] is None


def test_a_stop_ends_the_wait(port: int) -> None:
    store = RedisStore(link(port))
    timer = threading.Timer(0.1, store.abort)
    timer.start()
    with pytest.raises(StoreError, match="stopped"):
        ask(store, flow(1), 0)
    with pytest.raises(StoreError, match=r"see whether it runs|stopped"):
        store.add(flow(1))
    store.close()
