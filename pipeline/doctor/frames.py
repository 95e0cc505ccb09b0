"""The canary's frames: one short TCP connection in Ethernet, IPv4 or IPv6, written out by hand.

Nothing of a real host takes part, so nothing of a real host is confused: the kernel would need the
gateways' own addresses for it. A frame is Ethernet, IP and TCP (RFC 9293) without options, its
checksums complete.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

ETH_P_IP: Final = 0x0800
ETH_P_IPV6: Final = 0x86DD
IPPROTO_TCP: Final = 6

FIN, SYN, PSH, ACK = 0x01, 0x02, 0x08, 0x10

_WINDOW: Final = 65_535
_HOPS: Final = 64


@dataclass(frozen=True, slots=True)
class End:
    """One end of the connection."""

    mac: bytes
    address: str
    port: int
    isn: int


def conversation(
    client: End, server: End, request: bytes, response: bytes
) -> Iterator[tuple[bool, bytes]]:
    """Every frame of the connection, in order, with whether the client sends it."""
    ends, streams = {True: client, False: server}, {True: request, False: response}
    sent = {True: 0, False: 0}

    def frame(from_client: bool, flags: int, payload: bytes = b"") -> tuple[bool, bytes]:
        one, other = ends[from_client], ends[not from_client]
        acked = other.isn + sent[not from_client] if flags & ACK else 0
        made = emit(one, other, one.isn + sent[from_client], acked, flags, payload)
        sent[from_client] += len(payload) + bool(flags & (SYN | FIN))
        return from_client, made

    yield frame(True, SYN)
    yield frame(False, SYN | ACK)
    yield frame(True, ACK)
    for speaks in (True, False):
        yield frame(speaks, PSH | ACK, streams[speaks])
        yield frame(not speaks, ACK)
    yield frame(False, FIN | ACK)
    yield frame(True, FIN | ACK)
    yield frame(False, ACK)


def emit(one: End, other: End, seq: int, ack: int, flags: int, payload: bytes) -> bytes:
    """One frame from `one` to `other`; `seq` and `ack` are taken modulo 2^32."""
    source, target = ipaddress.ip_address(one.address), ipaddress.ip_address(other.address)
    ports = struct.pack("!HH", one.port, other.port)
    numbers = struct.pack("!II", seq & 0xFFFFFFFF, ack & 0xFFFFFFFF)
    rest = struct.pack("!BBH", 5 << 4, flags, _WINDOW)
    pseudo = source.packed + target.packed
    pseudo += struct.pack("!II", 20 + len(payload), IPPROTO_TCP)
    plain = ports + numbers + rest + bytes(4) + payload
    total = checksum(pseudo + plain)
    tcp = ports + numbers + rest + struct.pack("!HH", total, 0) + payload
    if source.version == 4:
        kind = ETH_P_IP
        head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(tcp), 0, 0x4000, _HOPS, IPPROTO_TCP)
        addresses = source.packed + target.packed
        ip = head + struct.pack("!H", checksum(head + bytes(2) + addresses)) + addresses
    else:
        kind = ETH_P_IPV6
        ip = struct.pack("!IHBB", 6 << 28, len(tcp), IPPROTO_TCP, _HOPS)
        ip += source.packed + target.packed
    return other.mac + one.mac + struct.pack("!H", kind) + ip + tcp


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
