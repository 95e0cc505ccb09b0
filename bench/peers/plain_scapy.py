"""Strip proxy headers with scapy: ``python -m bench.peers.plain_scapy IN OUT PORT``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether  # noqa: F401  (the capture's link type)
from scapy.packet import Raw
from scapy.utils import PcapReader, PcapWriter

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


def from_client(packet, connection: Connection):
    """The packet with its part of the header cut out; ``None`` if nothing is left of it."""
    tcp = packet[TCP]
    offset = (tcp.seq - connection.first) & 0xFFFFFFFF
    data = bytes(tcp.payload)
    cut = min(len(data), max(0, connection.header - offset)) if offset < 0x80000000 else 0
    tcp.seq = shift(tcp.seq, connection)
    if cut:
        tcp.remove_payload()
        if data[cut:]:
            tcp.add_payload(Raw(data[cut:]))
        elif not tcp.flags & "FRS":
            return None
    return rebuild(packet)


def from_server(packet, connection: Connection):
    """The packet; ``None`` if it acknowledges the header only: it would be a duplicate ACK."""
    tcp = packet[TCP]
    acked = (tcp.ack - connection.first) & 0xFFFFFFFF
    if 0 < acked <= connection.header and not tcp.payload and tcp.flags == "A":
        return None
    tcp.ack = shift(tcp.ack, connection)
    return rebuild(packet)


def rebuild(packet):
    del packet[IP].len, packet[IP].chksum, packet[TCP].chksum  # scapy computes them anew
    packet.wirelen = None  # else it writes the length before the cut
    return packet


def strip(source: str, sink: str, port: int) -> None:
    with PcapReader(source) as reader, PcapWriter(sink, linktype=1) as writer:
        pipeline(reader, writer, port)


def pipeline(reader, writer, port: int) -> None:
    connections: dict[tuple, Connection] = {}
    for packet in reader:
        if IP not in packet or TCP not in packet:
            writer.write(packet)
            continue
        ip, tcp = packet[IP], packet[TCP]
        if tcp.dport == port:
            key = (ip.src, tcp.sport, ip.dst)
            if "S" in tcp.flags:
                connections[key] = Connection((tcp.seq + 1) & 0xFFFFFFFF)
            connection = connections.get(key)
            if connection is None or (not tcp.payload and connection.header is None):
                writer.write(packet)
            elif connection.header is not None:
                out = from_client(packet, connection)
                if out is not None:
                    writer.write(out)
            else:
                connection.held.append(packet)
                offset = (tcp.seq - connection.first) & 0xFFFFFFFF
                connection.stream = connection.stream[:offset] + bytes(tcp.payload)
                connection.header = header_length(connection.stream)
                if connection.header is not None:
                    for waiting in connection.held:
                        out = from_client(waiting, connection)
                        if out is not None:
                            writer.write(out)
                    connection.held, connection.stream = [], b""
        elif tcp.sport == port:
            connection = connections.get((ip.dst, tcp.dport, ip.src))
            if connection is None or connection.header is None or "S" in tcp.flags:
                writer.write(packet)
            else:
                out = from_server(packet, connection)
                if out is not None:
                    writer.write(out)
        else:
            writer.write(packet)


if __name__ == "__main__":
    strip(sys.argv[1], sys.argv[2], int(sys.argv[3]))
