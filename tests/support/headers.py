"""Proxy headers as bytes, written from the formats' specifications and not from the codecs.

proxy-v1, proxy-v2: haproxy's doc/proxy-protocol.txt (2020/03/05), §2.1 and §2.2.
sslproxy: the SSLproxy README, "The SSLproxy line". magic: design, §6.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable

V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAGIC = bytes.fromhex("d1e0c0ffee5eedb5")

Address = tuple[str, int]

PEER: Address = ("203.0.113.7", 46421)
DESTINATION: Address = ("192.168.110.2", 80)
PEER6: Address = ("2001:db8:bad::7", 46421)
DESTINATION6: Address = ("2001:db8:c0de::2", 80)


def proxy_v1(peer: Address = PEER, destination: Address = DESTINATION) -> bytes:
    family = "TCP6" if ":" in peer[0] else "TCP4"
    return f"PROXY {family} {peer[0]} {destination[0]} {peer[1]} {destination[1]}\r\n".encode()


def proxy_v1_unknown(rest: str = "") -> bytes:
    return f"PROXY UNKNOWN{rest}\r\n".encode()


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def proxy_v2(
    peer: Address = PEER,
    destination: Address = DESTINATION,
    tlvs: bytes = b"",
    *,
    crc: bool = False,
) -> bytes:
    source, target = (ipaddress.ip_address(end[0]).packed for end in (peer, destination))
    body = source + target + struct.pack("!HH", peer[1], destination[1]) + tlvs
    family = 0x11 if len(source) == 4 else 0x21
    if crc:
        body += tlv(0x03, bytes(4))
    header = V2_SIGNATURE + struct.pack("!BBH", 0x21, family, len(body)) + body
    if crc:
        header = header[:-4] + struct.pack("!I", crc32c(header))
    return header


def proxy_v2_local(body: bytes = b"") -> bytes:
    return V2_SIGNATURE + struct.pack("!BBH", 0x20, 0, len(body)) + body


def magic(peer: Address = PEER, destination: Address = DESTINATION) -> bytes:
    source, target = (ipaddress.ip_address(end[0]) for end in (peer, destination))
    ends = (source.packed + struct.pack("!H", peer[1]), target.packed)
    return MAGIC + bytes((source.version,)) + b"".join(ends) + struct.pack("!H", destination[1])


def sslproxy(peer: Address = PEER, destination: Address = DESTINATION, kind: str = "s") -> bytes:
    return (
        f"SSLproxy: [127.0.0.1]:34649,[{peer[0]}]:{peer[1]},"
        f"[{destination[0]}]:{destination[1]},{kind}\r\n"
    ).encode()


def stack(headers: Iterable[bytes]) -> bytes:
    return b"".join(headers)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli, reflected; RFC 3720 B.4), bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
