"""Workers on a real Redis: what is divided, leased, acknowledged, claimed; and what goes wrong."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from suricata.event_settings import RedisEvents
from suricata.sources.redis import RedisSource, _Part
from suricata.sources.source import Batch, SourceError
from tests.support.programs import Program, free_port, redis_server, until
from tests.support.redis_load import event, push, sequences, up

pytestmark = pytest.mark.tool("redis-server")
PARTS = 4


def source(port: int, *, notices: list[str] | None = None, **more: Any) -> RedisSource:
    values = {"partitions": PARTS, "lease_seconds": 60, "timeout_seconds": 60, **more}
    told = [] if notices is None else notices
    from_end = values.pop("from_end", False)
    model = RedisEvents.model_validate({"url": f"redis://127.0.0.1:{port}", **values})
    return RedisSource(model, notice=told.append, from_end=from_end)


def take(one: RedisSource, count: int, *, commit: bool = True) -> list[tuple[bytes, bytes]]:
    """Ids and lines of the next `count` events, or somewhat more."""
    found: list[tuple[bytes, bytes]] = []

    def more() -> bool:
        batch = one.read(1 << 14, 0)
        if batch is not None:
            found.extend(pairs(batch))
            if commit:
                one.commit([batch.token])
        return len(found) >= count

    until(more, f"{count} events")
    return found


def pairs(batch: Batch) -> list[tuple[bytes, bytes]]:
    assert batch.ids is not None
    lines = batch.lines.splitlines()
    named = list(batch.ids.each(lines))
    assert len(named) == len(lines)
    return list(zip(named, lines, strict=True))


def run_out(port: int, one: RedisSource) -> None:
    """As when it has said nothing for the time of a lease."""
    server = redis.Redis("127.0.0.1", port)
    server.zrem(one._workers, one._worker)
    server.delete(*one._leases)


def load(count: int, flows: int = 20) -> list[bytes]:
    return [event(one, sequence) for one, sequence in sequences(flows, count)]


def in_order(lines: list[bytes], wanted: list[bytes]) -> bool:
    """Whether each flow's lines are all there, once, in order."""

    def flows(all_: list[bytes]) -> dict[bytes, list[bytes]]:
        found: dict[bytes, list[bytes]] = {}
        for line in all_:
            found.setdefault(line.partition(b'"flow_id":')[2].partition(b",")[0], []).append(line)
        return found

    return flows(lines) == flows(wanted)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("parts", [1, PARTS])
@pytest.mark.parametrize("mode", ["list", "rpush", "stream"])
def test_all_comes_once_in_its_flows_order_and_is_gone_when_it_is_committed(
    port: int, mode: str, parts: int
) -> None:
    lines = load(3000)
    push(port, lines, mode=mode)
    one = source(port, mode=mode, partitions=parts)
    found = take(one, len(lines))
    assert in_order([line for _, line in found], lines)
    assert len({id_ for id_, _ in found}) == len(lines)
    assert all(len(id_) <= 64 for id_, _ in found)
    one._hold_at = 0
    assert one.read(1 << 14, 0) is None
    status = one.status()
    assert (status["waiting"], status["events"], status["workers"]) == (0, len(lines), 1)
    assert (status["pending"], status["open"]) == (0, 0)
    assert status["partitions"] == list(range(parts))
    server = redis.Redis("127.0.0.1", port)
    assert sum(server.xlen(name) for name in one._streams) == 0
    one.close()
    assert server.mget(one._leases) == [None] * parts


@pytest.mark.usefixtures("server")
def test_a_stream_may_be_kept_and_be_begun_at_its_end(port: int) -> None:
    push(port, load(10), mode="stream")
    kept = {"mode": "stream", "partitions": 1, "delete": False}
    one = source(port, **kept)
    assert len(take(one, 10)) == 10
    # What stays does not wait.
    push(port, load(4), mode="stream")
    one._hold_at = 0
    one.look()
    assert (one.status()["waiting"], one.status()["pending"]) == (4, 0)
    assert len(take(one, 4)) == 4
    late = source(port, **kept, group="late", from_end=True)
    one.close()
    assert late.read(1 << 14, 0) is None
    push(port, load(3), mode="stream")
    assert len(take(late, 3)) == 3
    server = redis.Redis("127.0.0.1", port)
    assert server.xlen("suricata") == 17
    assert server.xpending("suricata", "late")["pending"] == 0


@pytest.mark.usefixtures("server")
def test_what_a_dead_worker_had_read_comes_again_first_with_the_same_ids(port: int) -> None:
    lines = load(2000)
    push(port, lines)
    dead = source(port)
    read = take(dead, 1200, commit=False)
    dead._hold_at = 0
    dead.look()
    status = dead.status()
    assert (status["pending"], status["open"]) == (len(read), len(read))
    assert status["waiting"] == len(lines)
    dead._link.close()  # and nothing more is heard of it
    run_out(port, dead)
    heir = source(port)
    found = take(heir, len(lines))
    assert in_order([line for _, line in found], lines)
    assert set(read) <= set(found)
    assert heir.status()["claimed"] == len(read)
    assert heir.status()["open"] == 0
    heir._hold_at = 0
    heir.read(1 << 14, 0)
    server = redis.Redis("127.0.0.1", port)
    names = {
        one["name"] for name in heir._streams for one in server.xinfo_consumers(name, "peeltap")
    }
    assert names == {heir._worker}


@pytest.mark.usefixtures("server")
def test_a_worker_that_stood_still_gets_nothing_any_more(port: int) -> None:
    lines = load(3000)
    push(port, lines)
    notices: list[str] = []
    slow = source(port, notices=notices)
    read = slow.read(1 << 14, 0)
    assert read is not None
    run_out(port, slow)
    heir = source(port)
    until(lambda: heir.read(1, 0) is not None, "the leases")
    slow._hold_at = float("inf")
    assert slow.read(1 << 14, 0) is None
    assert slow.status()["lost"] == PARTS
    assert "went to another worker, since this one said nothing for 60 s" in notices[0]
    # What it had read it may still deliver, and say so.
    slow.commit([read.token])


@pytest.mark.usefixtures("server")
def test_each_takes_its_share_as_workers_come_and_go(port: int) -> None:
    first, second = source(port), source(port)
    push(port, load(400))
    held = first.read(1 << 20, 0)
    assert held is not None
    second.read(1, 0)
    assert second.status()["partitions"] == []
    # What is read is delivered before another goes on with the flow.
    first._hold_at = 0
    first.look()
    second._hold_at = 0
    second.look()
    assert second.status()["partitions"] == []
    first.commit([held.token])
    second._hold_at = 0
    second.look()
    assert len(first.status()["partitions"]) == len(second.status()["partitions"]) == PARTS // 2
    first.close()
    second._hold_at = 0
    second.look()
    assert second.status()["partitions"] == list(range(PARTS))
    # More workers than partitions: some have none, and wait.
    many = [source(port) for _ in range(PARTS + 1)]
    for _ in range(3):
        for one in (second, *many):
            one._hold_at = 0
            one.look()
    shares = Counter(len(one.status()["partitions"]) for one in (second, *many))
    assert shares == {1: PARTS, 0: 2}


@pytest.mark.usefixtures("server")
def test_an_answer_that_was_lost_is_asked_for_again(port: int) -> None:
    lines = load(600)
    push(port, lines)
    one = source(port)
    found = pairs(one.read(1 << 14, 0) or pytest.fail("nothing was read"))
    run = one._link.run

    def cut(*arguments: Any) -> Any:
        run(*arguments)
        raise redis.exceptions.ConnectionError("cut")

    one._hold_at = float("inf")
    one._link.run = cut  # type: ignore[method-assign]
    with pytest.raises(SourceError, match="cut; see whether it runs, and the address"):
        one.read(1 << 14, 0)
    one._link.run = run  # type: ignore[method-assign]
    found += take(one, len(lines) - len(found), commit=False)
    assert in_order([line for _, line in found], lines)
    assert one.status()["claimed"] > 0


def test_redis_is_killed_and_begins_again_and_is_emptied(server: Program, port: int) -> None:
    lines = load(900)
    push(port, lines)
    one = source(port)
    found = take(one, 200)
    server.kill()
    with pytest.raises(SourceError, match="see whether it runs"):
        one.read(1 << 14, 0)
    unsaved = [((part := _Part(0)), b"1-1", 1)]
    with pytest.raises(OSError, match="see whether it runs"):
        one.commit([unsaved])
    assert part.open == 0
    server.start()
    until(lambda: up(port), "Redis")
    found += take(one, len(lines) - len(found))
    assert in_order([line for _, line in found], lines)
    redis.Redis("127.0.0.1", port).flushall()
    push(port, lines)
    name = one._name

    def again() -> bool:
        try:
            return one.read(1, 0) is not None
        except SourceError:
            return False

    until(again, "the groups to be made again")
    # Other events, so other ids.
    assert one._name != name


@pytest.mark.usefixtures("server")
def test_a_full_memory_is_emptied(port: int) -> None:
    lines = load(2000)
    push(port, lines)
    admin = redis.Redis("127.0.0.1", port)
    admin.config_set("maxmemory", 1 << 20)
    with pytest.raises(redis.exceptions.RedisError, match="maxmemory"):
        admin.set("other", "1")
    found = take(source(port), len(lines))
    assert in_order([line for _, line in found], lines)


@pytest.mark.usefixtures("server")
def test_what_others_left_there_is_told(port: int) -> None:
    admin = redis.Redis("127.0.0.1", port)
    source(port).read(1, 0)
    with pytest.raises(SourceError, match="divided into 4 partitions, and partitions: 2 is asked"):
        source(port, partitions=2).read(1, 0)
    admin.set("suricata", "no list")
    with pytest.raises(SourceError, match=r"WRONGTYPE .*; see its state and its log"):
        source(port).read(1, 0)
    # A partition that cannot be written to: what was taken out goes back.
    admin.delete("suricata")
    admin.flushall()
    lines = load(40)
    push(port, lines)
    one = source(port)
    one.look()
    admin.set(one._streams[2], "no stream")
    for _ in range(3):
        with pytest.raises(SourceError, match="WRONGTYPE"):
            one.read(1 << 14, 0)
    admin.delete(one._streams[2])
    one._name = b""
    found = take(one, len(lines))
    assert in_order([line for _, line in found], lines)


@pytest.mark.usefixtures("server")
def test_an_entry_is_one_line_whatever_is_in_it(port: int) -> None:
    hostile = [b"", b"\n", b"a\nb\n\n", b"\xff\x00 x", b'{"flow_id": 7}', b"\n\n", b"y" * 100_000]
    push(port, hostile)
    found = [line for _, line in take(source(port, partitions=1), len(hostile))]
    assert found == [b"", b"", b"a b", b"\xff\x00 x", b'{"flow_id": 7}', b"", b"y" * 100_000]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400\r\n\r\n", b":1\r\n" * 50, b"", b"*9999999\r\n"])
def test_what_is_no_redis_is_told(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(65536)
                    peer.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        one = source(listening.getsockname()[1], timeout_seconds=0.3)
        for call in (lambda: one.read(100, 0), one.look):
            with pytest.raises(SourceError, match=r"redis redis://127\.0\.0\.1"):
                call()
        one.close()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_cluster(tmp_path: Path, port: int) -> None:
    bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with redis_server(tmp_path, port, *bus):
        admin = redis.Redis("127.0.0.1", port)
        admin.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
        state = "cluster_state"
        until(lambda: admin.execute_command("CLUSTER INFO")[state] == "ok", "the cluster")
        for inbox in ("suricata", "{site-7}:eve"):
            lines = load(300)
            push(port, lines, inbox=inbox)
            one = source(port, inbox=inbox, cluster=True)
            found = take(one, len(lines))
            assert in_order([line for _, line in found], lines)
            keys = [inbox, one._about, one._workers, *one._streams, *one._leases]
            assert len({admin.execute_command("CLUSTER KEYSLOT", key) for key in keys}) == 1
            one.close()


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
@settings(max_examples=50, deadline=None)
def test_where_pending_entries_are_looked_for(moment: int, sequence: int) -> None:
    part = _Part(0)
    assert part.begin == b"0-0"
    part.last = b"%d-%d" % (moment, sequence)
    assert part.begin == b"%d-%d" % (moment, sequence + 1)
    part.claiming = False
    assert part.begin == b""
