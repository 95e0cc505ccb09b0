"""100,000 events through the whole relay to each kind of sink, while everything is killed.

The relay is killed four times, amid its work. What is behind it is killed, restarted, slowed,
refuses, answers garbage and has no room, each in its own way. Every id arrives, and once where a
repeat is known. UDP is not here: what it loses nobody hears of.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import KafkaError
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from suricata.sinks.rotate import rotated
from tests.support.http_bulk import Bulk
from tests.support.http_collector import Collector
from tests.support.http_siem import Siem
from tests.support.kafka_mock import MockCluster
from tests.support.killed_relay import (
    KILLS,
    TOTAL,
    Growing,
    KilledRelay,
    Piped,
    Receiver,
    idents,
)
from tests.support.programs import Program, free_port, redis_server, until
from tests.suricata.sinks.test_redis import idents as in_redis
from tests.suricata.sinks.test_splunk import TOKEN
from tests.suricata.sinks.test_syslog import over, proof
from tests.suricata.sinks.test_webhook import Hook

BATCH = {"batch": {"events": 500}}

# Of all that an HTTP server may do to a request (`http_siem`), twice each time.
FAULTS = ("lost", "garbage", "reset", "half", "busy", "failing", "other", "slow", "denied", "lost")

# Of a webhook the status says all: 200 is an acknowledgement, whatever else there is.
PLAIN = ("lost", "half", "reset", "slow", "busy", "failing", "denied", "lost")


def by_http(server: Siem, count: Callable[[], int], faults: Sequence[str] = FAULTS) -> Receiver:
    """Faults, and the server killed in between."""
    pairs = [faults[at : at + 2] for at in range(0, len(faults), 2)]
    troubles: list[Callable[[], object]] = []
    for pair in pairs:
        troubles += [lambda pair=pair: server.faults.extend(pair), server.restart]  # type: ignore[misc]
    return Receiver(count, troubles)


def for_a_moment(begin: Callable[[], object], end: Callable[[], object]) -> Callable[[], None]:
    """As one trouble."""

    def trouble() -> None:
        begin()
        time.sleep(0.1)
        end()

    return trouble


@pytest.mark.tool("redis-server", "redis-cli")
def test_every_id_is_there_and_once_where_a_repeat_is_known(tmp_path: Path) -> None:
    port = free_port()
    with Bulk() as bulk, Hook() as hook, redis_server(tmp_path, port) as program:
        sinks: list[dict[str, Any]] = [
            {"name": "bulk", "elasticsearch": {"url": bulk.url}},
            {"redis": {"url": f"redis://127.0.0.1:{port}", "once_seconds": 3600}},
            {"name": "hook", "webhook": {"url": hook.url, "format": "array"}},
        ]

        # One that has just begun reads its file first.
        again = Retry(ConstantBackoff(0.05), 200, (redis.ConnectionError, OSError))
        admin = redis.Redis("127.0.0.1", port, socket_timeout=30, retry=again)

        def ask(*command: str) -> Any:
            return admin.execute_command(*command)

        def has() -> int:
            return int(ask("XLEN", "peeltap"))

        def config(key: str, value: str) -> Callable[[], Any]:
            return lambda: ask("CONFIG", "SET", key, value)

        def user(rule: str) -> Callable[[], Any]:
            return lambda: ask("ACL", "SETUSER", "default", rule)

        with KilledRelay(tmp_path, [one | BATCH for one in sinks]) as relay:
            bulk.item_faults = {
                **dict.fromkeys(relay.ids[1::997], -429),
                # An index is read-only when its disk is nearly full.
                **dict.fromkeys(relay.ids[2::997], -403),
                **dict.fromkeys(relay.ids[:TOTAL:5000], 400),
            }
            bad = set(relay.ids[:TOTAL:5000])
            hook.poison = poison = set(relay.ids[2500:TOTAL:25_000])
            relay.before(
                by_http(bulk, lambda: len(bulk.documents)),
                by_http(hook, lambda: len(hook.events), PLAIN),
                Receiver(
                    has,
                    [
                        program.restart,
                        for_a_moment(program.pause, program.go_on),
                        for_a_moment(config("maxmemory", "1"), config("maxmemory", "0")),
                        program.restart,
                        for_a_moment(user("-eval"), user("+eval")),
                    ],
                ),
            )
            for _ in range(KILLS):
                relay.feed()
                relay.start()
                relay.until_amid()
                relay.kill()
            relay.feed()
            relay.start()
            relay.until_all()
            relay.stop()
        told = in_redis(port)
    # Upserts and marks: each once, whatever came again.
    relay.assert_all(bulk.documents, but=bad)
    relay.assert_right(bulk.documents)
    assert relay.letters("bulk") == bad
    relay.assert_all(told)
    assert max(told.values()) == 1
    relay.assert_all(hook.events, but=poison)
    assert relay.letters("hook") == poison
    assert bulk.complaints == hook.complaints == []
    # A kill repeats what was on its way, which is all of it where another sink lags for less than
    # two seconds; it repeats it once, as does each of the faults and of the restarts between them.
    assert max(hook.events.values()) <= 1 + KILLS + len(PLAIN) * 3 // 2


@pytest.mark.tool("rsyslogd")
def test_every_id_is_there_though_syslog_acknowledges_nothing(tmp_path: Path) -> None:
    ways = ("tcp", "tls", "unix")
    places = {way: tmp_path / way for way in ways}
    sinks, programs = [], {}
    for way, place in places.items():
        place.mkdir()
        address, programs[way] = over(place, way)
        # More than any kernel's receive buffer holds here.
        syslog = {"address": address, "resend_kb": 65_536, **proof(place, way)}
        sinks.append({"syslog": syslog, **BATCH})
    received = {way: Growing(place / "received") for way, place in places.items()}
    with programs["tcp"], programs["tls"], programs["unix"], KilledRelay(tmp_path, sinks) as relay:

        def again(program: Program) -> Callable[[], None]:
            # What it had not read is sent once more with the next event. If it were lost together
            # with the relay, nobody could know.
            return lambda: (program.restart(), relay.poke())[1]

        def receiver(way: str, restarts: int) -> Receiver:
            program = programs[way]
            slow = for_a_moment(program.pause, program.go_on)
            return Receiver(received[way], [slow] * 6, [again(program)] * restarts)

        # What a local socket's reader had not read when it was killed is gone.
        relay.before(receiver("tcp", 3), receiver("tls", 2), receiver("unix", 0))
        for _ in range(KILLS):
            relay.feed()
            relay.start()
            relay.until_amid()
            relay.kill()
        relay.feed()
        relay.start()
        relay.until_all()
        relay.poke()
        relay.until_all()
        relay.stop()
        for one in received.values():
            until(lambda one=one: one() >= len(relay.fed), "the rest")  # type: ignore[misc]
            relay.assert_all(one.ids)


# In a mount namespace of its own, for as long as its input is open.
DISK = """
import subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", sys.argv[1]], check=True)
print("mounted", flush=True)
sys.stdin.readline()
subprocess.run(["mount", "-o", "remount,size=512m", sys.argv[1]], check=True)
print("grown", flush=True)
sys.stdin.read()
"""


class Disk:
    """A small disk at `path`; `around` brings a command there, and from here it is `seen`."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.around = ["nsenter", f"--mount=/proc/{process.pid}/ns/mnt", "--"]
        self.seen = Path(f"/proc/{process.pid}/root{path}")

    def grow(self) -> None:
        """There is room."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        self.says(b"grown\n")

    def says(self, what: bytes) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == what


@contextmanager
def small_disk(path: Path) -> Iterator[Disk]:
    path.mkdir()
    command = ["unshare", "-m", sys.executable, "-c", DISK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        disk = Disk(path, process)
        disk.says(b"mounted\n")
        yield disk
        assert process.stdin is not None
        process.stdin.close()


def whole(path: Path) -> Counter[str]:
    """How often each id is in a file and in what was turned over."""
    found: Counter[str] = Counter()
    for one in (*rotated(path), path):
        data = one.read_bytes()
        found.update(idents(gzip.decompress(data) if one.suffix == ".gz" else data))
    return found


@pytest.mark.netns
def test_every_id_is_there_where_a_repeat_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the state, the spool and one sink's file are, the disk is full at first."""
    monkeypatch.setenv("SPLUNK_TOKEN", TOKEN)
    place = tmp_path / "small"
    stdout = Piped()
    with (
        MockCluster() as cluster,
        Collector(token=TOKEN) as collector,
        small_disk(place) as disk,
    ):
        out = {"path": str(place / "out.json"), "rotate": {"mb": 2, "keep": 1000}}
        splunk = {"url": collector.url, "token": {"env": "SPLUNK_TOKEN"}, "ack_seconds": 1}
        # The library's own wait between two connections grows to ten seconds.
        options = {"reconnect.backoff.max.ms": 200}
        kafka = {"brokers": cluster.brokers, "topic": "peeltap", "options": options}
        sinks: list[dict[str, Any]] = [
            {"file": out},
            {"stdout": True},
            {"kafka": kafka, **BATCH},
            {"name": "splunk", "splunk": splunk, **BATCH},
        ]

        def down(broker: int) -> Callable[[], None]:
            return for_a_moment(lambda: cluster.down(broker), lambda: cluster.up(broker))

        def fails(*errors: int) -> Callable[[], None]:
            return lambda: cluster.fail(errors)

        around = disk.around
        with KilledRelay(tmp_path, sinks, state=place, see=disk.seen, around=around) as relay:
            collector.poison = poison = set(relay.ids[2500:TOTAL:25_000])
            by_splunk = by_http(collector, lambda: len(collector.indexed))
            relay.before(
                by_splunk,
                # How much is in Kafka is not cheap to know, nor does it differ much.
                Receiver(
                    by_splunk.count,
                    [
                        down(1),
                        fails(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._TRANSPORT),
                        for_a_moment(lambda: cluster.slow(20), lambda: cluster.slow(0)),
                        down(2),
                        # Of a broker's full disk.
                        fails(KafkaError.KAFKA_STORAGE_ERROR, KafkaError.NOT_ENOUGH_REPLICAS),
                        fails(KafkaError.TOPIC_AUTHORIZATION_FAILED),
                        down(3),
                    ],
                ),
                Receiver(stdout, [stdout.slow, stdout.fast, stdout.hang_up, stdout.slow]),
            )
            for number in range(KILLS):
                relay.feed()
                stdout.begin(relay.start(subprocess.PIPE))
                if number == 0:
                    relay.until(lambda: "out.json cannot be written to (No sp" in relay.said())
                    relay.until(lambda: "spool takes nothing (No space left" in relay.said())
                else:
                    relay.until_amid()
                relay.kill()
                stdout.join()
                if number == 0:
                    disk.grow()
            relay.feed()
            stdout.begin(relay.start(subprocess.PIPE))
            relay.until_all()
            relay.stop()
            stdout.join()
            in_file = whole(disk.seen / "out.json")
            assert relay.letters("splunk") == poison
        in_kafka = cluster.idents()
    for found in (in_file, stdout.ids, in_kafka):
        relay.assert_all(found)
        # By the kills, and by one more trouble of each kind.
        assert max(found.values()) <= 1 + KILLS + 4
    relay.assert_all(collector.indexed, but=poison)
    assert collector.complaints == []
