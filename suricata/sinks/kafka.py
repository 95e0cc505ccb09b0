"""A topic of Kafka, by librdkafka's idempotent producer; every message has its own report.

The key is the attacker's address, so that what one attacker does stays in order, in one partition.
The producer repeats what it must without doubling it; what it has given up on, or what was on its
way when the service ended, comes again as a new message with the same `peeltap-id`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..secrets import Redactor, Secret, SecretError, read_all
from .client import Outgoing, Rejected, Unavailable
from .parts import Outcome, in_parts
from .settings import Kafka

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Producer

    # What became of each message; None: nothing is known yet.
    Reports = dict[int, KafkaError | bool | None]

_POLL_SECONDS: Final = 0.1
# The library itself gives up at the time-out; its reports have still to come.
_GRACE_SECONDS: Final = 1.0
_QUEUE_KB: Final = 65_536

# What the library would write to standard error; what matters of it comes to us as an error.
_log = logging.getLogger("peeltap.kafka")
_log.addHandler(logging.NullHandler())
_log.propagate = False


class KafkaClient:
    """Delivers to one topic. Raises ValueError where the library is not installed."""

    kind = "kafka"

    def __init__(self, settings: Kafka) -> None:
        try:
            import confluent_kafka
        except ImportError:
            raise ValueError(
                "kafka: the Python package confluent-kafka is not installed; install it, or"
                " peeltap[kafka], into Peeltap's environment"
            ) from None
        self._library = confluent_kafka
        errors = confluent_kafka.KafkaError
        self._too_large = {errors.MSG_SIZE_TOO_LARGE, errors.INVALID_MSG_SIZE}
        self._purged = {errors._PURGE_QUEUE, errors._PURGE_INFLIGHT}
        self._settings = settings
        self._address = ",".join(settings.brokers)
        self._redactor = Redactor()
        self._producer: Producer | None = None
        self._stale = False
        self._aborted = threading.Event()
        self._last_error: KafkaError | None = None
        self._producers = 0

    def deliver(self, batch: Sequence[Outgoing]) -> list[Rejected]:
        """See Client."""
        return in_parts([range(len(batch))], lambda part: self._send(batch, part))

    def _send(self, batch: Sequence[Outgoing], part: Sequence[int]) -> Outcome:
        deadline = time.monotonic() + self._settings.timeout_seconds + _GRACE_SECONDS
        producer = self._connected()
        self._last_error = None
        reports: Reports = dict.fromkeys(part)
        for at in part:
            if not self._produce(producer, batch[at], _reporter(reports, at), deadline):
                break
        while len(producer) and time.monotonic() < deadline and not self._aborted.is_set():
            producer.poll(_POLL_SECONDS)
        if len(producer):
            # What it still holds would arrive beside the repeat.
            producer.purge()
            producer.poll(0)
            self._stale = True
        return self._outcome(reports)

    def _produce(
        self,
        producer: Producer,
        one: Outgoing,
        report: Callable[[KafkaError | None, object], None],
        deadline: float,
    ) -> bool:
        """Put it into the producer's queue; False if there is no room in time, or it is to stop."""
        while not self._aborted.is_set():
            try:
                producer.produce(
                    self._settings.topic,
                    value=one.line,
                    key=one.glance.attacker,
                    headers=[("peeltap-id", one.id.encode())],
                    on_delivery=report,
                )
            except BufferError:
                # The queue is bounded; room comes with reports.
                if time.monotonic() > deadline:
                    return False
                producer.poll(_POLL_SECONDS)
            except self._library.KafkaException as error:
                report(error.args[0], None)
                return True
            else:
                # Reports are asked for when all are in its queue: one question for each message
                # costs nearly as much as the message.
                return True
        return False

    def _outcome(self, reports: Reports) -> Outcome:
        too_large: list[int] = []
        again: list[int] = []
        why: KafkaError | None = None
        for at, report in reports.items():
            if report is True:
                continue
            if isinstance(report, self._library.KafkaError):
                if report.code() in self._too_large:
                    too_large.append(at)
                    continue
                self._stale = self._stale or report.fatal()
                if report.code() not in self._purged:
                    why = why or report
            again.append(at)
        sentence = str(self._trouble(why)) if again else ""
        if len(too_large) == 1:
            reason = "larger than the topic takes (MSG_SIZE_TOO_LARGE)"
            return Outcome([Rejected(too_large[0], reason)], again, sentence=sentence)
        # A broker says it of all that came in one request.
        return Outcome(again=again, smaller=too_large, sentence=sentence)

    def _connected(self) -> Producer:
        if self._aborted.is_set():
            raise self._trouble(None)
        if self._stale:
            self._stale = False
            self.close()
        if self._producer is None:
            self._producer = self._connect()
            self._producers += 1
        return self._producer

    def _connect(self) -> Producer:
        settings = self._settings
        options: dict[str, Any] = {
            "client.id": "peeltap",
            "message.timeout.ms": int(settings.timeout_seconds * 1000),
            "queue.buffering.max.kbytes": _QUEUE_KB,
            "log.connection.close": False,
        }
        try:
            for name, value in settings.options.items():
                if isinstance(value, Secret):
                    [options[name]] = read_all([value], self._redactor)
                else:
                    options[name] = value
        except SecretError as error:
            raise Unavailable(f"kafka {self._address}: {error}") from None
        options |= {
            "bootstrap.servers": self._address,
            "enable.idempotence": True,
            "acks": "all",
            "error_cb": self._note,
        }
        try:
            return self._library.Producer(options, logger=_log)
        except (self._library.KafkaException, TypeError, ValueError) as error:
            text = self._redactor.clean(str(error))
            raise Unavailable(f"kafka {self._address}: {text}; see options") from None

    def _note(self, error: KafkaError) -> None:
        """What concerns no message; the library goes on, but it may say why none arrives."""
        self._last_error = error
        if error.code() == self._library.KafkaError._AUTHENTICATION:
            # Its file may hold another one by now.
            self._stale = True

    def _trouble(self, error: KafkaError | None) -> Unavailable:
        if self._aborted.is_set():
            return Unavailable(f"kafka {self._address}: stopped amid a batch; it comes again")
        told = [one.str() for one in (error, self._last_error) if one is not None]
        text = self._redactor.clean("; ".join(dict.fromkeys(told)))
        if not text:
            text = f"not all acknowledged within {self._settings.timeout_seconds:g} s"
        return Unavailable(
            f"kafka {self._address}: {text}; see the brokers, the topic {self._settings.topic}, and"
            " options"
        )

    def check(self) -> str:
        """See Client."""
        producer = self._connected()
        self._last_error = None
        try:
            told = producer.list_topics(self._settings.topic, self._settings.timeout_seconds)
        except self._library.KafkaException as error:
            producer.poll(0)
            raise self._trouble(error.args[0]) from None
        topic = told.topics[self._settings.topic]
        if topic.error is not None:
            raise self._trouble(topic.error)
        return (
            f"{self._address}: {len(told.brokers)} brokers, topic {self._settings.topic} with"
            f" {len(topic.partitions)} partitions"
        )

    def abort(self) -> None:
        """See Client."""
        self._aborted.set()

    def reopen(self) -> None:
        """See Client."""
        self._stale = True

    def status(self) -> dict[str, Any]:
        """See Client."""
        return {"kind": self.kind, "address": self._address, "producers": self._producers}

    def close(self) -> None:
        """See Client."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.poll(0)


def _reporter(reports: Reports, at: int) -> Callable[[KafkaError | None, object], None]:
    def report(error: KafkaError | None, _: object) -> None:
        reports[at] = True if error is None else error

    return report
