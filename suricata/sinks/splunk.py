"""Splunk's HTTP Event Collector, with indexer acknowledgement.

A request that is answered is only received; with `ack` an event counts when `/ack` says that it
was indexed. What is not acknowledged in time, as after a restart of Splunk, which forgets them, is
sent again: Splunk has no upsert, so it may then be there twice, with one id.
https://docs.splunk.com/Documentation/Splunk/latest/Data/AboutHECIDXAck
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final

import orjson

from ..eve import Clock
from ..secrets import SecretError, read_all
from .client import Outgoing, Rejected
from .http import Answer, Http
from .parts import Outcome, Smaller, in_parts
from .settings import Splunk

# Splunk's own codes, of "Possible error codes" in its documentation.
_BAD_EVENT: Final = frozenset({6, 12, 13, 15})
_ACK_DISABLED: Final = 14
_NO_DATA: Final = 5
_HEALTHY: Final = 17

_POLL_FIRST_SECONDS: Final = 0.1
_POLL_MOST_SECONDS: Final = 5.0


class SplunkClient:
    """Delivers to one collector."""

    kind = "splunk"

    def __init__(self, settings: Splunk) -> None:
        self._settings = settings
        self._http = Http(self.kind, settings, [settings.url], compress=settings.gzip)
        # Acknowledgements are counted within a channel; nobody else may share ours.
        self._channel = str(uuid.uuid4())
        self._clock = Clock()
        envelope = {
            "host": settings.host or socket.gethostname(),
            "source": settings.source,
            "sourcetype": settings.sourcetype,
        }
        if settings.index is not None:
            envelope["index"] = settings.index
        self._envelope = orjson.dumps(envelope)[:-1]
        self._headers: dict[str, str] | None = None
        self._polls = 0

    def deliver(self, batch: Sequence[Outgoing]) -> list[Rejected]:
        """See Client."""
        return in_parts([range(len(batch))], lambda part: self._send(batch, part))

    def _send(self, batch: Sequence[Outgoing], part: Sequence[int]) -> Outcome:
        body = b"".join(self._wrapped(batch[at]) for at in part)
        url, answer = self._post("event", body)
        told = _object(answer.body)
        code = told.get("code")
        if answer.status == 413:
            raise Smaller("the collector takes no request as large as this event (413)")
        if answer.status == 400 and code in _BAD_EVENT:
            return self._without_the_bad(part, told, answer, url)
        if answer.status != 200 or code != 0:
            raise self._refused(answer, url)
        if self._settings.ack:
            self._acknowledged(told.get("ackId"), url)
        return Outcome()

    def _wrapped(self, one: Outgoing) -> bytes:
        at = self._clock.parse(one.glance.timestamp)
        when = b"" if at is None else b',"time":%d.%06d' % divmod(at // 1000, 1_000_000)
        fields = b',"fields":{"peeltap_id":"%s"}' % one.id.encode()
        return b'%s%s%s,"event":%s}' % (self._envelope, when, fields, one.line)

    def _without_the_bad(
        self, part: Sequence[int], told: dict[str, Any], answer: Answer, url: str
    ) -> Outcome:
        """One event is at fault, or so it says; whether the others were taken it does not say."""
        number = told.get("invalid-event-number")
        if type(number) is not int or not 0 <= number < len(part):
            raise Smaller(self._http.redactor.clean(f"{answer.status} {told.get('text')}"))
        reason = self._http.redactor.clean(f"{answer.status} {told.get('text')}")
        again = [*part[:number], *part[number + 1 :]]
        sentence = str(self._http.said(answer, "the others are sent again", url))
        return Outcome([Rejected(part[number], reason)], again, sentence=sentence)

    def _acknowledged(self, ack: object, url: str) -> None:
        """Wait until the indexers have it. Raises Unavailable."""
        if type(ack) is not int:
            raise self._http.trouble(
                url,
                "it gives no acknowledgement; enable indexer acknowledgement for the token, or set"
                " ack: false and accept what a crash of Splunk loses",
            )
        deadline = time.monotonic() + self._settings.ack_seconds
        pause = _POLL_FIRST_SECONDS
        while True:
            at, answer = self._post("ack", orjson.dumps({"acks": [ack]}))
            if answer.status != 200:
                raise self._refused(answer, at)
            acks = _object(answer.body).get("acks")
            self._polls += 1
            if type(acks) is dict and acks.get(str(ack)) is True:
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._http.trouble(
                    at,
                    f"not indexed within {self._settings.ack_seconds:g} s, or Splunk was restarted;"
                    " see its indexers; the events are sent again",
                )
            if self._http.wait(min(pause, left)):
                raise self._http.trouble(at, "stopped before it was indexed; it comes again")
            pause = min(pause * 2, _POLL_MOST_SECONDS)

    def _refused(self, answer: Answer, url: str) -> Exception:
        told = _object(answer.body)
        if answer.status in (401, 403):
            # Its file may hold another one by now.
            self._headers = None
            return self._http.said(answer, f"see {self._settings.token.place}", url)
        if told.get("code") == _ACK_DISABLED:
            return self._http.said(
                answer, "enable indexer acknowledgement for the token, or set ack: false", url
            )
        return self._http.said(answer, "see the collector, and index and sourcetype", url)

    def _post(self, what: str, body: bytes) -> tuple[str, Answer]:
        url = f"{self._settings.url}/services/collector/{what}"
        headers = self._headers
        if headers is None:
            try:
                [token] = read_all([self._settings.token], self._http.redactor)
            except SecretError as error:
                raise self._http.secret_missing(error, url) from None
            headers = self._headers = {
                "Authorization": f"Splunk {token}",
                "Content-Type": "application/json",
                "X-Splunk-Request-Channel": self._channel,
            }
        return url, self._http.request("POST", url, body, headers)

    def check(self) -> str:
        """See Client."""
        url = f"{self._settings.url}/services/collector/health"
        answer = self._http.request("GET", url)
        if answer.status != 200 or _object(answer.body).get("code") != _HEALTHY:
            raise self._http.said(answer, "see whether the collector is enabled, and full", url)
        # No event: a token that is right is told that there is no data.
        url, answer = self._post("event", b"")
        if answer.status != 400 or _object(answer.body).get("code") != _NO_DATA:
            raise self._refused(answer, url)
        return f"{self._settings.url}: the collector is healthy and the token is right"

    def abort(self) -> None:
        """See Client."""
        self._http.abort()

    def reopen(self) -> None:
        """See Client."""
        self._headers = None
        self._http.reopen()

    def status(self) -> dict[str, Any]:
        """See Client."""
        return {
            "kind": self.kind,
            "address": self._settings.url,
            "polls": self._polls,
            **self._http.status(),
        }

    def close(self) -> None:
        """See Client."""
        self._http.close()


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return told if type(told) is dict else {}
