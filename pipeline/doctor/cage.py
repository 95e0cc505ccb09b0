"""Two ports of a bridge whose other ends are in a network namespace that cannot stay.

    br1 ── pt-canary0 ═══ one        packet sockets on `one` and `two`; no address, no ARP,
      └─── pt-canary1 ═══ two        no IPv6, nothing that would speak by itself

What makes it harmless to the bridge and to those who share it:

- The namespace has no name and no process: it is held by two sockets and goes with them, and the
  ports go with it, in whatever way this process ends.
- The ends have hardware addresses of their own, entered into the bridge's table by hand: their
  frames go from port to port and are flooded to nobody, and nothing is learned from them.
- The ports' own addresses begin with fe: a bridge without an address of its own takes the lowest of
  its ports', and must not take one of these.
- A bridge with spanning tree would announce a change of topology: it is refused.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from tap.links import ADDR_GEN_MODE_NONE, find, snapshot

PORTS: Final = ("pt-canary0", "pt-canary1")

# linux/sched.h
CLONE_NEWNET: Final = 0x40000000

# linux/neighbour.h: an entry of the bridge's own table, which does not age.
NTF_MASTER: Final = 0x04
NUD_NOARP: Final = 0x40

ETH_P_ALL: Final = 3


class CageError(Exception):
    """The two ports cannot be had; one sentence."""


@dataclass(frozen=True)
class Ending:
    """One end: its hardware address, and a packet socket on it."""

    mac: bytes
    socket: socket.socket

    def send(self, frame: bytes) -> None:
        """Send one frame."""
        self.socket.send(frame)

    def expect(self, frame: bytes, seconds: float) -> bool:
        """Whether the frame arrives in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self.socket], [], [], left)
            if ready and self.socket.recv(65_536) == frame:
                return True
        return False


@contextmanager
def cage(bridge: str) -> Iterator[tuple[Ending, Ending]]:
    """Two ends on two new ports of the bridge; raises CageError."""
    with ExitStack() as stack:
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, outside)
        try:
            inside = _new_namespace(outside)
        except OSError as error:
            raise CageError(
                f"no network namespace can be made here ({error.strerror}): run as root"
            ) from error
        stack.callback(os.close, inside)
        macs = [b"\x02pt" + os.urandom(2) + bytes([at]) for at in range(len(PORTS))]
        try:
            with IPRoute() as netlink:
                stack.callback(_remove)
                _make_ports(netlink, bridge, inside, macs)
            with _within(inside, outside):
                _open_ends(macs)
                sockets = [stack.enter_context(_packet_socket(name)) for name in ("one", "two")]
        except NetlinkError as error:
            raise CageError(
                f"no ports can be added to {bridge}: {os.strerror(error.code)}"
            ) from error
        one, two = (Ending(mac, made) for mac, made in zip(macs, sockets, strict=True))
        yield one, two


def _new_namespace(outside: int) -> int:
    """A descriptor of a new network namespace, in which nobody is."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        # Where it cannot be written to, the ends are told one by one not to make addresses.
        with suppress(OSError):
            Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        _enter(outside)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def _within(inside: int, outside: int) -> Iterator[None]:
    """This thread, and no other, inside for a while."""
    _enter(inside)
    try:
        yield
    finally:
        _enter(outside)


def _make_ports(netlink: IPRoute, bridge: str, inside: int, macs: list[bytes]) -> None:
    links = snapshot(netlink)
    found = find(links, bridge)
    if found is None or found.kind != "bridge":
        raise CageError(
            f"{bridge} is no bridge of this machine: the canary crosses a bridge; where another "
            "interface is captured, make a connection through the proxies instead"
        )
    for name in PORTS:
        if find(links, name) is not None:
            raise CageError(f"there is a {name} already: another canary flies; try again")
    if _spanning_tree(netlink, found.index):
        raise CageError(
            f"{bridge} runs spanning tree: new ports would announce a change of topology; make a "
            "connection through the proxies instead"
        )
    for at, (name, end, mac) in enumerate(zip(PORTS, ("one", "two"), macs, strict=True)):
        port_mac = b"\xfe\xffpt" + os.urandom(1) + bytes([at])
        netlink.link(
            "add",
            ifname=name,
            kind="veth",
            mtu=found.mtu,
            address=_colons(port_mac),
            peer={
                "ifname": end,
                "mtu": found.mtu,
                "address": _colons(mac),
                "net_ns_fd": inside,
            },
        )
        [index] = netlink.link_lookup(ifname=name)
        netlink.link("set", index=index, master=found.index, **_no_addresses())
        netlink.link("set", index=index, state="up")
        netlink.fdb("add", ifindex=index, lladdr=_colons(mac), flags=NTF_MASTER, state=NUD_NOARP)


def _open_ends(macs: list[bytes]) -> None:
    with IPRoute() as netlink:
        for name in ("one", "two"):
            [index] = netlink.link_lookup(ifname=name)
            netlink.link("set", index=index, arp=False, **_no_addresses())
            netlink.link("set", index=index, state="up")


def _no_addresses() -> dict[str, Any]:
    if not Path("/proc/net/if_inet6").exists():
        return {}
    mode = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", ADDR_GEN_MODE_NONE)]}
    return {"IFLA_AF_SPEC": {"attrs": [("AF_INET6", mode)]}}


def _packet_socket(interface: str) -> socket.socket:
    made = socket.socket(
        socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(ETH_P_ALL)
    )
    made.bind((interface, ETH_P_ALL))
    return made


def _spanning_tree(netlink: IPRoute, index: int) -> bool:
    [message] = netlink.get_links(index)
    info = message.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA") if info else None
    return bool(data and data.get_attr("IFLA_BR_STP_STATE"))


def _remove() -> None:
    """At once; the kernel would do it as well, a moment after the last socket is closed."""
    with IPRoute() as netlink:
        for name in PORTS:
            for index in netlink.link_lookup(ifname=name):
                with suppress(NetlinkError):
                    netlink.link("del", index=index)


def _colons(mac: bytes) -> str:
    return mac.hex(":")
