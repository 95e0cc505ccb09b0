"""A frame back to a value, read by dpkt, with every checksum verified on the raw bytes.

Shares no code with `packets`, which builds the frames, nor with the engine.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import dpkt  # type: ignore[import-untyped]

ETHERTYPE_IP, ETHERTYPE_IP6 = 0x0800, 0x86DD


class NotTcp(Exception):  # noqa: N818 - says what the frame is; not always a fault
    """The frame is not a whole TCP packet; the text says why."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment as it lay in a frame. `faults` are named in the words of a report."""

    source: tuple[str, int]
    destination: tuple[str, int]
    vlans: tuple[int, ...]
    version: int
    seq: int
    ack: int
    flags: int
    window: int
    urgent: int
    options: bytes
    payload: bytes
    ident: int
    ip_options: bytes
    extensions: tuple[int, ...]
    trailer: bytes
    faults: tuple[str, ...]


def internet_sum(data: bytes) -> int:
    """0 where the checksum within `data` is right (dpkt's arithmetic)."""
    return int(dpkt.in_cksum(data))


def network_layer(frame: bytes, link: str) -> tuple[int, tuple[int, ...], int]:
    """Ethertype, VLAN ids from the outermost, and where the network layer begins.

    Raises `NotTcp` for a frame shorter than its link header.
    """
    try:
        if link == "ethernet":
            at, vlans = 12, []
            (kind,) = struct.unpack_from("!H", frame, at)
            while kind in (0x8100, 0x88A8, 0x9100):
                tci, kind_next = struct.unpack_from("!HH", frame, at + 2)
                vlans.append(tci & 0xFFF)
                at, kind = at + 4, kind_next
            return kind, tuple(vlans), at + 2
        if link == "raw":
            return {4: ETHERTYPE_IP, 6: ETHERTYPE_IP6}.get(frame[0] >> 4, 0), (), 0
        if link == "sll":
            return struct.unpack_from("!H", frame, 14)[0], (), 16
        if link == "sll2":
            return struct.unpack_from("!H", frame, 0)[0], (), 20
        family = struct.unpack_from("<I", frame, 0)[0]
        kinds = {2: ETHERTYPE_IP, 10: ETHERTYPE_IP6}
        kinds |= dict.fromkeys((24, 28, 30), ETHERTYPE_IP6)
        return kinds.get(family, 0), (), 4
    except (struct.error, IndexError):
        raise NotTcp("shorter than its link header") from None


def dissect(frame: bytes, link: str = "ethernet") -> Segment:
    """Reads the TCP segment in `frame`. Raises `NotTcp` for anything else."""
    kind, vlans, start = network_layer(frame, link)
    packet = frame[start:]
    faults = []
    extensions: tuple[int, ...] = ()
    try:
        if kind == ETHERTYPE_IP:
            ip = dpkt.ip.IP(packet)
            head = ip.hl * 4
            end = ip.len
            if ip.offset or ip.mf:
                raise NotTcp("a fragment")
            if ip.p != dpkt.ip.IP_PROTO_TCP:
                raise NotTcp(f"IP protocol {ip.p}")
            if internet_sum(packet[:head]):
                faults.append("IPv4 header checksum")
            pseudo = ip.src + ip.dst + struct.pack("!BBH", 0, 6, end - head)
            source, destination = dpkt.utils.inet_to_str(ip.src), dpkt.utils.inet_to_str(ip.dst)
            ident, ip_options = ip.id, bytes(ip.opts)
        elif kind == ETHERTYPE_IP6:
            ip = dpkt.ip6.IP6(packet)
            chain = list(ip.all_extension_headers)
            for part in chain:
                # With neither offset nor more to come it is a whole packet (RFC 6946).
                if isinstance(part, dpkt.ip6.IP6FragmentHeader) and (part.frag_off or part.m_flag):
                    raise NotTcp("a fragment")
            if ip.p != dpkt.ip.IP_PROTO_TCP:
                raise NotTcp(f"IP protocol {ip.p}")
            extensions = _extension_numbers(ip.nxt, chain)
            head = 40 + sum(part.length for part in chain)
            end = 40 + ip.plen
            pseudo = ip.src + ip.dst + struct.pack("!II", end - head, 6)
            source, destination = dpkt.utils.inet_to_str(ip.src), dpkt.utils.inet_to_str(ip.dst)
            ident, ip_options = 0, b""
        else:
            raise NotTcp(f"ethertype {kind:#06x}")
        if end > len(packet):
            raise NotTcp("longer than its frame")
        raw = packet[head:end]
        tcp = dpkt.tcp.TCP(raw)
    except (dpkt.UnpackError, struct.error, IndexError) as error:
        raise NotTcp(f"does not parse: {error}") from None
    if tcp.off * 4 < 20 or tcp.off * 4 > len(raw):
        raise NotTcp("TCP header length beyond the packet")
    if internet_sum(pseudo + raw):
        faults.append("TCP checksum")
    return Segment(
        source=(source, tcp.sport),
        destination=(destination, tcp.dport),
        vlans=vlans,
        version=4 if kind == ETHERTYPE_IP else 6,
        seq=tcp.seq,
        ack=tcp.ack,
        flags=tcp.flags,
        window=tcp.win,
        urgent=tcp.urp,
        options=bytes(tcp.opts),
        payload=raw[tcp.off * 4 :],
        ident=ident,
        ip_options=ip_options,
        extensions=extensions,
        trailer=packet[end:],
        faults=tuple(faults),
    )


def options_of(segment: Segment) -> list[tuple[int, bytes]]:
    """The TCP options as (kind, value), without padding (EOL, NOP)."""
    return [
        (kind, bytes(value))
        for kind, value in dpkt.tcp.parse_opts(segment.options)
        if kind not in (0, 1)
    ]


def sack_blocks(segment: Segment) -> list[tuple[int, int]]:
    """The edges of the segment's SACK blocks, as on the wire."""
    blocks = []
    for kind, value in options_of(segment):
        if kind == 5:
            words = struct.unpack(f"!{len(value) // 4}I", value)
            blocks += list(zip(words[::2], words[1::2], strict=True))
    return blocks


def _extension_numbers(first: int, chain: list[dpkt.ip6.IP6ExtensionHeader]) -> tuple[int, ...]:
    numbers = []
    following = first
    for part in chain:
        numbers.append(following)
        following = part.nxt
    return tuple(numbers)
