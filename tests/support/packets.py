"""A TCP segment as a value (`Packet`), and the frames that carry it over a leg (`Leg.frame`).

Plain struct packing: a property test builds some hundred thousand of these frames.
"""

from __future__ import annotations

import functools
import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32

CLIENT_MAC = bytes.fromhex("0242ac101701")
SERVER_MAC = bytes.fromhex("0242ac101702")

# RFC 9293 §3.1, RFC 7323, RFC 2018, RFC 2385, RFC 5925, RFC 7413
NOP = b"\x01"
SACK_PERMITTED = b"\x04\x02"


def mss(size: int) -> bytes:
    return struct.pack("!BBH", 2, 4, size)


def window_scale(shift: int) -> bytes:
    return bytes((3, 3, shift))


def timestamps(value: int, echo: int) -> bytes:
    return struct.pack("!BBII", 8, 10, value % 2**32, echo % 2**32)


def sack(blocks: Iterable[tuple[int, int]]) -> bytes:
    body = b"".join(struct.pack("!II", left % 2**32, right % 2**32) for left, right in blocks)
    return bytes((5, 2 + len(body))) + body


def md5_signature(digest: bytes = bytes(range(16))) -> bytes:
    return bytes((19, 18)) + digest


def tcp_ao(mac: bytes = bytes(range(12))) -> bytes:
    return bytes((29, 4 + len(mac), 1, 1)) + mac


def fast_open(cookie: bytes = b"\xc0\x0c\x1e\x55" * 2) -> bytes:
    return bytes((34, 2 + len(cookie))) + cookie


def join_options(*options: bytes) -> bytes:
    """The options in one row, NOPs in front so that the length is a multiple of 4."""
    row = b"".join(options)
    return NOP * (-len(row) % 4) + row


def ones_complement(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of `data`, as it stands in a header."""
    if len(data) % 2:
        data += b"\0"
    total = int.from_bytes(data, "big")
    # 2^16 = 1 modulo 0xffff, so the remainder of the whole number is the sum of its words.
    folded = total % 0xFFFF
    if folded == 0 and total:
        folded = 0xFFFF
    return folded ^ 0xFFFF


@dataclass(frozen=True, slots=True)
class Packet:
    """One TCP segment. `seq` and `ack` are the numbers on the wire."""

    from_client: bool
    seq: int
    ack: int
    flags: int
    payload: bytes = b""
    options: bytes = b""
    window: int = 64240
    urgent: int = 0
    ident: int = 0

    def with_(self, **changes: object) -> Self:
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Leg:
    """The addresses of a leg, and everything below TCP in its frames.

    `extensions` are IPv6 extension headers: (protocol number, body without its two first bytes).
    `padded` fills Ethernet frames up to 60 bytes, with bytes that are easily seen in a stream.
    """

    client: str = "172.16.23.1"
    client_port: int = 40001
    server: str = "172.16.23.2"
    server_port: int = 9000
    link: str = "ethernet"
    vlans: tuple[int, ...] = ()
    ip_options: bytes = b""
    extensions: tuple[tuple[int, bytes], ...] = ()
    padded: bool = False

    def with_(self, **changes: object) -> Self:
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def version(self) -> int:
        return 6 if ":" in self.client else 4

    def tcp(self, packet: Packet, *, partial: bool = False) -> bytes:
        """The segment's bytes, checksum right; `partial`: as local traffic with checksum offload
        has it, the sum of the pseudo-header only.
        """
        source, destination, _, _ = _ends(self, packet.from_client)
        ports = (self.client_port, self.server_port)
        if not packet.from_client:
            ports = ports[::-1]
        head = struct.pack(
            "!HHIIBBHHH",
            *ports,
            packet.seq % 2**32,
            packet.ack % 2**32,
            (20 + len(packet.options)) // 4 << 4,
            packet.flags,
            packet.window,
            0,
            packet.urgent,
        )
        segment = head + packet.options + packet.payload
        pseudo = source + destination + struct.pack("!IHH", len(segment), 0, 6)
        covered = pseudo if partial else pseudo + segment
        checksum = ones_complement(covered) ^ (0xFFFF if partial else 0)
        return segment[:16] + checksum.to_bytes(2, "big") + segment[18:]

    def ip(self, from_client: bool, protocol: int, body: bytes, ident: int = 0) -> bytes:
        """The IP packet around `body`."""
        return self.ip_fragment(from_client, protocol, body, ident=ident)

    def ip_fragment(
        self,
        from_client: bool,
        protocol: int,
        body: bytes,
        *,
        ident: int = 0,
        offset: int | None = None,
        more: bool = False,
    ) -> bytes:
        """The IP packet around `body`; with an `offset` in bytes, a fragment of a larger one."""
        source, destination, _, _ = _ends(self, from_client)
        if self.version == 4:
            bits = 0x4000 if offset is None else (0x2000 if more else 0) | offset // 8
            head = struct.pack(
                "!BBHHHBBH",
                0x45 + len(self.ip_options) // 4,
                0,
                20 + len(self.ip_options) + len(body),
                ident % 2**16,
                bits,
                64,
                protocol,
                0,
            )
            head += source + destination + self.ip_options
            return head[:10] + ones_complement(head).to_bytes(2, "big") + head[12:] + body
        extensions = list(self.extensions)
        if offset is not None:
            fragment = struct.pack("!HI", offset | (1 if more else 0), ident)
            extensions.append((44, fragment))
        chain = b""
        following = protocol
        for number, content in reversed(extensions):
            length = 0 if number == 44 else (2 + len(content)) // 8 - 1
            chain = bytes((following, length)) + content + chain
            following = number
        head = struct.pack("!IHBB", 6 << 28, len(chain) + len(body), following, 64)
        return head + source + destination + chain + body

    def wrap(self, from_client: bool, packet: bytes) -> bytes:
        """The frame around an IP packet."""
        _, _, prefix, _ = _ends(self, from_client)
        frame = prefix + packet
        if self.padded and self.link == "ethernet" and len(frame) < 60:
            frame += b"\xee" * (60 - len(frame))
        return frame

    def frame(self, packet: Packet, *, partial: bool = False) -> bytes:
        """The frame that carries `packet`; for `partial` see `tcp`."""
        body = self.tcp(packet, partial=partial)
        return self.wrap(packet.from_client, self.ip(packet.from_client, 6, body, packet.ident))

    def fragments(self, packet: Packet, size: int) -> list[bytes]:
        """`packet` in fragments of at most `size` bytes (a multiple of 8) of TCP each."""
        body = self.tcp(packet)
        return [
            self.wrap(
                packet.from_client,
                self.ip_fragment(
                    packet.from_client,
                    6,
                    body[at : at + size],
                    ident=packet.ident,
                    offset=at,
                    more=at + size < len(body),
                ),
            )
            for at in range(0, len(body), size)
        ]


@functools.lru_cache(maxsize=4096)
def _ends(leg: Leg, from_client: bool) -> tuple[bytes, bytes, bytes, int]:
    """Source and destination address, the link header, and its length."""
    client = ipaddress.ip_address(leg.client).packed
    server = ipaddress.ip_address(leg.server).packed
    ethertype = 0x0800 if leg.version == 4 else 0x86DD
    source_mac, destination_mac = (
        (CLIENT_MAC, SERVER_MAC) if from_client else (SERVER_MAC, CLIENT_MAC)
    )
    if leg.link == "ethernet":
        prefix = destination_mac + source_mac
        for depth, vlan in enumerate(leg.vlans):
            # IEEE 802.1ad: the outer of two tags is a service tag.
            outer = depth == 0 and len(leg.vlans) > 1
            prefix += struct.pack("!HH", 0x88A8 if outer else 0x8100, vlan)
        prefix += ethertype.to_bytes(2, "big")
    elif leg.link == "raw":
        prefix = b""
    elif leg.link == "sll":
        prefix = struct.pack("!HHH", 0, 1, 6) + source_mac + b"\0\0" + ethertype.to_bytes(2, "big")
    elif leg.link == "sll2":
        prefix = struct.pack("!HHIHBB", ethertype, 0, 3, 1, 0, 6) + source_mac + b"\0\0"
    elif leg.link == "null":
        prefix = struct.pack("<I", 2 if leg.version == 4 else 30)
    else:
        raise ValueError(leg.link)
    source, destination = (client, server) if from_client else (server, client)
    return source, destination, prefix, len(prefix)
