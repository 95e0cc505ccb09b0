"""`peeltap sinks test`: a canary through each configured sink, and what acknowledged it.

A canary is one event of type `peeltap`, in the sink's own shape, that says so of itself. It goes
beside a running service, by a client of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import orjson

from pipeline import config
from pipeline.outbound import shape_of
from suricata.event_settings import SinkSettings
from suricata.sinks.client import Outgoing, Partly, Unavailable
from suricata.sinks.make import make_client


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one sink's canary; `found` is the client's word, `seconds` the way there."""

    name: str
    kind: str
    id: str
    acknowledged: bool
    found: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "sink": self.name,
            "kind": self.kind,
            "id": self.id,
            "acknowledged": self.acknowledged,
            "found": self.found,
            "seconds": round(self.seconds, 3),
        }


def test(path: str) -> list[Outcome]:
    """Send a canary through each sink of the configuration at `path`. Raises ConfigError."""
    _, whole = config.load_live(path)
    return [send(sink) for sink in whole.sinks]


def send(sink: SinkSettings) -> Outcome:
    """Send a canary through `sink`."""
    event, id_ = canary()
    began = time.monotonic()
    found, acknowledged = "", False
    try:
        client = make_client(sink, canary=True)
        try:
            found = client.check()
            refused = client.deliver([Outgoing(id_, _line(sink, event), event)])
            acknowledged = not refused
            if refused:
                found = f"refused: {refused[0].reason}"
        finally:
            client.close()
    except Partly as error:
        # Of one event there is no part: it was refused, or is to be tried again.
        found = error.rejected[0].reason if error.rejected else str(error)
    except (Unavailable, ValueError) as error:
        # A file or library that cannot be used is a ValueError.
        found = str(error)
    return Outcome(sink.label, sink.kind, id_, acknowledged, found, time.monotonic() - began)


def canary() -> tuple[dict[str, Any], str]:
    """A canary, and its id."""
    id_ = f"canary-{token_hex(8)}"
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f%z")
    event = {
        "timestamp": stamp,
        "event_type": "peeltap",
        "peeltap": {"kind": "canary", "id": id_},
    }
    return event, id_


def _line(sink: SinkSettings, event: dict[str, Any]) -> bytes:
    shape = shape_of(sink)
    shaped = None if shape is None else shape(event)
    # A shape that has no place for it lets it go as it is.
    return orjson.dumps(event) if shaped is None else shaped


def lines(outcomes: Sequence[Outcome]) -> list[str]:
    """For a person: each sink, whether it acknowledged, and what was found."""
    return [
        f"{one.name} ({one.kind}): "
        + (f"acknowledged in {one.seconds * 1000:,.0f} ms" if one.acknowledged else "FAILED")
        + f"; {one.found}"
        for one in outcomes
    ]
