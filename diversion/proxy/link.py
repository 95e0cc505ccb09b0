"""One connection: accepted, told by its header or by its socket, brought onward, relayed, ended.

    head ──header──> waiting ──source ready──> connecting ──connected──> relaying ──> over
      └───────────────────┴──────── anything wrong, or too late ────────────┴──────────> over

`left` is the end that was accepted, `right` the one made for it. Whatever goes wrong on one side
becomes an RST on the other, so that the peer sees what it would see without a proxy.
"""

from __future__ import annotations

import errno
import json
import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from diversion.proxy.addresses import Ends, show_ends
from diversion.proxy.counters import UNTOLD, timestamp
from diversion.proxy.loop import Deadline
from diversion.proxy.pump import End, Flow, FlowError
from diversion.proxy.tls import TlsEnd, TlsRefusedError

if TYPE_CHECKING:
    from diversion.proxy.hub import Hub

EVENTS = select.EPOLLIN | select.EPOLLPRI | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_IN = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_OUT = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
_BROKEN = select.EPOLLERR
_MORE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLPRI
"""After these a short read may not be the last: the end is to be read yet, or a mark cut it."""

_FAILED = select.EPOLLERR | select.EPOLLHUP

MOST_WHY = 500
"""Characters of a reason: its line stays one write, also where each of them takes six bytes."""

HEAD, WAITING, CONNECTING, RELAYING, FLUSHING, OVER = range(6)

Parse = Callable[[bytes], Optional[tuple[int, Any]]]
"""Looks at the stream so far: None for more, or how many bytes are its own and what they say.
HeadError for what is refused."""

Then = Callable[["Link", Any], None]


class HeadError(Exception):
    """What came first is refused: `how` is one of `counters.ENDS`."""

    def __init__(self, how: str, why: str = "") -> None:
        super().__init__(why)
        self.how = how
        self.why = why


class Link:
    """See the module; `hub` owns it. `peer` and `destination` are filled in when they are known."""

    __slots__ = (
        "_counted",
        "_deadline",
        "_down",
        "_from",
        "_head",
        "_last",
        "_limit",
        "_parse",
        "_shaking",
        "_stage",
        "_started",
        "_then",
        "_up",
        "agent",
        "destination",
        "hub",
        "left",
        "on_end",
        "peer",
        "right",
        "to",
    )

    def __init__(self, hub: Hub, sock: socket.socket | TlsEnd, peer: Ends) -> None:
        self.hub = hub
        self.left = End(sock, plain=not isinstance(sock, TlsEnd))  # type: ignore[arg-type]
        self.right: End | None = None
        self.peer = peer
        self.destination: Ends | None = None
        self.to: Ends | None = None
        self.agent = ""
        """Who sent the header, where that is known."""
        self.on_end: Callable[[], None] | None = None
        self._up: Flow | None = None
        self._down: Flow | None = None
        self._head = b""
        self._parse: Parse | None = None
        self._then: Then | None = None
        self._stage = WAITING
        self._shaking = False
        """Whether the other side is connected, but has not done its part of TLS."""
        self._counted: str | None = None
        self._from: str | None = None
        """The address that counts as one that owes a header."""
        self._started = self._last = hub.loop.now
        self._limit = hub.limits.header_seconds
        self._deadline = Deadline(self._due)
        hub.loop.register(self.left.fd, self._on_left, EVENTS)
        hub.opened(self)
        hub.loop.at(self._last + self._limit, self._deadline)

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self._stage != OVER

    def announce(self, peer: Ends, destination: Ends) -> bool:
        """Say who it is; False, and over, if the peer has too many already."""
        self.peer = peer
        self.destination = destination
        self._counted = peer[0]
        if self.hub.count_peer(peer[0]):
            return True
        self._counted = None
        self.end("limit_peer", reset=True)
        return False

    def read_head(self, parse: Parse, then: Then) -> None:
        """Show what comes first to `parse` until it has seen its header; then call `then`.

        Over at once if too many connections from this address have not sent theirs.
        """
        if not self.hub.count_source(self.peer[0]):
            self.end("limit_source", reset=True)
            return
        self._from = self.peer[0]
        self._parse = parse
        self._then = then
        self._stage = HEAD

    def bring(
        self,
        sock: socket.socket | TlsEnd,
        to: Ends,
        header: bytes = b"",
        *,
        again: Callable[[], socket.socket | None] = lambda: None,
    ) -> None:
        """Connect `sock`, non-blocking and bound as it shall be, to `to`; then relay.

        Where the address and port that it is bound to cannot be had for this, `again` is asked for
        another socket.
        """
        raw = sock if isinstance(sock, socket.socket) else sock.socket
        self.to = to
        result = raw.connect_ex(to)
        if result == errno.EADDRNOTAVAIL:
            other = again()
            if other is not None:
                sock.close()
                sock = raw = other
                result = raw.connect_ex(to)
        if result not in (0, errno.EINPROGRESS):
            sock.close()
            self.end(_end_of(result), reset=True)
            return
        self.right = right = End(sock, plain=sock is raw)  # type: ignore[arg-type]
        self._up = Flow(self.left, right)
        self._down = Flow(right, self.left)
        self._up.put(header, self._head)
        self._head = b""
        self._stage = CONNECTING
        self._last = self.hub.loop.now
        self._limit = self.hub.limits.connect_seconds
        self.hub.loop.at(self._last + self._limit, self._deadline)
        self.hub.loop.register(right.fd, self._on_right, EVENTS)

    def hand_over(self) -> tuple[End, bytes]:
        """Give the accepted end and what was read of it to somebody else; the link is over."""
        self._stage = OVER
        self._leave()
        self.hub.loop.unregister(self.left.fd)
        return self.left, self._head

    # --- Events ---

    def _on_left(self, events: int) -> None:
        left = self.left
        if events & _IN:
            left.readable = True
            if events & _MORE:
                left.hung_up = True
        if events & _OUT:
            left.writable = True
        stage = self._stage
        if stage == RELAYING:
            self._relay(left, events)
        elif stage == HEAD:
            self._read_head()
        elif stage == FLUSHING:
            self._flush()
        elif (
            events & _BROKEN
            and stage != OVER
            and left.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        ):
            self.end("reset_by_peer", reset=True)

    def _on_right(self, events: int) -> None:
        right = self.right
        if right is None:
            return
        if self._stage == CONNECTING:
            if events & _FAILED:
                number = right.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number:
                    self.end(_end_of(number), reset=True)
                    return
            if not events & select.EPOLLOUT:
                return
            self._stage = RELAYING
            if right.plain:
                self._brought()
            else:
                # Reading begins the handshake, even where neither side has something to say.
                self._shaking = right.readable = True
        if events & _IN:
            right.readable = True
            if events & _MORE:
                right.hung_up = True
        if events & _OUT:
            right.writable = True
        if self._stage == RELAYING:
            self._relay(right, events)
        elif self._stage == FLUSHING:
            self._flush()

    def _brought(self) -> None:
        """The other side is there: from now on only silence ends it."""
        self._shaking = False
        now = self._last = self.hub.loop.now
        self._limit = limit = self.hub.limits.idle_seconds
        # A later deadline finds itself when the earlier one comes; an earlier one does not.
        if limit < self.hub.limits.connect_seconds:
            self.hub.loop.at(now + limit, self._deadline)

    def _relay(self, end: End | None, events: int) -> None:
        """Move what can be moved after something happened to `end`."""
        up, down, right = self._up, self._down, self.right
        if up is None or down is None or right is None or self._stage != RELAYING:
            return
        if not self._shaking:
            self._last = self.hub.loop.now
        try:
            # The other side first: reading there brings on the handshake for which `up` waits.
            more = down.run()
            more = up.run() or more
            if not right.plain or not self.left.plain:
                self._flush_ends()
                # Sending may have taken what there is to read.
                more = more or (right.holds and self.left.writable and not down.ended)
        except FlowError as error:
            # What had come from the end that failed is not void, only what was held for it.
            (down if error.end is right else up).last_words()
            self._failed(error.end, error.error)
            return
        if self._shaking and isinstance(right.sock, TlsEnd) and right.sock.shaken:
            self._brought()
        if up.ended and down.ended:
            self._stage = FLUSHING
            self._flush()
        elif more:
            self.hub.loop.soon(self._again)
        elif end is not None and events & _BROKEN:
            # Nobody was reading or writing there: what was held for it, or of it, is void.
            number = end.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._failed(end, OSError(number, ""))

    def _again(self) -> None:
        self._relay(None, 0)

    def _failed(self, end: End, error: OSError) -> None:
        if isinstance(error, TlsRefusedError):
            self.end("tls_refused", reset=True, why=str(error))
        elif error.errno == errno.ETIMEDOUT:
            # Keepalive or retransmission gave up.
            self.end("idle", reset=True)
        else:
            self.end("reset_by_peer" if end is self.left else "reset_by_decoy", reset=True)

    def _flush_ends(self) -> None:
        for end in (self.left, self.right):
            if end is not None and isinstance(end.sock, TlsEnd):
                try:
                    end.sock.flush()
                except OSError as error:
                    raise FlowError(end, error) from None

    def _flush(self) -> None:
        """Both directions have ended; close when the last encrypted bytes are gone."""
        try:
            self._flush_ends()
        except FlowError as error:
            self._failed(error.end, error.error)
            return
        for end in (self.left, self.right):
            if end is not None and isinstance(end.sock, TlsEnd) and end.sock.unsent:
                return
        self.end("closed")

    def _read_head(self) -> None:
        limit = self.hub.limits.header_bytes
        while self._stage == HEAD and self._parse is not None and self._then is not None:
            try:
                got = self.left.sock.recv(limit - len(self._head))
                if not got:
                    # Whoever only knocks, as monitors do, is not worth an RST.
                    self.end("header_cut" if self._head else "closed", reset=bool(self._head))
                    return
                self._head += got
                found = self._parse(self._head)
            except BlockingIOError:
                self.left.readable = False
                return
            except TlsRefusedError as error:
                self.end("tls_refused", reset=True, why=str(error))
                return
            except HeadError as error:
                self.end(error.how, reset=True, why=error.why)
                return
            except OSError:
                self.end("reset_by_peer", reset=True)
                return
            if found is not None:
                # What stands behind the header is payload, whatever it looks like.
                self._head = self._head[found[0] :]
                self._stage = WAITING
                self._headed()
                self._then(self, found[1])
            elif len(self._head) >= limit:
                self.end("header_malformed", reset=True)

    def _headed(self) -> None:
        if self._from is not None:
            self.hub.uncount_source(self._from)
            self._from = None

    # --- The end ---

    def _due(self, now: float) -> float | None:
        if self._stage == OVER:
            return None
        due = self._last + self._limit
        if due > now:
            return due
        if self._stage == CONNECTING or self._shaking:
            self.end("connect_timeout", reset=True)
        elif self._stage in (RELAYING, FLUSHING):
            self.end("idle", reset=True)
        else:
            self.end("header_timeout", reset=True)
        return None

    def end(self, how: str, *, reset: bool = False, why: str = "") -> None:
        """Close both sides; `how` is one of `counters.ENDS`."""
        if self._stage == OVER:
            return
        self._stage = OVER
        for end in (self.left, self.right):
            if end is not None:
                self.hub.loop.forget(end.fd)
                end.close(reset=reset)
        self._leave()
        counters = self.hub.counters
        counters.ends[how] += 1
        sent = self._up.moved if self._up else 0
        answered = self._down.moved if self._down else 0
        for flow in (self._up, self._down):
            if flow is not None:
                flow.drop()
        counters.to_decoy += max(sent, 0)
        counters.to_peer += answered
        if how not in UNTOLD:
            self._tell(how, max(sent, 0), answered, why)

    def _leave(self) -> None:
        self.hub.loop.cancel(self._deadline)
        self.hub.closed(self)
        self._headed()
        if self._counted is not None:
            self.hub.uncount_peer(self._counted)
        if self.on_end is not None:
            self.on_end()
            self.on_end = None

    def _tell(self, how: str, sent: int, answered: int, why: str) -> None:
        # Addresses, numbers and words of ours: nothing in it needs quoting, except `why`.
        line = f'{{"time": "{timestamp()}", "peer": "{show_ends(self.peer)}"'
        if self.destination is not None:
            line += f', "destination": "{show_ends(self.destination)}"'
        if self.to is not None:
            line += f', "to": "{show_ends(self.to)}"'
        if self.agent:
            line += f', "agent": "{self.agent}"'
        line += f', "bytes_to_decoy": {sent}, "bytes_to_peer": {answered}'
        seconds = self.hub.loop.now - self._started
        line += f', "seconds": {seconds:.3f}, "end": "{how}"'
        if why:
            line += f', "why": {json.dumps(why[:MOST_WHY])}'
        self.hub.lines.put(line + "}")


def _end_of(number: int) -> str:
    """What an error of connect(2) means for the peer."""
    if number == errno.ECONNREFUSED:
        return "refused"
    if number == errno.ETIMEDOUT:
        return "connect_timeout"
    return "unreachable"
