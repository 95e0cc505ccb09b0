"""What most sinks want to know of an event: its id, its time, who attacked. Without the rest.

A corrected event is some forty members, of which a sink that sends the line as it is looks at five.
Only these become objects; the others are skipped, which costs a third of reading them. What is odd
about an event (a member of another type than Suricata's, bytes beyond ASCII) is left to whoever
reads it whole, so that both ways say the same.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

_TO_SERVER: Final = "to_server"
_TO_CLIENT: Final = "to_client"


class _Peeltap(msgspec.Struct, gc=False):
    id: str | None = None
    direction: str | None = None


class _Flow(msgspec.Struct, gc=False):
    src_ip: str | None = None


class _Alert(msgspec.Struct, gc=False):
    severity: int | None = None


class Glance(msgspec.Struct, gc=False):
    """A corrected event's few members, None where it has them not."""

    peeltap: _Peeltap | None = None
    timestamp: str | None = None
    event_type: str | None = None
    src_ip: str | None = None
    dest_ip: str | None = None
    direction: str | None = None
    flow: _Flow | None = None
    alert: _Alert | None = None

    @property
    def id(self) -> str | None:
        """`peeltap.id`."""
        return None if self.peeltap is None else self.peeltap.id

    @property
    def severity(self) -> int | None:
        """An alert's; 1 is the worst."""
        return None if self.alert is None else self.alert.severity

    @property
    def attacker(self) -> str | None:
        """The address of the connection's client, which an event may have on either side."""
        known = None if self.peeltap is None else self.peeltap.direction
        if known == _TO_SERVER:
            return self.src_ip
        if known == _TO_CLIENT:
            return self.dest_ip
        if self.flow is not None and self.flow.src_ip is not None:
            return self.flow.src_ip
        return self.dest_ip if self.direction == _TO_CLIENT else self.src_ip


_decode: Final = msgspec.json.Decoder(Glance).decode


def glance(line: bytes) -> Glance | None:
    """At one line of corrected EVE; None if it has to be read whole to be sure. Never raises."""
    # The decoder does not look at what it skips; of ASCII all is UTF-8.
    if not line.isascii():
        return None
    try:
        return _decode(line)
    except (msgspec.MsgspecError, RecursionError):
        return None


def glance_at(event: dict[str, Any]) -> Glance:
    """The same of an event that was read; what has another type than Suricata's is absent."""
    peeltap = _object(event.get("peeltap"))
    flow = _object(event.get("flow"))
    severity = _object(event.get("alert")).get("severity")
    return Glance(
        peeltap=_Peeltap(_text(peeltap.get("id")), _text(peeltap.get("direction"))),
        timestamp=_text(event.get("timestamp")),
        event_type=_text(event.get("event_type")),
        src_ip=_text(event.get("src_ip")),
        dest_ip=_text(event.get("dest_ip")),
        direction=_text(event.get("direction")),
        flow=_Flow(_text(flow.get("src_ip"))),
        alert=_Alert(severity if type(severity) is int else None),
    )


def _object(value: object) -> dict[str, Any]:
    return value if type(value) is dict else {}


def _text(value: object) -> str | None:
    return value if type(value) is str else None
