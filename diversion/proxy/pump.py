"""Bytes from one end to the other: bounded, half-closing, and spliced where there are many.

    end ──read──> [ waiting: at most one buffer ] ──write──> other end
    end ─splice─> [ pipe: at most PIPE bytes    ] ─splice──> other end

An `End` is a socket, or a `TlsEnd` with a socket's manners, registered edge-triggered and once:
`readable` and `writable` remember what epoll said until the kernel answers EAGAIN. Nothing is read
that has no place to go, so a slow reader slows the sender, as without a proxy.

Splice moves pages instead of copying them, but costs more for a few bytes. A `Flow` changes to it
after full reads and back after a small one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from contextlib import suppress

from diversion.proxy.tls import TlsEnd, TlsUnfinishedError, rest_of

BUFFER = 64 * 1024
SMALL_BUFFER = 4 * 1024
ROOMY = 32 * 1024 * 1024
"""Bytes waiting in all flows, beyond which buffers are small: 10,000 stuck peers then fit."""

PIPE = 256 * 1024
POOLED_PIPES = 256
MOST_PIPES = 2 * POOLED_PIPES
FULL_READS = 2
ROUNDS = 8
"""Reads of one flow before others have their turn."""

HAS_SPLICE = hasattr(os, "splice")
F_SETPIPE_SZ = 1031  # linux/fcntl.h; Python 3.9 does not name it
NO_LINGER = struct.pack("ii", 1, 0)

_buffer = bytearray(BUFFER)
_view = memoryview(_buffer)


class End:
    """One end of a connection, and what is known of its readiness."""

    __slots__ = ("fd", "hung_up", "plain", "readable", "sock", "writable")

    def __init__(self, sock: socket.socket, *, plain: bool = True) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.plain = plain
        self.readable = False
        self.writable = False
        self.hung_up = False
        """Whether a FIN or an urgent byte was announced: a short read then is not the last."""

    @property
    def holds(self) -> bool:
        """Whether TLS has taken from the socket what nobody has read yet: no event tells of it."""
        return isinstance(self.sock, TlsEnd) and self.sock.holds

    def close(self, *, reset: bool = False) -> None:
        """Close it, with RST instead of FIN if asked to."""
        if reset:
            # Where that fails, it is closed all the same.
            with suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.sock.close()


class Pipes:
    """Pipes that are used again: making one costs as much as many splices."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []
        self._used = 0

    def take(self) -> tuple[int, int]:
        """An empty pipe; OSError if there are no descriptors left, or too many pipes in use."""
        if self._used >= MOST_PIPES:
            raise OSError(errno.EMFILE, "")
        if self._free:
            self._used += 1
            return self._free.pop()
        ends = os.pipe()
        self._used += 1
        for end in ends:
            os.set_blocking(end, False)
        # Over the user's limit for pipes the default size serves.
        with suppress(OSError):
            fcntl.fcntl(ends[1], F_SETPIPE_SZ, PIPE)
        return ends

    def give(self, pipe: tuple[int, int], *, empty: bool) -> None:
        """Take back a pipe; one that still holds bytes is not used again."""
        self._used -= 1
        if empty and len(self._free) < POOLED_PIPES:
            self._free.append(pipe)
        else:
            os.close(pipe[0])
            os.close(pipe[1])


pipes = Pipes()
waiting_bytes = 0


class Flow:
    """One direction of a connection."""

    __slots__ = (
        "broken",
        "ended",
        "full",
        "moved",
        "pipe",
        "piped",
        "sink",
        "source",
        "splicing",
        "waiting",
    )

    def __init__(self, source: End, sink: End) -> None:
        self.source = source
        self.sink = sink
        self.waiting: memoryview | None = None
        self.pipe: tuple[int, int] | None = None
        self.piped = 0
        self.splicing = False
        self.full = 0
        self.ended = False
        """Whether the source has ended and the sink has been told."""
        self.broken = False
        """Whether the source has failed: what comes behind its last bytes is no end then."""
        self.moved = 0
        """Bytes given to the sink, headers not counted."""

    def put(self, header: bytes, data: bytes = b"") -> None:
        """Bytes that go to the sink before any from the source; only before the first `run`."""
        global waiting_bytes
        if header or data:
            self.waiting = memoryview(header + data)
            self.moved = -len(header)
            waiting_bytes += len(self.waiting)

    def run(self) -> bool:
        """Move what can be moved; True if there may be more to do at once.

        Raises FlowError, which tells the end that failed.
        """
        global waiting_bytes
        if self.ended:
            return False
        source, sink = self.source, self.sink
        for _ in range(ROUNDS):
            if self.piped:
                if not sink.writable or not self._drain_pipe():
                    return False
                if self.piped:
                    continue
            elif self.waiting is not None:
                if not sink.writable:
                    return False
                try:
                    sent = sink.sock.send(self.waiting)
                except BlockingIOError as error:
                    sink.writable = isinstance(error, TlsUnfinishedError)
                    return False
                except OSError as error:
                    raise FlowError(sink, error) from None
                waiting_bytes -= sent
                self.moved += sent
                if sent < len(self.waiting):
                    self.waiting = rest_of(self.waiting, sent)
                    continue
                self.waiting = None
            if not sink.writable or not (source.readable or source.holds):
                return False
            try:
                if self.splicing:
                    if not self._fill_pipe():
                        return False
                    continue
                size = BUFFER if waiting_bytes < ROOMY else SMALL_BUFFER
                got = source.sock.recv_into(_buffer, size)
            except BlockingIOError:
                source.readable = False
                return False
            except OSError as error:
                raise FlowError(source, error) from None
            if not got:
                if not self.broken:
                    self._end()
                return False
            if got == size:
                self.full += 1
                if self.full >= FULL_READS and HAS_SPLICE and source.plain and sink.plain:
                    self.splicing = True
            else:
                self.full = 0
                if source.plain and not source.hung_up:
                    source.readable = False
            try:
                sent = sink.sock.send(_view[:got])
            except BlockingIOError as error:
                sink.writable = isinstance(error, TlsUnfinishedError)
                sent = 0
            except OSError as error:
                raise FlowError(sink, error) from None
            self.moved += sent
            if sent < got:
                self.waiting = memoryview(_buffer[sent:got])
                waiting_bytes += got - sent
        return True

    def _fill_pipe(self) -> bool:
        """Take from the source into the empty pipe; False if there is nothing or no more."""
        source = self.source
        if self.pipe is None:
            try:
                self.pipe = pipes.take()
            except OSError:
                self.splicing = False  # no pipe left: copying needs none
                return True
        try:
            got = os.splice(source.fd, self.pipe[1], PIPE, flags=_SPLICE)
        except BlockingIOError:
            # The pipe was empty, so it is the socket that has nothing, or has an urgent mark next,
            # which splice never passes. Only for the mark this look does not raise the same.
            self._leave_pipe()
            source.sock.recv(1, socket.MSG_PEEK)
            got = 0
        if not got:
            # At a mark splice says 0 after a FIN, whatever is behind: recv knows.
            self._leave_pipe()
            self.splicing = False
            self.full = FULL_READS - 1
            return True
        if got < SMALL_BUFFER:
            self.splicing = False
            self.full = 0
        self.piped = got
        return True

    def _drain_pipe(self) -> bool:
        """Give the pipe's content to the sink; False if the sink takes no more."""
        pipe = self.pipe
        if pipe is None:
            return True
        try:
            sent = os.splice(pipe[0], self.sink.fd, self.piped, flags=_SPLICE)
        except BlockingIOError:
            self.sink.writable = False
            return False
        except OSError as error:
            raise FlowError(self.sink, error) from None
        self.piped -= sent
        self.moved += sent
        if not self.piped and not self.splicing:
            self._leave_pipe()
        return True

    def _leave_pipe(self) -> None:
        if self.pipe is not None:
            pipes.give(self.pipe, empty=not self.piped)
            self.pipe = None

    def _end(self) -> None:
        """The source said FIN: say it to the sink."""
        self.ended = True
        try:
            self.sink.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise FlowError(self.sink, error) from None

    def last_words(self) -> None:
        """The source has failed: pass on what had come from it before."""
        self.broken = self.source.readable = True
        with suppress(FlowError):
            self.run()

    def drop(self) -> None:
        """Give up what is held; the connection is over."""
        global waiting_bytes
        if self.waiting is not None:
            waiting_bytes -= len(self.waiting)
            self.waiting = None
        self._leave_pipe()
        self.piped = 0


class FlowError(Exception):
    """One end failed: `end` is which, `error` the OSError."""

    def __init__(self, end: End, error: OSError) -> None:
        super().__init__(str(error))
        self.end = end
        self.error = error


_SPLICE = (os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK) if HAS_SPLICE else 0
