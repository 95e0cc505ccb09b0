"""Traffic of the proxied leg, as captures that `sender` reads.

Frames are Ethernet, IPv4 and TCP without IP options: the sender relies on it.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from bench.legs import GATEWAY1_MAC, GATEWAY2_MAC, GATEWAY2_PORT, PROXY_V2_SIGNATURE

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
MSS = 1448
ETH, L4 = 14, 34
PCAP_HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
# linux/virtio_net.h
VNET = struct.Struct("<BBHHHH")
NEEDS_CSUM, GSO_TCPV4 = 1, 1
TIMESTAMPS = bytes.fromhex("0101080a0000000100000001")
SYN_OPTIONS = bytes.fromhex("020405b40402080a000000010000000001030307")

HEADER = (
    PROXY_V2_SIGNATURE
    + struct.pack(">BBH", 0x21, 0x11, 12)
    + bytes((203, 0, 113, 7, 192, 168, 110, 2))
    + struct.pack(">HH", 46421, 80)
)

Frames = Iterable[bytes]


def folded(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def words(data: bytes) -> int:
    # 2^16 = 1 (mod 65535): the remainder of the whole number is the sum of its words.
    return int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF


class Connection:
    """One connection's frames, both ends of it; the next numbers are kept."""

    def __init__(self, number: int, header: bytes = HEADER) -> None:
        # 28,000 ports of as many gateways as it takes.
        ip, port = 1 + number // 28_000, 32_768 + number % 28_000
        self.client = bytes((172, 16, ip >> 8 & 0xFF, ip & 0xFF))
        self.server = bytes((172, 16, 23, 128 + number % 8))
        self.port = port
        self.header = header
        self.next = [
            1_000_000 + 7919 * number & 0xFFFFFFFF,
            3_000_000 + 104_729 * number & 0xFFFFFFFF,
        ]
        pseudo = words(self.client + self.server) + 6
        self._bases = pseudo

    def segment(self, to_server: bool, flags: int, payload: bytes = b"") -> bytes:
        """The next segment; its numbers follow from what was sent."""
        here, there = (0, 1) if to_server else (1, 0)
        seq, ack = self.next[here], self.next[there]
        if not flags & ACK:
            ack = 0
        options = SYN_OPTIONS if flags & SYN else TIMESTAMPS
        ports = (self.port, GATEWAY2_PORT) if to_server else (GATEWAY2_PORT, self.port)
        size = 20 + len(options) + len(payload)
        head = struct.pack(
            ">HHIIBBHHH", *ports, seq, ack, (20 + len(options)) << 2, flags, 64240, 0, 0
        )
        total = self._bases + size + words(head) + words(options) + words(payload)
        tcp = head[:16] + struct.pack(">H", 0xFFFF - folded(total)) + head[18:] + options
        self.next[here] = seq + len(payload) + bool(flags & (SYN | FIN)) & 0xFFFFFFFF
        return self._ip(to_server, size) + tcp + payload

    def _ip(self, to_server: bool, size: int) -> bytes:
        ends = (self.client, self.server) if to_server else (self.server, self.client)
        macs = (GATEWAY2_MAC, GATEWAY1_MAC) if to_server else (GATEWAY1_MAC, GATEWAY2_MAC)
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size & 0xFFFF, 0, 0x4000, 64, 6, 0)
        checksum = 0xFFFF - folded(words(head) + words(ends[0] + ends[1]))
        return b"".join((*macs, b"\x08\x00", head[:10], struct.pack(">H", checksum), *ends))

    def superframe(self, to_server: bool, payload: bytes) -> bytes:
        """A segment as its sender hands it to a card that segments: virtio-net header in front."""
        frame = bytearray(self.segment(to_server, ACK | PSH, payload))
        size = len(frame) - L4
        pseudo = folded(self._bases + size)
        frame[L4 + 16 : L4 + 18] = struct.pack(">H", pseudo)
        head = VNET.pack(NEEDS_CSUM, GSO_TCPV4, L4 + 32, MSS, L4, 16)
        return head + bytes(frame)

    def opening(self) -> Iterator[bytes]:
        yield self.segment(True, SYN)
        yield self.segment(False, SYN | ACK)
        yield self.segment(True, ACK)
        if self.header:
            yield self.segment(True, PSH | ACK, self.header)
            yield self.segment(False, ACK)

    def closing(self) -> Iterator[bytes]:
        yield self.segment(True, FIN | ACK)
        yield self.segment(False, FIN | ACK)
        yield self.segment(True, ACK)


def sized(size: int, packets: int, each: int = 100) -> Iterator[bytes]:
    """Conversations of segments with `size` bytes each, in turn both ways."""
    payload = random.Random(size).randbytes(size)
    for number in range(packets // each):
        one = Connection(number)
        yield from one.opening()
        for turn in range(each - 8):
            yield one.segment(turn % 2 == 0, PSH | ACK, payload)
        yield from one.closing()


REQUEST = (
    b"GET /%b/%d HTTP/1.1\r\nHost: decoy%d.example\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nCookie: session=%d\r\nConnection: keep-alive\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: text/html\r\nContent-Length: %d\r\n"
    b"Connection: keep-alive\r\n\r\n"
)


def web(number: int, draw: random.Random, header: bytes = HEADER) -> Iterator[bytes]:
    """One HTTP conversation: some requests, answers in segments, an ACK to every second one."""
    one = Connection(number, header)
    yield from one.opening()
    for turn in range(draw.choice((1, 2, 3, 5))):
        word = draw.choice((b"index", b"admin", b"login", b"wp-content", b"images"))
        request = REQUEST % (word, turn, number % 50, draw.randrange(1 << 30))
        yield one.segment(True, PSH | ACK, request)
        body = b"<p>decoy</p>" * draw.choice((10, 100, 400, 1000))
        answer = ANSWER % len(body) + body
        for at in range(0, len(answer), MSS):
            yield one.segment(False, PSH | ACK, answer[at : at + MSS])
            if at // MSS % 2:
                yield one.segment(True, ACK)
        yield one.segment(True, ACK)
    yield from one.closing()


def http(
    packets: int, header: bytes = HEADER, numbers: Iterable[int] | None = None
) -> Iterator[bytes]:
    """HTTP conversations, 20 of them at a time."""
    draw = random.Random(5)
    source = iter(numbers if numbers is not None else range(packets))
    count = 0
    while count < packets:
        batch = [web(number, draw, header) for number, _ in zip(source, range(20), strict=False)]
        if not batch:
            return
        for row in zip_longest(*batch):
            for frame in row:
                if frame is not None:
                    count += 1
                    yield frame


def offloaded(megabytes: int, size: int = 24_000) -> Iterator[bytes]:
    """Downloads whose frames were never segmented, with virtio-net headers."""
    plain = VNET.pack(0, 0, 0, 0, 0, 0)
    payload = random.Random(1).randbytes(size)
    frames = megabytes * 1_000_000 // size
    for number in range(max(1, frames // 50)):
        one = Connection(number)
        yield from (plain + frame for frame in one.opening())
        for _ in range(50):
            yield one.superframe(False, payload)
            yield plain + one.segment(True, ACK)
        yield from (plain + frame for frame in one.closing())


def opened(connections: Iterable[Connection]) -> Iterator[bytes]:
    """Their openings, one after the other."""
    return chain.from_iterable(one.opening() for one in connections)


def write(path: Path, frames: Frames) -> int:
    """Write a capture; how many frames."""
    count = 0
    with path.open("wb") as file:
        file.write(PCAP_HEAD)
        for frame in frames:
            file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
            count += 1
    return count


def write_flood(path: Path, tuples: int) -> int:
    """Write SYNs of as many distinct 5-tuples, beside those of `Connection`."""
    template = np.frombuffer(Connection(0).segment(True, SYN), np.uint8)
    record = np.concatenate(
        (
            np.frombuffer(struct.pack("<IIII", 0, 0, len(template), len(template)), np.uint8),
            template,
        )
    )
    with path.open("wb") as file:
        file.write(PCAP_HEAD)
        for first in range(0, tuples, 100_000):
            number = np.arange(first, min(tuples, first + 100_000))
            rows = np.tile(record, (len(number), 1))
            at = 16
            ip, port = 0xAC10_8000 + number // 50_000, 1024 + number % 50_000
            rows[:, at + 26 : at + 30] = ip[:, None] >> np.array((24, 16, 8, 0)) & 0xFF
            rows[:, at + 34 : at + 36] = port[:, None] >> np.array((8, 0)) & 0xFF
            for place, begin, end, pseudo in ((24, 14, 34, 0), (50, 34, len(template), 6)):
                rows[:, at + place : at + place + 2] = 0
                area = rows[:, at + begin : at + end].astype(np.int64)
                total = (area[:, 0::2] << 8).sum(axis=1) + area[:, 1::2].sum(axis=1) + pseudo
                if pseudo:
                    ends = rows[:, at + 26 : at + 34].astype(np.int64)
                    total += (ends[:, 0::2] << 8).sum(axis=1) + ends[:, 1::2].sum(axis=1)
                    total += len(template) - 34
                for _ in range(3):
                    total = (total & 0xFFFF) + (total >> 16)
                rows[:, at + place : at + place + 2] = (0xFFFF - total)[:, None] >> np.array(
                    (8, 0)
                ) & 0xFF
            file.write(rows.astype(np.uint8).tobytes())
    return tuples
