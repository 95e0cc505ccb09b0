"""What is injected into a tap, and who sees it: frames that a host answers, and sniffers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.utils6 import in6_getnsma

HOST, GUEST = "192.0.2.1", "192.0.2.9"
HOST6, GUEST6 = "2001:db8::1", "2001:db8::9"
LISTENING = 8080

NO_OFFLOAD = bytes(10)
"""A virtio-net header that asks for nothing."""

ETH_P_ALL = 3

GROUP_REPORTS = (bytes.fromhex("333300000016"), bytes.fromhex("01005e000016"))
"""Where MLDv2 and IGMPv3 reports go (RFC 3810, RFC 3376), which interfaces and bridges repeat for
a while after they came up."""


def mac_of(interface: str) -> str:
    """The interface's hardware address; sysfs shows the namespace of its mount, a socket ours."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as asked:
        asked.bind((interface, 0))
        return ":".join(f"{byte:02x}" for byte in asked.getsockname()[4])


def link_local(mac: str) -> str:
    """The address that a host makes of a hardware address (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    words = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return socket.inet_ntop(socket.AF_INET6, b"\xfe\x80" + bytes(6) + words)


def provocations(mac: str) -> dict[str, bytes]:
    """Frames that a host with `HOST`'s addresses answers when they arrive at `mac`."""
    ether = Ether(src="02:00:00:00:00:09", dst=mac)
    ip, ip6 = IP(src=GUEST, dst=HOST), IPv6(src=GUEST6, dst=HOST6)
    own = link_local(mac)
    # RFC 4291, 2.7.1, and its Ethernet group (RFC 2464); RFC 4861, 7.1.1: hop limit 255.
    solicited = socket.inet_ntop(
        socket.AF_INET6, in6_getnsma(socket.inet_pton(socket.AF_INET6, own))
    )
    frames = {
        "a SYN to a listener": ether / ip / TCP(sport=4001, dport=LISTENING, flags="S"),
        "a SYN to a closed port": ether / ip / TCP(sport=4002, dport=9, flags="S"),
        "a datagram to a socket": ether / ip / UDP(sport=4003, dport=LISTENING) / b"hello",
        "a datagram to a closed port": ether / ip / UDP(sport=4004, dport=9) / b"hello",
        "an echo request": ether / ip / ICMP(id=7),
        "an ARP request": Ether(src=ether.src, dst="ff:ff:ff:ff:ff:ff")
        / ARP(hwsrc=ether.src, psrc=GUEST, pdst=HOST),
        "an IPv6 echo request": ether / ip6 / ICMPv6EchoRequest(id=7),
        "a neighbour solicitation": Ether(src=ether.src, dst="33:33:ff:" + mac[-8:])
        / IPv6(src="fe80::9", dst=solicited, hlim=255)
        / ICMPv6ND_NS(tgt=own)
        / ICMPv6NDOptSrcLLAddr(lladdr=ether.src),
    }
    return {name: bytes(frame) for name, frame in frames.items()}


@contextmanager
def sniffing(interface: str | None = None) -> Iterator[Sniffer]:
    """A packet socket on one interface, or on all."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if interface is not None:
            opened.bind((interface, ETH_P_ALL))
        opened.setblocking(False)
        yield Sniffer(opened)


class Sniffer:
    """Everything that passed, as (interface, sent or not, frame)."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self.seen: list[tuple[str, bool, bytes]] = []

    def drain(self) -> list[tuple[str, bool, bytes]]:
        """Everything so far."""
        while True:
            try:
                frame, address = self._socket.recvfrom(1 << 17)
            except BlockingIOError:
                return self.seen
            if not frame.startswith(GROUP_REPORTS):
                self.seen.append((address[0], address[2] == socket.PACKET_OUTGOING, frame))

    def arrived(self, interface: str) -> list[bytes]:
        """Frames that arrived on the interface."""
        return [frame for name, sent, frame in self.drain() if name == interface and not sent]

    def sent(self) -> list[bytes]:
        """Frames that the host sent, wherever."""
        return [frame for _, sent, frame in self.drain() if sent]


def superframe(mac: str, payload: int, mss: int = 1448) -> bytes:
    """An offloaded TCP frame behind its virtio-net header (VIRTIO 1.2, 5.1.6), checksum partial."""
    frame = bytes(
        Ether(src="02:00:00:00:00:09", dst=mac)
        / IP(src=GUEST, dst=HOST)
        / TCP(sport=4001, dport=LISTENING, flags="A", chksum=0)
        / (b"x" * payload)
    )
    # flags NEEDS_CSUM, gso_type TCPV4, hdr_len, gso_size, csum_start, csum_offset
    return struct.pack("=BBHHHH", 1, 1, 54, mss, 34, 16) + frame


def names_and_values(root: Path) -> dict[str, str]:
    """Every readable setting below a directory of /proc/sys."""
    found = {}
    for path in sorted(root.rglob("*")):
        try:
            found[str(path)] = path.read_text()
        except OSError:
            found[str(path)] = ""
    return found
