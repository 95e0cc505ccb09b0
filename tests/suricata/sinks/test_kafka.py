"""Kafka, against the cluster that is built into librdkafka (tests/support/kafka_mock.py)."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError

from suricata.sinks.client import Unavailable
from suricata.sinks.kafka import KafkaClient
from suricata.sinks.settings import Kafka
from tests.support.kafka_mock import MockCluster
from tests.support.sink_load import drive, many, outgoing

PASSWORD = "correct-horse-battery"


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as found:
        yield found


def client(cluster: MockCluster, **more: Any) -> KafkaClient:
    # The library's own wait between two connections grows to ten seconds.
    options = {"reconnect.backoff.max.ms": 200, **more.pop("options", {})}
    settings = {"brokers": cluster.brokers, "timeout_seconds": 60, "options": options, **more}
    return KafkaClient(Kafka.model_validate(settings))


def test_an_event_is_a_message_whose_key_is_the_attacker(cluster: MockCluster) -> None:
    events = many(500)
    sink = client(cluster)
    assert sink.deliver(events) == []
    found = {dict(one.headers())["peeltap-id"].decode(): one for one in cluster.messages()}
    assert {ident: one.value() for ident, one in found.items()} == {
        one.id: one.line for one in events
    }
    partitions: dict[str, set[int]] = {}
    for one in events:
        message = found[one.id]
        assert message.key().decode() == one.event["src_ip"]
        partitions.setdefault(one.event["src_ip"], set()).add(message.partition())
    assert {len(numbers) for numbers in partitions.values()} == {1}
    assert sink.check().endswith(": 3 brokers, topic peeltap with 32 partitions")
    assert sink.status()["producers"] == 1
    sink.close()


def test_an_event_that_is_too_large_is_found(cluster: MockCluster) -> None:
    events = many(6)
    events[2] = outgoing(2, payload="x" * 3000)
    sink = client(cluster, options={"message.max.bytes": 2000})
    [rejected] = sink.deliver(events)
    assert rejected.index == 2
    # Of a whole request a broker says it; each is then tried by itself.
    cluster.fail([KafkaError.MSG_SIZE_TOO_LARGE] * 3)
    assert client(cluster).deliver(events) == []
    assert set(cluster.idents()) == {one.id for one in events}


def test_a_refusal_is_told_and_the_events_come_again(cluster: MockCluster) -> None:
    sink = client(cluster)
    sink.deliver(many(1))
    cluster.fail([KafkaError.TOPIC_AUTHORIZATION_FAILED] * 8)
    with pytest.raises(Unavailable, match=r"Topic authorization failed; see the brokers, the t"):
        sink.deliver(many(8))
    told = drive(sink, many(8))
    assert told.rejected == {}
    assert set(cluster.idents()) == {one.id for one in many(8)}


def test_brokers_that_are_gone_are_named_and_come_back(cluster: MockCluster) -> None:
    sink = client(cluster, timeout_seconds=0.5)
    for number in (1, 2, 3):
        cluster.down(number)
    with pytest.raises(Unavailable, match=f"kafka {','.join(cluster.brokers)}: ") as told:
        sink.deliver(many(3))
    assert "see the brokers" in str(told.value)
    with pytest.raises(Unavailable):
        sink.check()
    for number in (1, 2, 3):
        cluster.up(number)
    drive(sink, many(3))
    assert set(cluster.idents()) == {one.id for one in many(3)}


def test_options_and_secrets_that_are_never_told(
    cluster: MockCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    options = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "sensor",
        "sasl.password": {"env": "KAFKA_PASSWORD"},
    }
    # The built-in brokers know no SASL, and hang up.
    sink = client(cluster, options=options, timeout_seconds=1)
    with pytest.raises(Unavailable) as told:
        sink.deliver(many(1))
    for text in (str(told.value), repr(sink.status()), repr(sink._settings)):
        assert PASSWORD not in text
    monkeypatch.delenv("KAFKA_PASSWORD")
    sink.reopen()
    with pytest.raises(Unavailable, match="KAFKA_PASSWORD is empty or absent"):
        sink.deliver(many(1))
    with pytest.raises(Unavailable, match=r"No such configuration property.*; see options"):
        client(cluster, options={"no.such.thing": True}).deliver(many(1))


def test_what_is_no_kafka_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        sink = KafkaClient(Kafka(brokers=[address], timeout_seconds=0.3))
        with pytest.raises(Unavailable, match=f"kafka {address}: "):
            sink.deliver(many(3))
        sink.close()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_stop_ends_a_batch_that_waits(cluster: MockCluster) -> None:
    sink = client(cluster, timeout_seconds=60)
    sink.deliver(many(1))
    cluster.slow(30_000)
    timer = threading.Timer(0.2, sink.abort)
    timer.start()
    with pytest.raises(Unavailable, match="stopped amid a batch"):
        sink.deliver(many(10))
    with pytest.raises(Unavailable, match="stopped"):
        sink.deliver(many(10))
    sink.close()


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ValueError, match=r"confluent-kafka is not installed; .* peeltap\[kafka\]"):
        KafkaClient(Kafka(brokers=["127.0.0.1:9092"]))
