"""Sockets that accept, in whatever network namespace, and where a peer really wanted to go.

accept    how peers come to the socket             the attacked destination is
direct    they connect to its own address          its local address
redirect  DNAT or REDIRECT diverts them to it      what conntrack remembers (SO_ORIGINAL_DST)
tproxy    TPROXY gives them to it                  the connection's local address
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from diversion.proxy.addresses import Ends, show_ends

ACCEPT_WAYS = ("direct", "redirect", "tproxy")
BACKLOG = 4096

# linux/in.h, linux/in6.h, linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h, linux/sched.h;
# Python names none of them everywhere.
IP_TRANSPARENT = 19
IPV6_TRANSPARENT = 75
SO_ORIGINAL_DST = 80
IP6T_SO_ORIGINAL_DST = 80
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def namespace(path: str | None) -> Iterator[None]:
    """Be in the network namespace of a file such as /run/netns/NAME; sockets made there stay there.

    Only this thread moves. Raises OSError if the namespace is not there or may not be entered.
    """
    if path is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # A path that is a FIFO must not hold up the loop until somebody writes to it.
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def identity(path: str) -> tuple[int, int] | None:
    """What tells the namespace of a file from one that is made anew under the same name.

    While a socket in it is open its number is not given to another. None if there is no such file.
    """
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def listen(ends: Ends, *, accept: str = "direct", netns: str | None = None) -> socket.socket:
    """A listening, non-blocking TCP socket on address and port, in `netns` if given.

    Raises OSError whose text names address and namespace.
    """
    family = socket.AF_INET6 if ":" in ends[0] else socket.AF_INET
    try:
        with namespace(netns):
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if accept == "tproxy":
                make_transparent(made)
            made.bind(ends)
            made.listen(BACKLOG)
        except OSError:
            made.close()
            raise
    except OSError as error:
        where = f" in {netns}" if netns else ""
        raise OSError(error.errno, f"{show_ends(ends)}{where}: {error.strerror}") from None
    return made


def make_transparent(sock: socket.socket) -> None:
    """Let it have addresses that are not this host's; needs CAP_NET_ADMIN."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)


def destination(sock: socket.socket, accept: str) -> Ends:
    """Where the peer of an accepted connection wanted to go."""
    if accept == "redirect":
        try:
            return _original(sock)
        except OSError as error:
            # Nobody diverted it: it came to the socket's own address, or conntrack has forgotten.
            if error.errno not in (errno.ENOENT, errno.ENOPROTOOPT, errno.EOPNOTSUPP):
                raise
    name = sock.getsockname()
    # A link-local address stands there with its interface: fe80::1%eth0.
    return name[0].partition("%")[0], name[1]


def _original(sock: socket.socket) -> Ends:
    if sock.family == socket.AF_INET6:
        # struct sockaddr_in6: family, port, flow label, address, scope
        raw = sock.getsockopt(socket.IPPROTO_IPV6, IP6T_SO_ORIGINAL_DST, 28)
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack_from("!H", raw, 2)[0]
    # struct sockaddr_in: family, port, address
    raw = sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, 16)
    return socket.inet_ntoa(raw[4:8]), struct.unpack_from("!H", raw, 2)[0]
