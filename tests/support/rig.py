"""A bridge, somebody who sends frames across it, a tap, and `Live` between them.

    with Rig() as rig:
        live = rig.live(configure())
        rig.send(frames)
        rig.settle(live, packets=len(frames))
        assert rig.read() == [...]

All frames go in at one port, whoever they say they are from, so their order is known; a promiscuous
bridge sees them all. Nothing else is on the wire: IPv6 and ARP are off.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, NamedTuple, Self

from peeltap_core import Live

from fixtures.netns import Lab, Namespace

# linux/if_tun.h, linux/if_ether.h, linux/if_packet.h, linux/virtio_net.h
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
SOL_PACKET = 263
PACKET_VNET_HDR = 15
VNET = struct.Struct("=BBHHHH")
NEEDS_CSUM, GSO_TCPV4, GSO_TCPV6 = 1, 1, 4

BRIDGE, TAP = "br1", "vtap0"


class Vnet(NamedTuple):
    """What a virtio-net header says."""

    flags: int
    gso_type: int
    hdr_len: int
    gso_size: int
    csum_start: int
    csum_offset: int


def open_tap(name: str = TAP, flags: int = 0) -> int:
    """A new tap, or one more queue of one, as Peeltap writes to it."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    flags |= IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return fd


def packet_socket(interface: str, *, vnet: bool = False, receive: bool = False) -> socket.socket:
    """A raw packet socket on an interface."""
    plug = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    if vnet:
        plug.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    if receive:
        # Past the system's limit, as root may (SO_RCVBUFFORCE).
        plug.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
    plug.bind((interface, ETH_P_ALL if receive else 0))
    return plug


class Rig:
    """The wire of one test."""

    def __init__(self, *, offloads: bool = False, tap: bool = True) -> None:
        self.offloads = offloads
        self.has_tap = tap
        self._stack = ExitStack()
        self._fds: list[int] = []
        self._lives: list[Live] = []

    def __enter__(self) -> Self:
        lab = self._stack.enter_context(Lab())
        self.lab = lab
        self.host, self.guest = lab.namespace("host"), lab.namespace("guest")
        for namespace in (self.host, self.guest):
            for scope in ("all", "default"):
                namespace.sysctl(f"ipv6.conf.{scope}.disable_ipv6", 1)
        self.connect()
        if self.has_tap:
            self.tap_fd = self.make_tap()
            self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lives.clear()
        for fd in self._fds:
            os.close(fd)
        self._stack.close()

    def connect(self) -> None:
        """The bridge, and the guest as one of its ports."""
        bridge = self.lab.bridge(self.host, BRIDGE, snooping=False)
        self.lab.attach(self.guest, "eth0", bridge, offloads=self.offloads)
        self.silence(self.guest, "eth0")
        self.silence(self.host, BRIDGE)
        self.sender = self.guest.call(packet_socket, "eth0")
        self._stack.callback(self.sender.close)

    def silence(self, namespace: Namespace, interface: str) -> None:
        """No ARP: nobody has addresses here."""
        with namespace.netlink() as netlink:
            [index] = netlink.link_lookup(ifname=interface)
            netlink.link("set", index=index, arp=False)

    def set_up(self, interface: str, up: bool) -> None:
        with self.host.netlink() as netlink:
            [index] = netlink.link_lookup(ifname=interface)
            netlink.link("set", index=index, state="up" if up else "down")

    def delete(self, interface: str) -> None:
        with self.host.netlink() as netlink:
            [index] = netlink.link_lookup(ifname=interface)
            netlink.link("del", index=index)

    def make_tap(self, flags: int = 0) -> int:
        fd = self.host.call(open_tap, TAP, flags)
        self._fds.append(fd)
        self.silence(self.host, TAP)
        self.set_up(TAP, True)
        return fd

    def listen(self, interface: str = TAP, namespace: Namespace | None = None) -> None:
        """From now on `read` gives what comes in there."""
        self.listener = (namespace or self.host).call(self._listen, interface)
        self._stack.callback(self.listener.close)

    def renew(self) -> None:
        """Ends the workers so far, and listens at the tap for what comes from now on."""
        self._lives.clear()
        self.listener.close()
        self.listen()

    @staticmethod
    def _listen(interface: str) -> socket.socket:
        listener = packet_socket(interface, vnet=True, receive=True)
        listener.setblocking(False)
        return listener

    def live(self, config: bytes, **settings: Any) -> Live:
        """A worker from the bridge to the tap."""
        about = {"output_fd": getattr(self, "tap_fd", -1), "output": "tap", "ring_bytes": 4 << 20}
        live: Live = self.host.call(lambda: Live(config, BRIDGE, **(about | settings)))
        self._lives.append(live)
        return live

    def send(self, frames: Iterable[bytes]) -> int:
        """Puts frames on the wire; returns how many."""
        return sum(self.sender.send(frame) > 0 for frame in frames)

    def settle(self, *lives: Live, packets: int) -> list[dict[str, Any]]:
        """Steps until so many packets in all came out of the rings or were dropped there, and the
        accounts add up; the counters of each.
        """
        return self.until(
            lambda: sum(seen(live) for live in lives) >= packets,
            *lives,
            what=f"{packets} packets",
        )

    def taken(self, live: Live) -> dict[str, Any]:
        """Steps until every packet that the kernel counted came out of the ring or was dropped."""
        [stats] = self.until(lambda: is_taken(live), live, what="all packets")
        return stats

    def until(
        self, condition: Callable[[], bool], *lives: Live, what: str, seconds: float = 120
    ) -> list[dict[str, Any]]:
        """Steps until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (what, [live.stats() for live in lives])
            for live in lives:
                live.step(20)
        return [account(live) for live in lives]

    def read_all(self) -> list[tuple[Vnet, bytes]]:
        """What came in where we listen since the last time, each with its virtio-net header."""
        frames = []
        while True:
            try:
                data, address = self.listener.recvfrom(1 << 17)
            except BlockingIOError:
                return frames
            if address[2] != PACKET_OUTGOING:
                head = Vnet(*VNET.unpack(data[: VNET.size]))
                frames.append((head, data[VNET.size :]))

    def read(self) -> list[bytes]:
        return [frame for _, frame in self.read_all()]


def seen(live: Live) -> int:
    capture = live.stats()["capture"]
    return int(capture["packets"] + capture["kernel_drops"])


def is_taken(live: Live) -> bool:
    """Whether the ring holds nothing; the kernel counts a packet before it hands over its block."""
    capture = live.stats()["capture"]
    return bool(capture["packets"] + capture["kernel_drops"] == capture["kernel_received"])


def account(live: Live) -> dict[str, Any]:
    """A worker's counters, which have to add up: from wire to tap nothing is lost unnamed."""
    stats = live.stats()
    packets, capture, output = stats["packets"], stats["capture"], stats["output"]
    settled = packets["emitted"] + packets["merged"] + packets["dropped"]
    assert packets["in"] == settled + packets["held"], stats
    assert capture["packets"] == packets["in"], stats
    assert capture["damaged"] == 0, stats
    assert packets["frames_out"] == output["frames"] + sum(output["dropped"].values()), stats
    return stats
