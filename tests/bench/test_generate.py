"""The benchmark's captures are what they claim to be."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import dpkt
import pytest

from bench import generate
from bench.legs import GATEWAY2_PORT
from bench.peers.headers import header_length

SYN, FIN = dpkt.tcp.TH_SYN, dpkt.tcp.TH_FIN


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, generate.Summary]:
    path = tmp_path_factory.mktemp("bench") / "traffic.pcap"
    return path, generate.make(path, "traffic", packets=6_000, connections=60, seed=3)


def packets(path: Path) -> list[tuple[float, dpkt.ip.IP]]:
    with path.open("rb") as file:
        return [(ts, dpkt.ethernet.Ethernet(buf).data) for ts, buf in dpkt.pcap.Reader(file)]


def checksum(data: bytes) -> int:
    total = sum(
        int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2)
    )
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def streams(path: Path) -> dict[tuple[bytes, int, bytes, int], bytes]:
    """Each direction's bytes, joined by sequence number; a gap or an overlap fails."""
    first: dict[tuple[bytes, int, bytes, int], int] = {}
    joined: dict[tuple[bytes, int, bytes, int], bytes] = defaultdict(bytes)
    for _, ip in packets(path):
        tcp = ip.data
        way = (ip.src, tcp.sport, ip.dst, tcp.dport)
        if tcp.flags & SYN:
            assert way not in first
            first[way] = tcp.seq + 1
        at = (tcp.seq - first[way]) & 0xFFFFFFFF
        if not tcp.flags & SYN:
            assert at == len(joined[way]) or (not tcp.data and at == len(joined[way]) + 1)
            back = (ip.dst, tcp.dport, ip.src, tcp.sport)
            acked = (tcp.ack - first[back]) & 0xFFFFFFFF
            assert acked <= len(joined[back]) + 1
        joined[way] += tcp.data
    return joined


def test_its_summary_is_true(traffic: tuple[Path, generate.Summary]) -> None:
    path, summary = traffic
    found = packets(path)
    assert summary.packets == len(found) >= 6_000
    assert summary.bytes == path.stat().st_size
    assert summary.connections == sum(1 for _, ip in found if ip.data.flags == SYN) == 60
    client = {way: data for way, data in streams(path).items() if way[3] == GATEWAY2_PORT}
    lengths = [header_length(data) for data in client.values()]
    assert all(lengths)
    assert summary.header_bytes == sum(filter(None, lengths))


def test_every_checksum_is_right(traffic: tuple[Path, generate.Summary]) -> None:
    for _, ip in packets(traffic[0]):
        raw = bytes(ip)
        segment = raw[20 : ip.len]
        pseudo = raw[12:20] + b"\0\x06" + len(segment).to_bytes(2, "big")
        assert checksum(raw[:20]) == 0xFFFF
        assert checksum(pseudo + segment) == 0xFFFF


def test_conversations_begin_end_and_interleave(traffic: tuple[Path, generate.Summary]) -> None:
    found = packets(traffic[0])
    assert [ts for ts, _ in found] == sorted(ts for ts, _ in found)
    assert sum(1 for _, ip in found if ip.data.flags & FIN) == 2 * 60
    ends = [frozenset({(ip.src, ip.data.sport), (ip.dst, ip.data.dport)}) for _, ip in found]
    changes = sum(1 for one, other in pairwise(ends) if one != other)
    assert changes > len(found) / 10


@pytest.mark.parametrize("size", generate.SIZES)
def test_sizes_are_mixed(traffic: tuple[Path, generate.Summary], size: int) -> None:
    of_size = sum(1 for _, ip in packets(traffic[0]) if len(ip.data.data) == size)
    assert of_size > 6_000 / 20


def test_packets_are_as_long_as_on_a_real_leg(tmp_path: Path) -> None:
    summary = generate.make(tmp_path / "t.pcap", "traffic", 50_000, 500, seed=1)
    assert 500 < summary.bytes / summary.packets < 600


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one", "same", "other")]
    for path, seed in zip(paths, (5, 5, 6), strict=True):
        generate.make(path, "traffic", 2_000, 40, seed)
    one, same, other = (path.read_bytes() for path in paths)
    assert one == same != other


def test_a_crowd_is_all_open_at_once(tmp_path: Path) -> None:
    path = tmp_path / "crowd.pcap"
    summary = generate.make(path, "crowd", 0, 500, seed=1)
    found = packets(path)
    assert summary.packets == len(found) == 4 * 500
    assert sum(1 for _, ip in found if ip.data.flags == SYN) == 500
    assert not any(ip.data.flags & FIN for _, ip in found)
    client = [data for way, data in streams(path).items() if way[3] == GATEWAY2_PORT]
    assert len(client) == 500
    assert all(header_length(data) == len(data) for data in client)


def test_too_few_packets_for_the_connections_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too few for 100 connections"):
        generate.make(tmp_path / "t.pcap", "traffic", 1_000, 100, seed=1)
