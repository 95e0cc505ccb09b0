"""Syslog of RFC 5424: UDP (RFC 5426), TCP (RFC 6587, octet counting), TLS (RFC 5425), unix sockets.

    <134>1 2026-01-01T00:00:00.500000+00:00 sensor peeltap - alert - {"timestamp":...}

Severity is that of the alert, MSGID the type of the event. See `syslog_link` for what is known of
a message's arrival: less than other sinks know.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import Any, Final

from .client import Outgoing, Rejected
from .settings import FACILITIES, Syslog
from .syslog_link import Link, TooLong

# Suricata's 1 is the worst; syslog's words for them: critical, warning, notice.
_SEVERITIES: Final = {1: 2, 2: 4, 3: 5}
_INFORMATIONAL: Final = 6

_STAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?)(Z|[+-]\d\d):?(\d\d)?", re.ASCII
)
_MSGID: Final = re.compile(r"[!-~]{1,32}")


class SyslogClient:
    """Delivers to one receiver."""

    kind = "syslog"

    def __init__(self, settings: Syslog) -> None:
        self._settings = settings
        self._facility = FACILITIES[settings.facility] * 8
        host = settings.host or re.sub(r"[^!-~]", "-", socket.gethostname())[:255] or "-"
        self._names = f"{host} {settings.app} -".encode()
        self._link = Link(settings)
        self._messages = 0

    def deliver(self, batch: Sequence[Outgoing]) -> list[Rejected]:
        """See Client."""
        rejected: list[Rejected] = []
        places: list[int] = []
        messages: list[bytes] = []
        for at, one in enumerate(batch):
            message = self._message(one)
            if len(message) > self._settings.max_bytes:
                rejected.append(self._too_long(at, message))
            else:
                places.append(at)
                messages.append(message)
        while messages:
            try:
                self._link.send(messages)
                break
            except TooLong as error:
                # Of a datagram the socket knows better. Those before it go out again.
                at = int(str(error))
                rejected.append(self._too_long(places[at], messages[at]))
                places = places[:at] + places[at + 1 :]
                messages = messages[:at] + messages[at + 1 :]
        self._messages += len(messages)
        return rejected

    def _too_long(self, at: int, message: bytes) -> Rejected:
        return Rejected(at, f"longer than the receiver may be sent ({len(message)} bytes)")

    def _message(self, one: Outgoing) -> bytes:
        seen = one.glance
        severity = _SEVERITIES.get(seen.severity or 0, _INFORMATIONAL)
        kind = seen.event_type
        msgid = kind if kind is not None and _MSGID.fullmatch(kind) else "-"
        return b"<%d>1 %s %s %s - %s" % (
            self._facility + severity,
            _stamp(seen.timestamp),
            self._names,
            msgid.encode(),
            one.line,
        )

    def check(self) -> str:
        """See Client."""
        return f"{self._link.check()}; syslog acknowledges nothing"

    def abort(self) -> None:
        """See Client."""
        self._link.abort()

    def reopen(self) -> None:
        """See Client."""
        self._link.reopen()

    def status(self) -> dict[str, Any]:
        """See Client."""
        return {
            "kind": self.kind,
            "address": self._settings.address,
            "messages": self._messages,
            "connections": self._link.connections,
            "resent": self._link.resent,
            "tls_verified": self._settings.address.startswith("tls:") and self._settings.verify,
        }

    def close(self) -> None:
        """See Client."""
        self._link.close()


def _stamp(text: str | None) -> bytes:
    """EVE's time as RFC 5424 has it, with a colon in the zone; `-` for what is none."""
    found = None if text is None else _STAMP.fullmatch(text)
    if found is None:
        return b"-"
    moment, zone, minutes = found.groups()
    if zone == "Z":
        return f"{moment}Z".encode() if minutes is None else b"-"
    return b"-" if minutes is None else f"{moment}{zone}:{minutes}".encode()
