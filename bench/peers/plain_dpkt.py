"""Strip proxy headers with dpkt: ``python -m bench.peers.plain_dpkt IN OUT PORT``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import dpkt

from bench.peers.headers import header_length


@dataclass
class Connection:
    first: int  # sequence number of the client's first byte
    header: int | None = None  # its length; None until it is known
    stream: bytes = b""  # the client's bytes while the header is incomplete
    held: list = field(default_factory=list)  # client segments that wait for the verdict


def shift(number: int, connection: Connection) -> int:
    """A client sequence number as if the header had never been sent."""
    offset = (number - connection.first) & 0xFFFFFFFF
    if offset >= 0x80000000:  # in front of the stream: SYN, keepalive
        return number
    return (connection.first + max(0, offset - connection.header)) & 0xFFFFFFFF


def from_client(eth, connection: Connection) -> bytes | None:
    """The packet with its part of the header cut out; ``None`` if nothing is left of it."""
    ip, tcp = eth.data, eth.data.data
    offset = (tcp.seq - connection.first) & 0xFFFFFFFF
    cut = min(len(tcp.data), max(0, connection.header - offset)) if offset < 0x80000000 else 0
    tcp.seq = shift(tcp.seq, connection)
    if cut:
        tcp.data = tcp.data[cut:]
        if not tcp.data and not tcp.flags & (dpkt.tcp.TH_FIN | dpkt.tcp.TH_RST | dpkt.tcp.TH_SYN):
            return None
    return rebuild(eth, ip, tcp)


def from_server(eth, connection: Connection) -> bytes | None:
    """The packet; ``None`` if it acknowledges the header only: it would be a duplicate ACK."""
    ip, tcp = eth.data, eth.data.data
    acked = (tcp.ack - connection.first) & 0xFFFFFFFF
    if 0 < acked <= connection.header and not tcp.data and tcp.flags == dpkt.tcp.TH_ACK:
        return None
    tcp.ack = shift(tcp.ack, connection)
    return rebuild(eth, ip, tcp)


def rebuild(eth, ip, tcp) -> bytes:
    ip.len = len(ip)
    ip.sum = tcp.sum = 0  # dpkt computes both when it serialises
    return bytes(eth)


def strip(source, sink, port: int) -> None:
    pipeline(dpkt.pcap.Reader(source), dpkt.pcap.Writer(sink, snaplen=262_144), port)


def pipeline(reader, writer, port: int) -> None:
    connections: dict[tuple, Connection] = {}
    for ts, buf in reader:
        eth = dpkt.ethernet.Ethernet(buf)
        ip = eth.data
        if not isinstance(ip, dpkt.ip.IP) or not isinstance(ip.data, dpkt.tcp.TCP):
            writer.writepkt(buf, ts)
            continue
        tcp = ip.data
        if tcp.dport == port:
            key = (ip.src, tcp.sport, ip.dst)
            if tcp.flags & dpkt.tcp.TH_SYN:
                connections[key] = Connection((tcp.seq + 1) & 0xFFFFFFFF)
            connection = connections.get(key)
            if connection is None or (not tcp.data and connection.header is None):
                writer.writepkt(buf, ts)
            elif connection.header is not None:
                out = from_client(eth, connection)
                if out is not None:
                    writer.writepkt(out, ts)
            else:
                connection.held.append((ts, eth))
                offset = (tcp.seq - connection.first) & 0xFFFFFFFF
                connection.stream = connection.stream[:offset] + tcp.data
                connection.header = header_length(connection.stream)
                if connection.header is not None:
                    for then, waiting in connection.held:
                        out = from_client(waiting, connection)
                        if out is not None:
                            writer.writepkt(out, then)
                    connection.held, connection.stream = [], b""
        elif tcp.sport == port:
            connection = connections.get((ip.dst, tcp.dport, ip.src))
            if connection is None or connection.header is None or tcp.flags & dpkt.tcp.TH_SYN:
                writer.writepkt(buf, ts)
            else:
                out = from_server(eth, connection)
                if out is not None:
                    writer.writepkt(out, ts)
        else:
            writer.writepkt(buf, ts)


if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as source, Path(sys.argv[2]).open("wb") as sink:
        strip(source, sink, int(sys.argv[3]))
