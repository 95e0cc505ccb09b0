"""Captures for the benchmark, made at bench time, the same for the same seed.

Two kinds:

* ``Traffic``: whole conversations on the proxied leg, from SYN to FIN, interleaved in time:
  what a capture of the leg looks like.
* ``Crowd``: very many connections that are all open at once and say nothing after their header:
  what the state of the tracker costs.

A capture is planned connection by connection in columns (numpy), sorted by time, and written in
blocks, so that two million packets take seconds. Format: legacy pcap, microseconds, Ethernet.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.legs import GATEWAY1_MAC, GATEWAY2_MAC, GATEWAY2_PORT, MAGIC, PROXY_V2_SIGNATURE

Ints = npt.NDArray[np.int64]

EPOCH_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
SIZES = (64, 512, 1448)
BLOCKS_A_SIZE = 64  # distinct payloads of each size: enough that no cache holds only one

# Offsets in a record of the output: pcap record header, Ethernet, IPv4, TCP.
REC, ETH, IP, TCP = 0, 16, 30, 50
WIDTH = 90  # up to and including a SYN's 20 bytes of options
OPTIONS_SYN = bytes.fromhex("020405b40402080a000000000000000001030307")
OPTIONS_DATA = bytes.fromhex("0101080a0000000000000000")
FIN, SYN, PSH, ACK = 0x01, 0x02, 0x08, 0x10
BATCH = 100_000


@dataclass(frozen=True, slots=True)
class Summary:
    """What is true in a generated capture; written beside it as JSON."""

    packets: int
    bytes: int  # of the file, container included
    connections: int
    header_bytes: int  # all that stripping takes out
    headers_alone: int  # segments that hold a header and nothing else; each gets an ACK of its own
    seed: int


@dataclass(slots=True)
class Plan:
    """One row a packet, in the order of the capture; ``conn`` selects a row of ``Ends``."""

    conn: Ints
    time_us: Ints
    to_server: npt.NDArray[np.bool_]
    flags: Ints
    seq: Ints
    ack: Ints
    payload: Ints  # index into the payloads; -1 for none


@dataclass(slots=True)
class Ends:
    """One row a connection: its two endpoints on the leg, addresses as 32-bit integers."""

    client_ip: Ints
    client_port: Ints
    server_ip: Ints


class Payloads:
    """The distinct payloads of a capture, each with its one's complement sum."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.sums: list[int] = []

    def add(self, payload: bytes) -> int:
        """Keep ``payload``; return its index."""
        self.data.append(payload)
        # 2^16 = 1 (mod 65535): the remainder of the whole number is the sum of its words.
        self.sums.append(int.from_bytes(payload + bytes(len(payload) % 2), "big") % 0xFFFF)
        return len(self.data) - 1


def proxy_header(rng: random.Random, kind: str) -> bytes:
    """A header as gateway1 writes it, for a random peer and a decoy's virtual address."""
    peer_port, dest_port = rng.randrange(1024, 65536), rng.choice((22, 25, 80, 443, 445, 8080))
    peer, dest = f"203.0.113.{rng.randrange(1, 255)}", f"192.168.110.{rng.randrange(2, 200)}"
    four = socket.inet_aton(peer) + socket.inet_aton(dest)
    if kind == "proxy-v1":
        return f"PROXY TCP4 {peer} {dest} {peer_port} {dest_port}\r\n".encode()
    if kind == "magic":
        ends = struct.pack(">4sH4sH", four[:4], peer_port, four[4:], dest_port)
        return MAGIC + b"\x04" + ends
    if kind == "proxy-v2-inet6":
        six = bytes.fromhex("20010db8") + rng.randbytes(12) + bytes.fromhex("20010db8") + bytes(12)
        body = six + struct.pack(">HH", peer_port, dest_port)
        return PROXY_V2_SIGNATURE + struct.pack(">BBH", 0x21, 0x21, len(body)) + body
    body = four + struct.pack(">HH", peer_port, dest_port)
    return PROXY_V2_SIGNATURE + struct.pack(">BBH", 0x21, 0x11, len(body)) + body


HEADER_MIX = (("proxy-v2", 88), ("proxy-v2-inet6", 2), ("proxy-v1", 5), ("magic", 5))


def traffic(packets: int, connections: int, seed: int) -> tuple[Plan, Ends, Payloads, Summary]:
    """Plan whole conversations.

    A connection is: handshake; the header, alone in its segment in every second connection and
    with payload behind it in the others; the server's ACK of it; exchanges of a request and a
    response in segments of ``SIZES``, with an ACK to every second segment, as delayed ACKs are;
    FINs both ways. In a quarter of the connections the client sends the bulk. No packet is lost,
    repeated or out of order.

    ``packets`` is the least number of packets; the plan has a few more.
    """
    rng = np.random.default_rng(seed)
    draw = random.Random(seed)
    opening, closing = 5, 3  # handshake, header and its ACK; FINs and their ACK
    least = opening + closing + 4
    mean = packets / connections
    if mean < least:
        raise ValueError(f"{packets} packets are too few for {connections} connections")
    # Many short connections and a few long ones, as scans and downloads make.
    weight = rng.lognormal(0.0, 0.8, connections)
    length = np.ceil(least + weight * (mean - least) / weight.mean()).astype(np.int64)
    conn = np.repeat(np.arange(connections), length)
    first = np.concatenate(([0], np.cumsum(length)[:-1]))
    pos = np.arange(len(conn)) - first[conn]
    left = length[conn] - pos  # 1 in the last packet of a connection

    # Which direction each packet has, and whether it carries data.
    period = rng.choice((8, 14, 23, 38), connections)[conn]
    in_exchange = (pos - opening) % period
    burst = (in_exchange - 2) % 3
    is_middle = (pos >= opening) & (left > closing)
    request, reply_ack = in_exchange == 0, in_exchange == 1
    pure_ack = is_middle & (reply_ack | (~request & (burst == 2)))
    forward = np.where(request, True, np.where(reply_ack, False, burst == 2))
    uploads = rng.random(connections) < 0.25
    to_server = np.where(is_middle, forward ^ uploads[conn], True)
    to_server[(pos == 1) | (pos == 4) | (left == 2)] = False
    data = is_middle & ~pure_ack

    # Sizes: a connection's character weighs them, so that a bulk download looks like one.
    payloads = Payloads()
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 /=\r\n"
    block = [
        [payloads.add(bytes(draw.choices(alphabet, k=size))) for _ in range(BLOCKS_A_SIZE)]
        for size in SIZES
    ]
    shares = np.array(((0.15, 0.25, 0.60), (0.30, 0.40, 0.30), (0.70, 0.20, 0.10)))
    edges = np.cumsum(shares, axis=1)[rng.choice(3, connections, p=(0.60, 0.28, 0.12))][conn]
    dice = rng.random(len(conn))
    size_index = (dice >= edges[:, 0]).astype(np.int64) + (dice >= edges[:, 1])
    size_index[request & is_middle] = np.minimum(size_index[request & is_middle], 1)
    payload = np.where(
        data, np.array(block)[size_index, rng.integers(0, BLOCKS_A_SIZE, len(conn))], -1
    )

    alone = rng.random(connections) < 0.5
    kinds = draw.choices([k for k, _ in HEADER_MIX], [w for _, w in HEADER_MIX], k=connections)
    header_bytes = 0
    for c in range(connections):
        header = proxy_header(draw, kinds[c])
        header_bytes += len(header)
        behind = b"" if alone[c] else payloads.data[draw.choice(block[draw.randrange(2)])]
        payload[first[c] + 3] = payloads.add(header + behind)

    flags = np.full(len(conn), ACK)
    flags[payload >= 0] |= PSH
    flags[pos == 0], flags[pos == 1] = SYN, SYN | ACK
    flags[(left == 3) | (left == 2)] = FIN | ACK

    # Time: bursts at line rate, a round trip before an answer, and time to think.
    think = np.where(request, 150_000.0, np.where(burst == 0, 400.0, 12.0))
    gap = rng.exponential(1.0, len(conn)) * np.where(is_middle, think, 250.0) + 1.0
    gap[pos == 0] = 0
    elapsed = np.cumsum(gap)
    elapsed -= elapsed[first][conn]
    start = np.sort(rng.random(connections)) * packets * 10  # 100,000 packets/s
    seq, ack = _numbers(rng, conn, first, to_server, flags, payload, payloads)
    order = np.argsort(start[conn] + elapsed, kind="stable")
    time_us = EPOCH_US + (start[conn] + elapsed)[order].astype(np.int64)
    plan = Plan(
        conn[order], time_us, to_server[order], flags[order], seq[order], ack[order], payload[order]
    )
    ports = rng.permutation(np.arange(28_000))[np.arange(connections) // 8 % 28_000]
    ends = Ends(
        np.full(connections, _ip("172.16.23.1")) + np.arange(connections) // (8 * 28_000),
        32_768 + ports,
        _ip("172.16.23.128") + np.arange(connections) % 8,
    )
    summary = Summary(len(conn), 0, connections, header_bytes, int(alone.sum()), seed)
    return plan, ends, payloads, summary


def crowd(connections: int, seed: int) -> tuple[Plan, Ends, Payloads, Summary]:
    """Plan ``connections`` that are all open at the end: SYN, SYN/ACK, ACK, header, no more."""
    rng = np.random.default_rng(seed)
    draw = random.Random(seed)
    payloads = Payloads()
    pool = [payloads.add(proxy_header(draw, "proxy-v2")) for _ in range(4096)]
    conn = np.repeat(np.arange(connections), 4)
    pos = np.tile(np.arange(4), connections)
    to_server = pos != 1
    flags = np.array((SYN, SYN | ACK, ACK, PSH | ACK))[pos]
    payload = np.where(pos == 3, np.array(pool)[conn % len(pool)], -1)
    first = np.arange(connections) * 4
    # 100,000 new connections a second, each handshake within a millisecond: never many half open.
    time = conn * 10 + pos * rng.integers(50, 300, connections)[conn]
    seq, ack = _numbers(rng, conn, first, to_server, flags, payload, payloads)
    order = np.argsort(time, kind="stable")
    plan = Plan(
        conn[order],
        EPOCH_US + time[order],
        to_server[order],
        flags[order],
        seq[order],
        ack[order],
        payload[order],
    )
    index = np.arange(connections)
    ends = Ends(
        _ip("172.16.64.1") + index // 60_000,
        2_000 + index % 60_000,
        np.full(connections, _ip("172.16.23.128")),
    )
    header_bytes = len(payloads.data[0]) * connections
    return (
        plan,
        ends,
        payloads,
        Summary(len(conn), 0, connections, header_bytes, connections, seed),
    )


def _ip(text: str) -> int:
    return int.from_bytes(socket.inet_aton(text), "big")


def _numbers(
    rng: np.random.Generator,
    conn: Ints,
    first: Ints,
    to_server: npt.NDArray[np.bool_],
    flags: Ints,
    payload: Ints,
    payloads: Payloads,
) -> tuple[Ints, Ints]:
    """Sequence and acknowledgement numbers, from what each direction sent before (RFC 9293)."""
    sizes = np.array([*(len(data) for data in payloads.data), 0])  # index -1: none
    space = sizes[payload] + ((flags & (SYN | FIN)) != 0)
    isn = rng.integers(0, 2**32, (2, len(first)))
    sent = []
    for way, side in ((to_server, 0), (~to_server, 1)):
        total = np.cumsum(np.where(way, space, 0))
        total -= (total[first] - np.where(way, space, 0)[first])[conn]
        sent.append((isn[side][conn] + total) & 0xFFFFFFFF)  # what the side sent, this included
    own, other = np.where(to_server, sent[0], sent[1]), np.where(to_server, sent[1], sent[0])
    ack = np.where(flags & ACK != 0, other, 0)
    return (own - space) & 0xFFFFFFFF, ack


def write(path: Path, plan: Plan, ends: Ends, payloads: Payloads) -> int:
    """Write the plan as a capture; return the bytes written."""
    sizes = np.array([*(len(data) for data in payloads.data), 0])
    sums = np.array([*payloads.sums, 0])
    data = [*payloads.data, b""]
    with path.open("wb", buffering=0) as out:
        written = out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for at in range(0, len(plan.conn), BATCH):
            part = slice(at, at + BATCH)
            rows, lengths = _headers(plan, ends, part, sizes, sums)
            flat = rows.reshape(-1).data
            pieces: list[memoryview | bytes] = []
            column = zip(
                range(0, len(flat), WIDTH),
                lengths.tolist(),
                plan.payload[part].tolist(),
                strict=True,
            )
            for start, length, payload in column:
                pieces.append(flat[start : start + length])
                if payload >= 0:
                    pieces.append(data[payload])
            block = memoryview(b"".join(pieces))
            while block:
                done = out.write(block)
                written += done
                block = block[done:]
    return written


def _headers(
    plan: Plan, ends: Ends, part: slice, sizes: Ints, sums: Ints
) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Rows of ``WIDTH`` bytes, each a record's headers, and how much of each row counts."""
    conn, up, flags = plan.conn[part], plan.to_server[part], plan.flags[part]
    payload, time_us = plan.payload[part], plan.time_us[part]
    is_syn = flags & SYN != 0
    tcp_length = np.where(is_syn, 40, 32)
    ip_length = 20 + tcp_length + sizes[payload]
    rows = np.zeros((len(conn), WIDTH), np.uint8)

    def put(at: int, width: int, values: Any, order: str = ">") -> None:
        column = np.broadcast_to(np.asarray(values), len(rows)).astype(f"{order}u{width}")
        rows[:, at : at + width] = np.ascontiguousarray(column).view(np.uint8).reshape(-1, width)

    put(REC, 4, time_us // 1_000_000, "<")
    put(REC + 4, 4, time_us % 1_000_000, "<")
    put(REC + 8, 4, ip_length + 14, "<")
    put(REC + 12, 4, ip_length + 14, "<")
    near, far = (np.frombuffer(mac, np.uint8) for mac in (GATEWAY1_MAC, GATEWAY2_MAC))
    rows[:, ETH : ETH + 6] = np.where(up[:, None], far, near)
    rows[:, ETH + 6 : ETH + 12] = np.where(up[:, None], near, far)
    put(ETH + 12, 2, 0x0800)
    put(IP, 2, 0x4500)
    put(IP + 2, 2, ip_length)
    put(IP + 4, 2, (plan.seq[part] * 40503 >> 8) & 0xFFFF)  # Identification: any value will do
    put(IP + 6, 2, 0x4000)
    put(IP + 8, 2, 64 << 8 | 6)
    client, server = ends.client_ip[conn], ends.server_ip[conn]
    put(IP + 12, 4, np.where(up, client, server))
    put(IP + 16, 4, np.where(up, server, client))
    port = ends.client_port[conn]
    put(TCP, 2, np.where(up, port, GATEWAY2_PORT))
    put(TCP + 2, 2, np.where(up, GATEWAY2_PORT, port))
    put(TCP + 4, 4, plan.seq[part])
    put(TCP + 8, 4, plan.ack[part])
    put(TCP + 12, 2, tcp_length // 4 << 12 | flags)
    put(TCP + 14, 2, np.where(is_syn, 64_240, 501))
    rows[:, TCP + 20 : TCP + 40] = np.where(
        is_syn[:, None],
        np.frombuffer(OPTIONS_SYN, np.uint8),
        np.frombuffer(OPTIONS_DATA + bytes(8), np.uint8),
    )
    # Timestamps (RFC 7323): each side's own clock; the echo is what it last heard, if anything.
    clock = time_us // 1000
    near_clock, far_clock = clock + 77_777, clock + 1_234_567
    own = np.where(up, near_clock, far_clock) & 0xFFFFFFFF
    heard = np.where(up, far_clock, near_clock) & 0xFFFFFFFF
    echo = np.where(flags & ACK != 0, heard, 0)
    stamps = np.stack((own, echo), axis=1).astype(">u4").view(np.uint8).reshape(-1, 8)
    for which, at in ((is_syn, TCP + 28), (~is_syn, TCP + 24)):
        rows[which, at : at + 8] = stamps[which]
    _checksums(rows, ip_length, sums[payload])
    return rows, TCP + tcp_length


def _checksums(rows: npt.NDArray[np.uint8], ip_length: Ints, payload_sum: Ints) -> None:
    """Fill in the IPv4 and the TCP checksum (RFC 1071) of every row."""

    def words(start: int, end: int) -> Ints:
        part = np.ascontiguousarray(rows[:, start:end]).view(">u2")
        return np.asarray(part.sum(axis=1, dtype=np.int64))

    def finish(total: Ints, at: int) -> None:
        for _ in range(3):
            total = (total & 0xFFFF) + (total >> 16)
        rows[:, at] = (~total >> 8) & 0xFF
        rows[:, at + 1] = ~total & 0xFF

    finish(words(IP, IP + 20), IP + 10)
    # Rows shorter than WIDTH end in zeros, so the sum over all of WIDTH is theirs too.
    pseudo = words(IP + 12, IP + 20) + 6 + ip_length - 20
    finish(pseudo + words(TCP, WIDTH) + payload_sum, TCP + 16)


def make(path: Path, kind: str, packets: int, connections: int, seed: int) -> Summary:
    """Generate a capture of ``kind`` (``traffic`` or ``crowd``) at ``path``."""
    if kind == "crowd":
        plan, ends, payloads, summary = crowd(connections, seed)
    else:
        plan, ends, payloads, summary = traffic(packets, connections, seed)
    size = write(path, plan, ends, payloads)
    return Summary(**{**asdict(summary), "bytes": size})


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: writes the capture, prints its ``Summary`` as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.generate", description=__doc__)
    parser.add_argument("out", type=Path, help="the capture to write")
    parser.add_argument("--kind", choices=("traffic", "crowd"), default="traffic")
    parser.add_argument("--packets", type=int, default=2_000_000)
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    summary = make(given.out, given.kind, given.packets, given.connections, given.seed)
    print(json.dumps(asdict(summary)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
