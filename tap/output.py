"""What the datapath writes to: the tap, or a packet socket on an interface already there."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from tap import TapError
from tap.device import Device, open_device
from tap.echo import way_back
from tap.links import Link, find, snapshot
from tap.settings import TapSettings

# linux/socket.h, linux/if_packet.h
SOL_PACKET = 263
PACKET_VNET_HDR = 15
SO_SNDBUFFORCE = 32

# Room for some dozen offloaded frames on their way; each is charged about twice its 64 KiB.
SEND_BUFFER = 4 << 20

DEFAULT_MTU = 1500


@dataclass
class Output:
    """Where the packets go: a descriptor for each worker; a virtio-net header precedes a frame.

    `adopted` is true of a tap that an earlier run left: what listens there goes on. After one that
    was made anew, a Suricata that runs has to open it again.
    """

    name: str
    kind: Literal["tap", "packet"]
    fds: list[int]
    adopted: bool = False
    _device: Device | None = field(default=None, repr=False)
    _sockets: list[socket.socket] = field(default_factory=list, repr=False)
    _index: int = field(default=0, repr=False)
    _capture: str = field(default="", repr=False)

    def check(self) -> list[str]:
        """What no longer holds of the quarantine, or of the way apart from the capture."""
        try:
            return self._check()
        except NetlinkError as error:
            return [f"{self.name} cannot be looked at just now: {os.strerror(error.code)}"]

    def _check(self) -> list[str]:
        if self._device is not None:
            return self._device.quarantine.drift()
        with IPRoute() as netlink:
            links = snapshot(netlink)
        link = links.get(self._index)
        if link is None:
            return [f"{self.name} was deleted; packets go nowhere until it is made again"]
        return _complaints(links, link, self._capture)

    def close(self) -> None:
        """Close the descriptors; a persistent tap stays. May be called twice."""
        for opened in self._sockets:
            opened.close()
        self._sockets.clear()
        if self._device is not None:
            self._device.close()
        self.fds.clear()

    def remove(self) -> None:
        """Close, and leave nothing of a tap that is not persistent."""
        # The kernel deletes it with its last descriptor; a copy of one may be in other hands.
        self.close()
        if self._device is not None:
            with IPRoute() as netlink:
                link = snapshot(netlink).get(self._device.index)
                if link is not None and link.tun is not None and not link.tun.persistent:
                    netlink.link("del", index=link.index)


def open_output(
    settings: TapSettings,
    capture_interface: str,
    workers: int,
    *,
    before: Output | None = None,
) -> Output:
    """Open what `settings` name for so many workers; `TapError` says why that cannot be.

    Called again when a tap was deleted from outside: it is then made anew. `before` is then the
    output that was lost, not yet closed; whoever gave up root meanwhile needs its descriptors.
    """
    if settings.device == capture_interface:
        raise TapError(
            f"{settings.device} is the interface that is captured; packets written to it would be "
            "captured again; name another interface under tap"
        )
    try:
        with IPRoute() as netlink:
            links = snapshot(netlink)
    except NetlinkError as error:
        raise TapError(f"the interfaces cannot be listed: {os.strerror(error.code)}") from error
    if settings.interface is not None:
        return _packet_sockets(links, settings.interface, capture_interface, workers)
    capture = find(links, capture_interface)
    mtu = capture.mtu if capture else DEFAULT_MTU
    device = open_device(settings, mtu, workers, before.fds if before else ())
    return Output(device.name, "tap", list(device.fds), device.adopted, device)


def _packet_sockets(
    links: Mapping[int, Link], interface: str, capture_interface: str, workers: int
) -> Output:
    link = find(links, interface)
    if link is None:
        raise TapError(
            f"there is no interface {interface} to inject into; make it first, or give tap.name "
            "instead, and a tap is made"
        )
    capture = find(links, capture_interface)
    if capture is not None and (way := way_back(links, link, capture)):
        raise TapError(
            f"tap.interface {interface} cannot be used: {way}, so that our own packets would be "
            "captured again; name one that leads elsewhere"
        )
    sockets = [_packet_socket(interface) for _ in range(workers)]
    fds = [opened.fileno() for opened in sockets]
    return Output(
        interface,
        "packet",
        fds,
        _sockets=sockets,
        _index=link.index,
        _capture=capture_interface,
    )


def _packet_socket(interface: str) -> socket.socket:
    """A socket that only sends: protocol 0 receives nothing.

    Without PACKET_QDISC_BYPASS: that way passes by the packet sockets on the interface itself, and
    so by a Suricata (or tcpdump) that listens on a dummy device, and it gives no backpressure.
    """
    try:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    except PermissionError as error:
        raise TapError(f"injecting into {interface} needs CAP_NET_RAW") from error
    try:
        opened.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        try:
            opened.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
        except PermissionError:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        opened.bind((interface, 0))
    except OSError as error:
        opened.close()
        raise TapError(f"{interface} cannot be injected into: {error.strerror}") from error
    return opened


def _complaints(links: Mapping[int, Link], link: Link, capture_interface: str) -> list[str]:
    found = []
    if not link.up:
        found.append(f"{link.name} is down: packets are lost; ip link set {link.name} up")
    capture = find(links, capture_interface)
    if capture is not None:
        if way := way_back(links, link, capture):
            found.append(f"{link.name}: {way}; our own packets are captured again")
        if link.mtu < capture.mtu:
            found.append(
                f"{link.name} has an MTU of {link.mtu}, {capture.name} of {capture.mtu}: larger "
                f"frames are lost; ip link set {link.name} mtu {capture.mtu}"
            )
    peer = links.get(link.lower) if link.kind == "veth" and link.lower is not None else None
    if peer is not None and peer.master is None and (peer.addresses or peer.ipv6 or peer.arp):
        found.append(
            f"{peer.name}, where the packets arrive, belongs to this host, which may answer them; "
            f"ip link set {peer.name} arp off addrgenmode none, no address, and drop its ingress, "
            "or let peeltap make a tap (tap.name)"
        )
    return found
