"""Flows as sensors publish them, and the events that Suricata would write of them to Redis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import redis

from reassembly.records import Counters, Endpoints, FlowRecord, HeaderSeen, emit_record, emit_time

START = 1_767_225_600_000_000_000
SECOND = 1_000_000_000


def flow(number: int, *, epoch: int = 0, end: int | None = SECOND, **more: Any) -> FlowRecord:
    """Use `epoch` of the leg's port `number`; each begins two seconds after the one before.

    `end`: so long after its start; None: open.
    """
    start = more.pop("start", START + epoch * 2 * SECOND)
    values: dict[str, Any] = {
        "id": f"{number:08x}{epoch:08x}",
        "epoch": epoch,
        "proto": "TCP",
        "observed": Endpoints("172.16.23.1", number, "172.16.23.2", 9000),
        "vlan": (),
        "true": Endpoints(f"203.0.113.{epoch % 250 + 1}", 40_000, "192.168.110.2", 80),
        "headers": (HeaderSeen("proxy-v2", 28, {"alpn": "h2"}),),
        "start": start,
        "end": None if end is None else start + end,
        "verdict": "stripped",
        "restored": False,
        "packets": Counters(3, 2),
        "bytes": Counters(300, 200),
    }
    return FlowRecord(**{**values, **more})


def line(record: FlowRecord) -> bytes:
    """As the datapath gives it."""
    return emit_record(record) + b"\n"


def event(record: FlowRecord, sequence: int, *, after: int = SECOND // 2, **more: Any) -> bytes:
    """An event of the connection of `record`, `after` its start, in Suricata's own form."""
    ends = record.observed
    value = {
        "timestamp": emit_time(record.start + after),
        "flow_id": int(record.id, 16) * 7919 % (1 << 53),
        "event_type": "http",
        "src_ip": ends.src_ip,
        "src_port": ends.src_port,
        "dest_ip": ends.dest_ip,
        "dest_port": ends.dest_port,
        "proto": "TCP",
        "sequence": sequence,
        **more,
    }
    return orjson.dumps(value)


def push(port: int, lines: Iterable[bytes], inbox: str = "suricata", mode: str = "list") -> None:
    """Write as Suricata does: LPUSH, RPUSH, or, from version 8 on, XADD; see `sources.redis`."""
    pipe = redis.Redis("127.0.0.1", port).pipeline(transaction=False)
    for one in lines:
        match mode:
            case "stream":
                pipe.execute_command("XADD", inbox, "MAXLEN", "~", 100_000, "*", "eve", one)
            case "rpush":
                pipe.rpush(inbox, one)
            case _:
                pipe.lpush(inbox, one)
    pipe.execute()


def up(port: int) -> bool:
    """Whether a Redis answers that has read its file."""
    try:
        return bool(redis.Redis("127.0.0.1", port, socket_timeout=60).ping())
    except redis.RedisError:
        return False


def by_flow(events: Iterable[dict[str, Any]]) -> dict[int, list[int]]:
    """Of each flow the `sequence` of its events, in the order in which each came first."""
    found: dict[int, list[int]] = {}
    seen: set[str] = set()
    for one in events:
        if one["peeltap"]["id"] not in seen:
            seen.add(one["peeltap"]["id"])
            found.setdefault(one["flow_id"], []).append(one["sequence"])
    return found


def sequences(flows: int, events: int) -> Iterator[tuple[FlowRecord, int]]:
    """`events` events, in turn of each of `flows` connections."""
    records = [flow(10_000 + number) for number in range(flows)]
    for sequence in range(events):
        yield records[sequence % flows], sequence
