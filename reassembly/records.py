"""Flow records: what is remembered of a connection on the proxied leg.

A flows file holds one JSON object a line, made by the engine. `parse_record` and `emit_record` are
a pair; `read_records` takes a whole stream and loses no neighbour of a line it cannot use.

Times are integers: nanoseconds since 1970-01-01T00:00:00 UTC.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import Any, BinaryIO, Final, Literal, NamedTuple

import orjson

VERDICTS: Final = ("stripped", "plain", "incomplete", "malformed", "midstream", "untrusted")

# A record names at most a few headers; a longer line is not one, and must not be held in memory.
MAX_RECORD_BYTES: Final = 1 << 20

_NS: Final = 1_000_000_000


class RecordError(ValueError):
    """A line that is no flow record; `name` is the short name under which it is counted."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


class Endpoints(NamedTuple):
    """Addresses and ports from the client's side: `src` connects, `dest` listens.

    Addresses are in the canonical text of `canonical_ip`.
    """

    src_ip: str
    src_port: int
    dest_ip: str
    dest_port: int

    def reverse(self) -> Endpoints:
        """The same connection as its server's packets show it."""
        return Endpoints(self.dest_ip, self.dest_port, self.src_ip, self.src_port)


class HeaderSeen(NamedTuple):
    """One header taken out of a connection: its codec, its length in bytes, its TLVs."""

    codec: str
    length: int
    tlvs: dict[str, Any]


class Counters(NamedTuple):
    """A pair of counters, one a direction."""

    to_server: int
    to_client: int


class FlowRecord(NamedTuple):
    """One connection (one epoch of a 5-tuple and VLAN) on the proxied leg."""

    id: str
    epoch: int
    proto: str
    observed: Endpoints
    vlan: tuple[int, ...]
    true: Endpoints | None
    headers: tuple[HeaderSeen, ...]
    start: int
    end: int | None
    verdict: str
    restored: bool
    packets: Counters
    bytes: Counters
    reason: str | None = None

    @property
    def codecs(self) -> tuple[str, ...]:
        """Names of the codecs of the headers, the outermost first."""
        return tuple([header.codec for header in self.headers])


def keys_of(record: FlowRecord) -> list[tuple[Endpoints, Literal["observed", "true"]]]:
    """The tuples under which a record is found, from its client's side.

    Where packets were restored, Suricata saw the true tuple; the observed one stays a key too, for
    packets that left before the header was known.
    """
    if record.restored and record.true is not None and record.true != record.observed:
        return [(record.observed, "observed"), (record.true, "true")]
    return [(record.observed, "observed")]


# Gateways and decoys are few and stand in every record.
@lru_cache(maxsize=16_384)
def canonical_ip(text: str) -> str:
    """The one spelling of an address: dotted IPv4, or IPv6 as RFC 5952 writes it.

    Suricata writes IPv6 in full (`2001:0db8:0000:...`), the engine writes it compressed.
    Raises ValueError if `text` is no address.
    """
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError) as error:
        raise ValueError(f"{text!r} is not an IP address") from error


@lru_cache(maxsize=4096)
def _parse_second(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no UTC offset")
    # Integer arithmetic: a float of seconds cannot hold nanoseconds.
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * _NS


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch, from an EVE timestamp with any UTC offset.

    Takes `2026-01-01T00:00:00.000000+0000` and fractions of any length (the engine may write
    nanoseconds; Python's own parser would cut them). Raises ValueError.
    """
    # As the engine writes it nearly always; what follows reads this, too.
    digits = text[20:26]
    if len(text) == 31 and text[19] == "." and digits.isascii() and digits.isdigit():
        return _parse_second(text[:19] + text[26:]) + int(digits) * 1000
    fraction = 0
    whole, dot, rest = text.partition(".")
    if dot:
        zone = rest.lstrip("0123456789")
        digits = rest[: len(rest) - len(zone)]
        if not digits:
            raise ValueError(f"{text!r} is not a timestamp")
        fraction = int((digits + "000000000")[:9])
        whole += zone
    return _parse_second(whole) + fraction


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def emit_time(at: int) -> str:
    """An EVE timestamp in UTC; microseconds, or nanoseconds where the time has them."""
    seconds, fraction = divmod(at, _NS)
    digits = f"{fraction:09d}"
    if digits.endswith("000"):
        digits = digits[:6]
    return f"{_emit_second(seconds)}.{digits}+0000"


@lru_cache(maxsize=4096)
def _emit_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def parse_record(line: bytes) -> FlowRecord:
    """A flow record from one line. Unknown keys are left out. Raises RecordError."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RecordError("not_json", str(error)) from error
    if not isinstance(value, dict):
        raise RecordError("not_an_object", "a flow record is a JSON object")
    try:
        return _record(value)
    except KeyError as error:
        raise RecordError("missing_key", f"no {error.args[0]!r}") from error
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise RecordError("bad_value", str(error)) from error


def _record(value: dict[str, Any]) -> FlowRecord:
    observed = value["observed"]
    true = value["true"]
    verdict = value["verdict"]
    if verdict not in _KNOWN_VERDICTS:
        raise ValueError(f"verdict {verdict!r} is none of {', '.join(VERDICTS)}")
    end = value.get("end")
    reason = value.get("reason")
    return FlowRecord(
        _text(value["id"]),
        _count(value["epoch"]),
        _name(observed.get("proto", "TCP")),
        _endpoints(observed),
        tuple([_count(tag) for tag in observed.get("vlan", ())]),
        None if true is None else _endpoints(true),
        tuple([_header(header) for header in value.get("headers", ())]),
        parse_time(value["start"]),
        None if end is None else parse_time(end),
        # The shared text, not each line's own copy.
        _KNOWN_VERDICTS[verdict],
        value.get("restored") is True,
        _counters(value.get("packets")),
        _counters(value.get("bytes")),
        None if reason is None else _text(reason),
    )


_KNOWN_VERDICTS: Final = {name: name for name in VERDICTS}


def _endpoints(value: dict[str, Any]) -> Endpoints:
    # An address of the wrong type is refused by canonical_ip.
    return Endpoints(
        canonical_ip(value["src_ip"]),
        _port(value["src_port"]),
        canonical_ip(value["dest_ip"]),
        _port(value["dest_port"]),
    )


def _header(value: dict[str, Any]) -> HeaderSeen:
    codec, length = _name(value["codec"]), _count(value["length"])
    tlvs = value.get("tlvs")
    return HeaderSeen(codec, length, dict(tlvs)) if tlvs else _bare_header(codec, length)


# Most headers hold no TLV, and are alike.
@lru_cache(maxsize=1024)
def _bare_header(codec: str, length: int) -> HeaderSeen:
    return HeaderSeen(codec, length, {})


def _name(value: object) -> str:
    """Text that few values share: kept once."""
    return intern(_text(value))


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is not text")
    return value


def _count(value: object) -> int:
    # SQLite and the SIEM both end at 63 bits.
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise TypeError(f"{value!r} is not a count")
    return value


def _port(value: object) -> int:
    if type(value) is not int or not 0 <= value <= 0xFFFF:
        raise TypeError(f"{value!r} is not a port")
    return value


def _counters(value: dict[str, Any] | None) -> Counters:
    if value is None:
        return _shared_counters(0, 0)
    return _shared_counters(_count(value["to_server"]), _count(value["to_client"]))


# Small ones are alike: a scan's, a handshake's, those of the same attack again and again.
@lru_cache(maxsize=4096)
def _shared_counters(to_server: int, to_client: int) -> Counters:
    return Counters(to_server, to_client)


def emit_record(record: FlowRecord) -> bytes:
    """The record's line, without the newline: keys in the order that the engine writes."""
    value: dict[str, Any] = {
        "id": record.id,
        "epoch": record.epoch,
        "observed": {**record.observed._asdict(), "proto": record.proto, "vlan": record.vlan},
        "true": None if record.true is None else record.true._asdict(),
        "headers": [header._asdict() for header in record.headers],
        "start": emit_time(record.start),
        "end": None if record.end is None else emit_time(record.end),
        "verdict": record.verdict,
        "restored": record.restored,
        "packets": record.packets._asdict(),
        "bytes": record.bytes._asdict(),
    }
    if record.reason is not None:
        value["reason"] = record.reason
    return orjson.dumps(value)


@dataclass(slots=True)
class Garbage:
    """Lines of a flows file that could not be used: how many under each name, and the first."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def count(self, name: str, line_number: int, detail: str) -> None:
        """Count one line under `name`; the first of a name is kept for the report."""
        self.counts[name] += 1
        self.first.setdefault(name, f"line {line_number}: {detail}")

    def sentences(self, source: str) -> list[str]:
        """One sentence for each name, naming `source` and its first occurrence."""
        return [
            f"{source}: {count} line{'s' if count > 1 else ''} left out as {name}"
            f" (first: {self.first[name]})"
            for name, count in sorted(self.counts.items())
        ]


def read_records(stream: BinaryIO, garbage: Garbage) -> Iterator[FlowRecord]:
    """Every record of a flows file, in order; what is no record is counted in `garbage`.

    Holds one line at a time, never more than MAX_RECORD_BYTES of it. Raises OSError only.
    """
    number = 0
    while line := stream.readline(MAX_RECORD_BYTES):
        number += 1
        if len(line) == MAX_RECORD_BYTES and not line.endswith(b"\n"):
            while (rest := stream.readline(MAX_RECORD_BYTES)) and not rest.endswith(b"\n"):
                pass
            garbage.count("too_long", number, f"over {MAX_RECORD_BYTES} bytes")
            continue
        if not line.strip():
            continue
        try:
            record = parse_record(line)
        except RecordError as error:
            garbage.count(error.name, number, str(error))
        else:
            yield record
