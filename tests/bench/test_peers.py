"""The plain scripts do the work that they are measured for."""

from __future__ import annotations

import struct
from pathlib import Path

import dpkt
import pytest

from bench import capture, generate
from bench.legs import GATEWAY2_PORT, MAGIC, PROXY_V2_SIGNATURE
from bench.peers import plain_dpkt, plain_scapy
from bench.peers.headers import header_length
from tests.bench.test_generate import packets, streams

V2 = PROXY_V2_SIGNATURE + struct.pack(">BBH", 0x21, 0x11, 12) + bytes(12)
V1 = b"PROXY TCP4 203.0.113.7 192.168.110.2 46421 80\r\n"
MAGIC4 = MAGIC + b"\x04" + bytes(12)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (V2 + b"GET", 28),
        (V2[:15], None),
        (V1 + b"GET", len(V1)),
        (V1[:-1], None),
        (b"PROXY " + bytes(200), 0),
        (MAGIC4 + b"GET", 21),
        (MAGIC + b"\x06", 45),
        (MAGIC, None),
        (b"P", None),
        (b"", None),
        (b"GET / HTTP/1.1\r\n", 0),
    ],
)
def test_header_length(stream: bytes, expected: int | None) -> None:
    assert header_length(stream) == expected


def split_first_header(source: Path, sink: Path, at: int) -> None:
    """Cut the first connection's header segment in two, as a proxy with two writes would."""
    with source.open("rb") as file, sink.open("wb") as out:
        writer = dpkt.pcap.Writer(out)
        done = False
        for ts, buf in dpkt.pcap.Reader(file):
            eth = dpkt.ethernet.Ethernet(buf)
            tcp = eth.data.data
            if done or not tcp.data:
                writer.writepkt(buf, ts)
                continue
            done = True
            for start, data in ((0, tcp.data[:at]), (at, tcp.data[at:])):
                part = dpkt.ethernet.Ethernet(buf)
                part.data.data.seq = (tcp.seq + start) & 0xFFFFFFFF
                part.data.data.data = data
                writer.writepkt(plain_dpkt.rebuild(part, part.data, part.data.data), ts)


@pytest.mark.parametrize("split", [0, 1, 20])
def test_both_cut_exactly_the_headers_and_agree(tmp_path: Path, split: int) -> None:
    source = tmp_path / "in.pcap"
    summary = generate.make(source, "traffic", packets=1_500, connections=30, seed=7)
    if split:
        whole, source = source, tmp_path / "split.pcap"
        split_first_header(whole, source, split)
    by_dpkt, by_scapy = tmp_path / "dpkt.pcap", tmp_path / "scapy.pcap"
    with source.open("rb") as file, by_dpkt.open("wb") as out:
        plain_dpkt.strip(file, out, GATEWAY2_PORT)
    plain_scapy.strip(str(source), str(by_scapy), GATEWAY2_PORT)

    assert list(capture.records(by_dpkt)) == list(capture.records(by_scapy))
    if not split:
        assert capture.count(by_dpkt) == summary.packets - 2 * summary.headers_alone
    before, after = streams(source), streams(by_dpkt)
    assert before.keys() == after.keys()
    for way, data in before.items():
        cut = header_length(data) if way[3] == GATEWAY2_PORT else 0
        assert after[way] == data[cut:]
    # dpkt computes a checksum anew where the field is 0.
    for _, ip in packets(by_dpkt):
        was = bytes(ip)
        ip.sum = ip.data.sum = 0
        assert bytes(ip) == was
