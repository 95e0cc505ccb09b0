"""A Kafka cluster for tests: the one that is built into librdkafka, through its C interface.

It is no Kafka, but brokers that speak the protocol on ports of this machine, with faults on demand;
librdkafka tests itself against it. It keeps the newest 5 MiB of a partition, and looks for no
repeats of an idempotent producer.
https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_mock.h
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import confluent_kafka

PRODUCE = 0
"""The request's number in the protocol."""


def _library() -> Any:
    package = Path(confluent_kafka.__file__).parent
    [file] = package.with_name("confluent_kafka.libs").glob("librdkafka-*")
    found = ctypes.CDLL(str(file))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    size = ctypes.c_size_t
    for name, result, arguments in (
        ("conf_new", pointer, []),
        ("new", pointer, [number, pointer, text, size]),
        ("destroy", None, [pointer]),
        ("mock_cluster_new", pointer, [pointer, number]),
        ("mock_cluster_destroy", None, [pointer]),
        ("mock_cluster_bootstraps", text, [pointer]),
        ("mock_topic_create", number, [pointer, text, number, number]),
        ("mock_topic_set_error", None, [pointer, text, number]),
        ("mock_broker_set_down", number, [pointer, ctypes.c_int32]),
        ("mock_broker_set_up", number, [pointer, ctypes.c_int32]),
        ("mock_broker_set_rtt", number, [pointer, ctypes.c_int32, number]),
        (
            "mock_push_request_errors_array",
            None,
            [pointer, ctypes.c_int16, size, ctypes.POINTER(number)],
        ),
    ):
        function = getattr(found, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    return found


class MockCluster:
    """Brokers 1 to `brokers`, and the topic `peeltap`."""

    def __init__(self, brokers: int = 3, partitions: int = 32) -> None:
        self._c = _library()
        self._handle = self._c.rd_kafka_new(0, self._c.rd_kafka_conf_new(), None, 0)
        self._cluster = self._c.rd_kafka_mock_cluster_new(self._handle, brokers)
        assert self._cluster
        self._brokers = range(1, brokers + 1)
        self._c.rd_kafka_mock_topic_create(self._cluster, b"peeltap", partitions, brokers)
        self.brokers: list[str] = (
            self._c.rd_kafka_mock_cluster_bootstraps(self._cluster).decode().split(",")
        )

    def __enter__(self) -> MockCluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._c.rd_kafka_mock_cluster_destroy(self._cluster)
        self._c.rd_kafka_destroy(self._handle)

    def down(self, broker: int) -> None:
        """The broker listens no more, and its connections are cut."""
        self._c.rd_kafka_mock_broker_set_down(self._cluster, broker)

    def up(self, broker: int) -> None:
        self._c.rd_kafka_mock_broker_set_up(self._cluster, broker)

    def slow(self, milliseconds: int) -> None:
        """Each answer takes so long, with 0 no longer."""
        for broker in self._brokers:
            self._c.rd_kafka_mock_broker_set_rtt(self._cluster, broker, milliseconds)

    def fail(self, errors: Sequence[int], request: int = PRODUCE) -> None:
        """The next requests are answered so, one each."""
        array = (ctypes.c_int * len(errors))(*errors)
        self._c.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), array)

    def topic_error(self, error: int) -> None:
        """What the metadata say of the topic; 0: all is well."""
        self._c.rd_kafka_mock_topic_set_error(self._cluster, b"peeltap", error)

    def messages(self) -> Iterator[Any]:
        """All that is in the topic."""
        reader = confluent_kafka.Consumer(
            {
                "bootstrap.servers": ",".join(self.brokers),
                "group.id": "tests",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
            }
        )
        told = reader.list_topics("peeltap", 20)
        partitions = list(told.topics["peeltap"].partitions)
        first = confluent_kafka.OFFSET_BEGINNING
        reader.assign(
            [confluent_kafka.TopicPartition("peeltap", number, first) for number in partitions]
        )
        ended = 0
        while ended < len(partitions):
            for message in reader.consume(10_000, 1):
                if message.error() is None:
                    yield message
                else:
                    assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
                    ended += 1
        reader.close()

    def idents(self) -> Counter[str]:
        """How often each id is in the topic."""
        return Counter(dict(one.headers())["peeltap-id"].decode() for one in self.messages())
