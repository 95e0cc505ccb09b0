"""What all connections of one process share: the loop, the limits, the counters, the listeners."""

from __future__ import annotations

import errno
import resource
import select
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from diversion.proxy.addresses import Ends, whose
from diversion.proxy.counters import Counters, Lines
from diversion.proxy.link import Link
from diversion.proxy.loop import Deadline, Loop
from diversion.proxy.pump import MOST_PIPES, NO_LINGER

ACCEPTS = 64
"""Connections accepted before others have their turn."""

FILES_PAUSE = 0.5
"""Seconds without accepting when there are no descriptors left."""

Accepted = Callable[[socket.socket, Ends], None]


@dataclass(frozen=True)
class Limits:
    """Bounds; seconds are of silence, except for the header, which has so long in all."""

    connections: int = 20_000
    per_peer: int = 2_000
    unheaded: int = 1_000
    header_seconds: float = 5.0
    header_bytes: int = 4_096
    connect_seconds: float = 10.0
    idle_seconds: float = 3_600.0
    keepalive_seconds: int = 60
    drain_seconds: float = 30.0


class Hub:
    """Owns links and listeners; what a link is brought to is for the service that accepts it."""

    def __init__(self, loop: Loop, limits: Limits, lines_fd: int) -> None:
        self.loop = loop
        self.limits = limits
        self.counters = Counters()
        self.lines = Lines(lines_fd, self.counters)
        self.draining = False
        self._links: set[Link] = set()
        self._peers: dict[str | bytes, int] = {}
        self._sources: dict[str | bytes, int] = {}
        self._owing = 0
        self._listeners: dict[int, socket.socket] = {}
        self._flushing = False
        self._drained = Deadline(self._drain_due)
        loop.failed = self._failed

    # --- Listeners ---

    def serve(self, listener: socket.socket, accepted: Accepted) -> None:
        """Call `accepted(socket, address)` for each connection; the socket is non-blocking."""
        self.keep_alive(listener)  # accepted sockets inherit it
        fd = listener.fileno()
        self._listeners[fd] = listener

        def accept(_: int) -> None:
            self._accept(listener, accepted)

        self.loop.register(fd, accept, select.EPOLLIN)

    def unserve(self, listener: socket.socket) -> None:
        """Close a listener; its connections stay."""
        fd = listener.fileno()
        if self._listeners.pop(fd, None) is not None:
            self.loop.forget(fd)
            listener.close()

    def _accept(self, listener: socket.socket, accepted: Accepted) -> None:
        for _ in range(ACCEPTS):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause(listener, accepted)
                    return
                if error.errno == errno.EBADF:
                    return
                continue  # the peer gave up before it was accepted
            self.counters.accepted += 1
            if len(self._links) >= self.limits.connections:
                self.counters.ends["limit_total"] += 1
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                sock.close()
                continue
            sock.setblocking(False)
            try:
                accepted(sock, (address[0].partition("%")[0], address[1]))
            except OSError as error:
                # It was reset before we could look, or there is no descriptor for the other side.
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                sock.close()
                files = error.errno in (errno.EMFILE, errno.ENFILE)
                self.counters.ends["limit_files" if files else "reset_by_peer"] += 1

    def _pause(self, listener: socket.socket, accepted: Accepted) -> None:
        """Without a descriptor nothing can be accepted, and epoll would not stop saying so."""
        self.counters.ends["limit_files"] += 1
        self.loop.unregister(listener.fileno())

        def again(_: float) -> None:
            if self._listeners.get(listener.fileno()) is listener:
                self.serve(listener, accepted)

        self.loop.at(self.loop.now + FILES_PAUSE, Deadline(again))

    def keep_alive(self, sock: socket.socket) -> None:
        """Options that every socket here has: it says at once what it has, and notices the dead."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # An urgent byte is a byte of the stream: otherwise it would be left out.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, self.limits.keepalive_seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, self.limits.keepalive_seconds)

    def socket_to(self, to: Ends) -> socket.socket:
        """A socket with which `Link.bring` can connect to `to`."""
        family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.keep_alive(made)
        return made

    # --- What links report ---

    def opened(self, link: Link) -> None:
        """A link begins."""
        self._links.add(link)
        self.counters.open += 1

    def closed(self, link: Link) -> None:
        """A link is over."""
        self._links.discard(link)
        self.counters.open -= 1
        if not self._flushing:
            self._flushing = True
            self.loop.soon(self._flush_lines)
        if self.draining and not self._links:
            self.loop.stop()

    def count_peer(self, address: str) -> bool:
        """Count one more connection of a peer, unless it has as many as it may."""
        return _count(self._peers, address, self.limits.per_peer)

    def uncount_peer(self, address: str) -> None:
        """One less."""
        _uncount(self._peers, address)

    def count_source(self, address: str) -> bool:
        """Count one more connection from an address that owes its header, unless it may not.

        Of all together at most every second one may owe it: however many addresses somebody has, he
        does not take the place of those that are brought onward.
        """
        if 2 * self._owing >= self.limits.connections:
            return False
        if not _count(self._sources, address, self.limits.unheaded):
            return False
        self._owing += 1
        return True

    def uncount_source(self, address: str) -> None:
        """One less."""
        self._owing -= 1
        _uncount(self._sources, address)

    def say(self, level: str, event: str, **more: object) -> None:
        """Write a line about the service."""
        self.lines.say(level, event, **more)
        if not self._flushing:
            self._flushing = True
            self.loop.soon(self._flush_lines)

    def _flush_lines(self) -> None:
        if self.lines.flush():
            self._flushing = False
        else:
            # Nobody takes them now; a tick later perhaps.
            self.loop.at(self.loop.now, Deadline(self._flush_again))

    def _flush_again(self, _: float) -> None:
        self._flush_lines()

    def _failed(self, error: Exception) -> None:
        """A mistake of ours, which one connection has found: the others go on."""
        self.counters.mistakes += 1
        where = traceback.format_exception(type(error), error, error.__traceback__)
        self.say("error", "a mistake of this program", why="".join(where)[-2000:])

    # --- The end ---

    def drain(self) -> None:
        """Accept nothing more, and stop the loop when the last connection is over or time is up.

        Called once more, stop at once.
        """
        for listener in list(self._listeners.values()):
            self.unserve(listener)
        if self.draining or not self._links:
            self.drop_all()
            return
        self.draining = True
        self.loop.at(self.loop.now + self.limits.drain_seconds, self._drained)

    def _drain_due(self, _: float) -> None:
        self.drop_all()

    def drop_all(self) -> None:
        """Reset what is left, and stop."""
        for link in list(self._links):
            link.end("drained", reset=True)
        self.loop.stop()


def _count(counts: dict[str | bytes, int], address: str, most: int) -> bool:
    host = whose(address)
    count = counts.get(host, 0)
    if count >= most:
        return False
    counts[host] = count + 1
    return True


def _uncount(counts: dict[str | bytes, int], address: str) -> None:
    host = whose(address)
    count = counts[host] - 1
    if count:
        counts[host] = count
    else:
        del counts[host]


def raise_file_limit(connections: int) -> None:
    """Take the descriptors that so many connections need, or as many as this process may have."""
    # Two sockets each, pipes for those that move much, and some for the house.
    wanted = 2 * connections + 2 * MOST_PIPES + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    except (OSError, ValueError):
        # Only root may go beyond the hard limit.
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
