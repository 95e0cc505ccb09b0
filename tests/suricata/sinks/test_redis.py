"""Streams of a real Redis: TLS, ACLs, a cluster, replicas; killed, stopped, restarted, full."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from suricata.sinks.client import Partly, Unavailable
from suricata.sinks.redis import RedisClient
from suricata.sinks.settings import Redis
from tests.support.http_siem import papers
from tests.support.programs import Program, free_port, redis_server, until
from tests.support.sink_load import drive, many

pytestmark = pytest.mark.tool("redis-server", "redis-cli")
PASSWORD = "correct-horse-battery"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(tmp_path: Path, port: int) -> Iterator[Program]:
    with redis_server(tmp_path, port) as program:
        yield program


def client(port: int, **more: Any) -> RedisClient:
    settings = {"url": f"redis://127.0.0.1:{port}", "timeout_seconds": 5, **more}
    return RedisClient(Redis.model_validate(settings))


def entries(port: int, stream: str = "peeltap") -> list[tuple[str, bytes]]:
    """Each entry's `id` and `event`, in order."""
    reader = redis.Redis("127.0.0.1", port)
    return [(fields[b"id"].decode(), fields[b"event"]) for _, fields in reader.xrange(stream)]


def idents(port: int) -> Counter[str]:
    """How often each id is in the stream; redis-cli is quicker than Python with very many."""
    command = ["redis-cli", "-p", str(port), "XRANGE", "peeltap", "-", "+"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    lines = done.stdout.splitlines()
    # Of each entry: its own id, and names and values of its two fields.
    assert set(lines[1::5]) == {"id"}
    assert set(lines[3::5]) == {"event"}
    return Counter(lines[2::5])


@pytest.mark.usefixtures("server")
def test_each_event_is_an_entry_in_order(port: int) -> None:
    events = many(2500)
    sink = client(port)
    assert sink.deliver(events) == []
    assert entries(port) == [(one.id, one.line) for one in events]
    assert sink.check().startswith(f"redis://127.0.0.1:{port}: Redis ")
    sink.close()


@pytest.mark.usefixtures("server")
def test_a_stream_is_bounded_and_a_repeat_is_not_added_again(port: int) -> None:
    events = many(3000)
    sink = client(port, maxlen=1000, once_seconds=600)
    sink.deliver(events)
    sink.deliver(events[2000:])
    assert sink.status()["duplicates"] == 1000
    found = entries(port)
    # Redis cuts whole nodes of the stream.
    assert 1000 <= len(found) < 1300
    assert found == [(one.id, one.line) for one in events[-len(found) :]]
    reader = redis.Redis("127.0.0.1", port)
    assert 0 < reader.ttl("{peeltap}:id:" + events[0].id) <= 600


@pytest.mark.usefixtures("server")
def test_what_it_refuses_is_told_and_tried_again(port: int) -> None:
    admin = redis.Redis("127.0.0.1", port)
    admin.set("peeltap", "no stream")
    sink = client(port)
    with pytest.raises(Unavailable, match=r"WRONGTYPE .*; see its state and its log"):
        sink.deliver(many(3))
    # What could not be added is not marked as if it were.
    once = client(port, once_seconds=60)
    with pytest.raises(Unavailable, match="WRONGTYPE"):
        once.deliver(many(3))
    admin.delete("peeltap")
    assert once.deliver(many(120)) == []
    assert once.deliver(many(130)) == []
    assert once.status()["duplicates"] == 120
    assert [ident for ident, _ in entries(port)] == [one.id for one in many(130)]
    # Its memory is full: 100 events get in, or so.
    admin.config_set("maxmemory", admin.info("memory")["used_memory"] + 100_000)
    with pytest.raises(Partly, match="used memory > 'maxmemory'") as told:
        sink.deliver(many(5000))
    assert 0 < len(told.value.taken) < 5000
    assert told.value.rejected == []
    admin.config_set("maxmemory", 0)
    assert sink.deliver(many(3)) == []
    with pytest.raises(Unavailable, match="0 of 1 replicas have it"):
        client(port, replicas=1, timeout_seconds=2).deliver(many(1))


def test_tls_and_acls_and_that_secrets_are_never_told(tmp_path: Path, port: int) -> None:
    papers(tmp_path)
    file = tmp_path / "password"
    file.write_text("wrong-one-first")
    pem = str(tmp_path / "server.pem")
    tls = ("--tls-cert-file", pem, "--tls-key-file", pem)
    options = ("--port", "0", "--tls-port", str(port), *tls)
    acl = f"--user sensor on >{PASSWORD} ~peeltap +xadd +info +xlen --user default off".split()
    more = {
        "url": f"rediss://localhost:{port}",
        "ca": str(tmp_path / "ca.pem"),
        "cert": str(tmp_path / "client.pem"),
        "user": "sensor",
        "password": {"file": str(file)},
    }
    with redis_server(tmp_path, port, *options, "--tls-ca-cert-file", more["ca"], *acl):
        sink = client(port, **more)
        with pytest.raises(Unavailable, match=f"see the file {file} and the rights") as told:
            sink.deliver(many(1))
        assert "wrong-one" not in str(told.value)
        file.write_text(PASSWORD)
        assert sink.deliver(many(1)) == []
        assert "Redis" in sink.check()
        for text in (sink.check(), repr(sink.status()), repr(sink._settings)):
            assert PASSWORD not in text
        other = client(port, **{**more, "stream": "other"})
        with pytest.raises(Unavailable, match="see the file"):
            other.deliver(many(1))
        with pytest.raises(Unavailable, match="certificate verify failed"):
            client(port, **{**more, "ca": str(tmp_path / "other.pem")}).deliver(many(1))
        assert client(port, **{**more, "ca": None, "verify": False}).deliver(many(1)) == []
        # A key in a file of its own, or none: the other side wants our certificate.
        with pytest.raises(Unavailable):
            client(port, **{**more, "cert": None}).deliver(many(1))


def test_a_cluster(tmp_path: Path, port: int) -> None:
    bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with redis_server(tmp_path, port, *bus):
        admin = redis.Redis("127.0.0.1", port)
        admin.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
        state = "cluster_state"
        until(lambda: admin.execute_command("CLUSTER INFO")[state] == "ok", "the cluster")
        for once in (0, 60):
            sink = client(port, cluster=True, once_seconds=once)
            assert sink.deliver(many(50)) == []
            assert sink.deliver(many(50)) == []
            assert "Redis" in sink.check()
            sink.close()
        assert idents(port) == {one.id: 3 for one in many(50)}


GARBAGE = {
    "text": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a number": b":1\r\n" * 50,
    "nothing": b"",
    "an array without an end": b"*99999999\r\n",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
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
        port = listening.getsockname()[1]
        with pytest.raises(Unavailable, match=f"redis redis://127.0.0.1:{port}: "):
            client(port, timeout_seconds=0.5).deliver(many(3))
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_stop_ends_a_batch_that_waits(server: Program, port: int) -> None:
    sink = client(port, timeout_seconds=60)
    sink.deliver(many(1))
    server.pause()
    timer = threading.Timer(0.2, sink.abort)
    timer.start()
    with pytest.raises(Unavailable, match="stopped amid a batch"):
        sink.deliver(many(10))
    with pytest.raises(Unavailable, match="stopped"):
        sink.deliver(many(10))
    server.go_on()
    sink.close()


def test_ten_thousand_as_they_come_while_it_is_killed_and_stopped(
    server: Program, port: int
) -> None:
    events = many(10_000)
    gone = free_port()

    def before(number: int) -> None:
        if number % 10 == 2:
            # Killed in the middle of a batch: what was acknowledged is on its disk.
            threading.Timer(0.01, server.restart).start()
        if number % 10 == 4:
            server.pause()
            threading.Timer(0.1, server.go_on).start()

    with pytest.raises(Unavailable, match="see whether it runs"):
        client(gone).deliver(events[:1])
    told = drive(client(port), events, size=500, before=before)
    # Whoever restarts it may still be at it.
    until(lambda: _up(port), "Redis")
    found = idents(port)
    assert set(found) == {one.id for one in events}
    assert told.rejected == {}


def _up(port: int) -> bool:
    try:
        return bool(redis.Redis("127.0.0.1", port, socket_timeout=5).ping())
    except redis.RedisError:
        return False
