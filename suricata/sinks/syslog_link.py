"""The way to a syslog receiver, and how far the kernel says that messages have come.

Syslog acknowledges nothing. Over TCP the most that can be known is that the other machine's kernel
has all bytes (nothing is left to be acknowledged, SIOCOUTQ) and that the connection stands; over a
unix socket, that the receiver has read them. What it had not read when it died is told by a reset,
after which what was sent last is sent again: a bounded amount, doubles rather than losses.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from .client import Unavailable
from .settings import SYSLOG_PORTS, Syslog
from .tls import client_context

CONNECT_SECONDS: Final = 10.0
# Where a receiver closed in order it had read all that it was sent; what it had not yet written
# down is younger than this.
_YOUNG_SECONDS: Final = 60.0
# TLS 1.3 refuses a client's certificate only after the client believes itself connected.
_REFUSAL_SECONDS: Final = 0.5
_PAUSE_FIRST_SECONDS: Final = 0.001
_PAUSE_MOST_SECONDS: Final = 0.05
# Of time-outs, without any progress.
_PATIENCE: Final = 4
_PIECE_BYTES: Final = 1 << 18
# linux/sockios.h; the same number as TIOCOUTQ.
_SIOCOUTQ: Final = 0x5411


class TooLong(Exception):  # noqa: N818 (of a message, not of us)
    """A datagram that the socket cannot take."""


class Ended(Exception):  # noqa: N818 (of a connection)
    """The connection is over; `lost`: what was on its way may be lost."""

    def __init__(self, text: str, *, lost: bool) -> None:
        super().__init__(text)
        self.lost = lost


@dataclass
class _Way:
    """Messages on their way: what is to be written, and how far that is."""

    messages: Sequence[bytes]
    pieces: list[bytes]
    """All in one for a stream, or a datagram each."""
    at: int = 0
    done: int = 0


class Link:
    """One connection at a time. One thread uses it; `abort` is for another.

    Raises ValueError where a certificate cannot be used.
    """

    def __init__(self, settings: Syslog) -> None:
        self._settings = settings
        self.address = settings.address
        self._scheme = settings.address.partition(":")[0]
        self._context = client_context(settings) if self._scheme == "tls" else None
        self._stale = False
        self._sock: socket.socket | None = None
        self._aborted = threading.Event()
        # What was acknowledged last, as it was sent, with the time; in case it was lost.
        self._kept: deque[tuple[float, Sequence[bytes]]] = deque()
        self._kept_bytes = 0
        self._repeat = False
        self._way: _Way | None = None
        self.connections = 0
        self.resent = 0

    @property
    def is_stream(self) -> bool:
        """Whether messages need a framing; known when connected."""
        return self._sock is not None and self._sock.type == socket.SOCK_STREAM

    # A batch.

    def send(self, messages: Sequence[bytes]) -> None:
        """Send, and return when the other side's kernel has all. Raises Unavailable, TooLong."""
        deadline = time.monotonic() + self._settings.timeout_seconds
        try:
            self._ready()
            if self._repeat:
                earlier = [one for _, sent in self._kept for one in sent]
                self._push(earlier, deadline)
                self._repeat = False
                self.resent += len(earlier)
            self._push(messages, deadline)
            self._drain(deadline)
            self._look()
        except (OSError, Ended) as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                # Our own patience, not the kernel's: it is slow, and what is on its way goes on
                # where it is when the batch comes again.
                raise self._trouble(error) from None
            raise self._broken(error) from None
        self._way = None
        self._keep(messages)

    def _ready(self) -> None:
        if self._aborted.is_set():
            raise Ended("stopped", lost=False)
        if self._stale:
            # Certificates are read anew, and the old connection ends in order.
            self._stale = False
            self._leave()
            if self._context is not None:
                try:
                    self._context = client_context(self._settings)
                except ValueError as error:
                    raise Unavailable(f"syslog {self.address}: {error}") from None
        if self._sock is not None:
            try:
                self._look()
            except (OSError, Ended) as error:
                self._note_end(error)
        if self._sock is None:
            self._sock = self._connect()
            self.connections += 1

    def _push(self, messages: Sequence[bytes], deadline: float) -> None:
        """Write `messages`; where they are on their way already, what is left of them."""
        if self._way is not None and self._way.messages != messages:
            if self.is_stream:
                # Of another batch a part is sent; without its end nothing behind it is read.
                self._write(self._way, deadline)
            self._way = None
        if self._way is None:
            pieces = self._framed(messages)
            self._way = _Way(messages, [b"".join(pieces)] if self.is_stream else pieces)
        self._write(self._way, deadline)

    def _write(self, way: _Way, deadline: float) -> None:
        assert self._sock is not None  # noqa: S101
        while way.at < len(way.pieces):
            piece = memoryview(way.pieces[way.at])
            while way.done < len(piece):
                self._sock.settimeout(max(0.001, deadline - time.monotonic()))
                try:
                    way.done += self._sock.send(piece[way.done : way.done + _PIECE_BYTES])
                except OSError as error:
                    if error.errno == errno.EMSGSIZE:
                        self._way = None
                        raise TooLong(way.at) from None
                    raise
            way.at, way.done = way.at + 1, 0

    def _framed(self, messages: Sequence[bytes]) -> list[bytes]:
        if not self.is_stream:
            return list(messages)
        if self._scheme == "unix":
            return [b"%s\n" % one for one in messages]
        # RFC 6587, 3.4.1, and RFC 5425, 4.3: octet counting.
        return [b"%d %s" % (len(one), one) for one in messages]

    def _drain(self, deadline: float) -> None:
        """Wait until nothing is left on its way. Raises OSError, Ended."""
        assert self._sock is not None  # noqa: S101
        if self._scheme == "udp":
            return
        poll = select.poll()
        # Of progress nothing tells; of the end this does.
        poll.register(self._sock, select.POLLRDHUP)
        pause = _PAUSE_FIRST_SECONDS
        while self._unsent() > 0:
            if time.monotonic() > deadline:
                raise TimeoutError
            if poll.poll(pause * 1000) and self._unsent() > 0:
                raise Ended("closed amid a batch", lost=True)
            pause = min(pause * 2, _PAUSE_MOST_SECONDS)

    def _unsent(self) -> int:
        assert self._sock is not None  # noqa: S101
        answer = fcntl.ioctl(self._sock, _SIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])

    def _look(self) -> None:
        """Raise OSError or Ended if the connection does not stand any more."""
        assert self._sock is not None  # noqa: S101
        self._sock.setblocking(False)
        try:
            # A receiver says nothing; what it says all the same is read away, some of it.
            for _ in range(16):
                if not self._sock.recv(4096) and self.is_stream:
                    raise Ended("closed by the other side", lost=False)
        except (BlockingIOError, ssl.SSLWantReadError):
            return

    # What is kept in case it is lost.

    def _keep(self, messages: Sequence[bytes]) -> None:
        if self._scheme == "udp":
            return
        self._kept.append((time.monotonic(), messages))
        self._kept_bytes += sum(map(len, messages))
        while self._kept_bytes > self._settings.resend_kb << 10:
            _, old = self._kept.popleft()
            self._kept_bytes -= sum(map(len, old))

    def _note_end(self, error: OSError | Ended) -> None:
        """The connection is over: what of the last is to be sent again."""
        self._repeat = True
        if isinstance(error, Ended) and not error.lost:
            oldest = time.monotonic() - _YOUNG_SECONDS
            while self._kept and self._kept[0][0] < oldest:
                _, old = self._kept.popleft()
                self._kept_bytes -= sum(map(len, old))
        self._leave()

    # The connection.

    def _connect(self) -> socket.socket:
        seconds = min(CONNECT_SECONDS, self._settings.timeout_seconds)
        if self._scheme == "unix":
            return self._connect_unix(self.address.removeprefix("unix:"), seconds)
        parts = urlsplit(self.address)
        to = (parts.hostname or "", parts.port or SYSLOG_PORTS[self._scheme])
        if self._scheme == "udp":
            [(family, kind, proto, _, at), *_] = socket.getaddrinfo(*to, type=socket.SOCK_DGRAM)
            sock = socket.socket(family, kind, proto)
            sock.connect(at)
            return sock
        sock = socket.create_connection(to, timeout=seconds)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            # One that vanished, or whose buffers stay full, is given up by the kernel.
            patience = int(_PATIENCE * 1000 * self._settings.timeout_seconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
            if self._context is None:
                return sock
            return self._context.wrap_socket(sock, server_hostname=to[0])
        except BaseException:
            sock.close()
            raise

    def _connect_unix(self, path: str, seconds: float) -> socket.socket:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = socket.socket(socket.AF_UNIX, kind)
            sock.settimeout(seconds)
            try:
                sock.connect(path)
            except OSError as error:
                sock.close()
                if error.errno != errno.EPROTOTYPE:
                    raise
            else:
                return sock
        raise OSError(errno.EPROTOTYPE, "it is no socket of datagrams or of a stream")

    def check(self) -> str:
        """Connect anew, and say what was found. Raises Unavailable."""
        self._leave()
        try:
            self._ready()
            found = self._sock
            assert found is not None  # noqa: S101
            if isinstance(found, ssl.SSLSocket):
                found.setblocking(False)
                select.select([found], [], [], _REFUSAL_SECONDS)
            self._look()
            if isinstance(found, ssl.SSLSocket):
                return f"{self.address}: connected, {found.version()}"
        except (OSError, Ended) as error:
            raise self._broken(error) from None
        if self._scheme == "udp":
            return f"{self.address}: a datagram socket; whether anybody listens cannot be known"
        return f"{self.address}: connected"

    def _broken(self, error: OSError | Ended) -> Unavailable:
        self._note_end(error)
        return self._trouble(error)

    def _trouble(self, error: OSError | Ended) -> Unavailable:
        if self._aborted.is_set():
            words = "stopped amid a batch; it comes again"
        elif isinstance(error, TimeoutError) and error.errno is None:
            seconds = self._settings.timeout_seconds
            words = f"not all taken within {seconds:g} s; see whether it is overloaded"
            if self._sock is None:
                words = "it does not answer; see whether it runs, and the address"
        elif isinstance(error, socket.gaierror):
            words = "its name is not known; see the address, or the resolver"
        elif isinstance(error, ssl.SSLError):
            words = (
                f"no TLS ({error.reason or error.strerror}); see ca, cert and key, and whether the"
                " address is the certificate's"
            )
        elif isinstance(error, Ended):
            words = f"{error}; see the receiver; tried again"
        else:
            words = f"{error.strerror}; see whether it runs, and the address"
        return Unavailable(f"syslog {self.address}: {words}")

    def abort(self) -> None:
        """See Client."""
        self._aborted.set()
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not the method of SSLSocket, which takes TLS away from under the other thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def reopen(self) -> None:
        """Connect anew with the next batch."""
        self._stale = True

    def _leave(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._way = None

    def close(self) -> None:
        """Let go; TLS is not said farewell to, which could wait."""
        self._leave()
        self._kept.clear()
        self._kept_bytes = 0
