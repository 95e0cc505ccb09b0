"""The canary's frames, read by scapy: a whole connection, every checksum right."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from pipeline.doctor.frames import End, checksum, conversation

ENDS = {
    "IPv4": ("172.16.23.1", "172.16.23.2"),
    "IPv6": ("fd00:23::1", "fd00:23::2"),
}


@pytest.mark.parametrize("version", ENDS)
@pytest.mark.parametrize("isn", [1000, 2**32 - 3])
def test_conversation(version: str, isn: int) -> None:
    one, two = ENDS[version]
    client, server = End(b"\x02pt\0\0\0", one, 61000, isn), End(b"\x02pt\0\0\1", two, 9000, 7)
    flags, streams = [], {True: b"", False: b""}
    acked = {True: isn, False: 7}
    for from_client, frame in conversation(client, server, b"odd", b"even"):
        packet = Ether(frame)
        layer = packet[IP if version == "IPv4" else IPv6]
        tcp = packet[TCP]
        assert (layer.src, layer.dst) == ((one, two) if from_client else (two, one))
        assert packet.src == ("02:70:74:00:00:00" if from_client else "02:70:74:00:00:01")
        # Scapy makes checksums anew where they are taken out.
        again = Ether(frame)
        for part in (IP, TCP):
            if part in again:
                del again[part].chksum
        assert bytes(again) == frame
        flags.append(str(tcp.flags))
        assert tcp.seq == acked[from_client]
        streams[from_client] += bytes(tcp.payload)
        grown = len(tcp.payload) + ("S" in tcp.flags) + ("F" in tcp.flags)
        acked[from_client] = (acked[from_client] + grown) % 2**32
        if "A" in tcp.flags:
            assert tcp.ack == acked[not from_client]
    assert flags == ["S", "SA", "A", "PA", "A", "PA", "A", "FA", "FA", "A"]
    assert streams == {True: b"odd", False: b"even"}


def test_checksum() -> None:
    # RFC 1071, section 3.
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
    assert checksum(b"\xff") == 0x00FF
