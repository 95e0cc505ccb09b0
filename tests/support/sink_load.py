"""Events for sinks, and a loop that does with them what a Delivery does: batches, and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import orjson

from suricata.sinks.client import Client, Outgoing, Partly, Unavailable


def outgoing(number: int, **more: object) -> Outgoing:
    """The event `number`: an alert as Peeltap corrects them, of one of 250 attackers."""
    ident = f"0123456789abcdef.{number}"
    event = {
        **_ALERT,
        "flow_id": number,
        "src_ip": f"203.0.113.{number % 250 + 1}",
        **more,
        "peeltap": {"confidence": "exact", "id": ident},
    }
    return Outgoing(ident, orjson.dumps(event), event)


_ALERT = {
    "timestamp": "2026-01-01T00:00:00.000000+0000",
    "flow_id": 0,
    "event_type": "alert",
    "src_ip": "",
    "src_port": 40000,
    "dest_ip": "192.168.110.2",
    "alert": {"signature_id": 1000001, "severity": 1},
}


def many(count: int) -> list[Outgoing]:
    """`count` events."""
    return [outgoing(number) for number in range(count)]


@dataclass
class Told:
    """What a client said while it was driven."""

    rejected: dict[str, str] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    deliveries: int = 0


def drive(
    client: Client,
    events: list[Outgoing],
    *,
    size: int = 5000,
    before: Callable[[int], object] | None = None,
    seconds: float = 240,
) -> Told:
    """Deliver all in batches of `size`, each until it is done; `before` is called with each one's
    number, once."""
    told = Told()
    deadline = time.monotonic() + seconds
    for number, batch in enumerate(batches(events, size)):
        if before is not None:
            before(number)
        left = batch
        pause = 0.005
        while left:
            assert time.monotonic() < deadline, told.sentences[-3:]
            told.deliveries += 1
            try:
                rejected = client.deliver(left)
                again: list[Outgoing] = []
            except Partly as error:
                rejected = error.rejected
                done = error.taken | {one.index for one in rejected}
                again = [one for at, one in enumerate(left) if at not in done]
                told.sentences.append(str(error))
                pause = 0.005
            except Unavailable as error:
                rejected, again = [], left
                told.sentences.append(str(error))
                time.sleep(min(error.retry_after or pause, 0.2))
                pause = min(pause * 2, 0.2)
            told.rejected.update((left[one.index].id, one.reason) for one in rejected)
            left = again
    return told


def batches(events: list[Outgoing], size: int) -> Iterator[list[Outgoing]]:
    """`events` in pieces of `size`."""
    for at in range(0, len(events), size):
        yield events[at : at + size]
