"""JSON lines between gateway1 and its agents, on the same port and under the same certificates.

A connection that begins with PREFACE is such a conversation; any other begins with a header.

    agent                                      gateway1
    PREFACE
    {"hello": {"name": ..., "serial": ...}}
                                               {"rules": {"serial": ..., "listeners": [...]}}
    {"report": {"serial": ..., "listeners":    {"rules": ...}   when they change
        [{..., "up": true}], "counters": ...}} {"alive": {}}    every BEAT seconds
"""

from __future__ import annotations

import json
import select
from collections.abc import Callable
from typing import Any

from diversion.proxy.loop import Deadline, Loop
from diversion.proxy.pump import End

PREFACE = b"PEELTAP-AGENT/1\n"
BEAT = 15.0
SILENCE = 60.0
"""Seconds without a word after which the other side counts as gone."""

MAX_LINE = 8 << 20
"""Bytes; 10,000 listeners fit well into it."""

PACE = 1 << 20
"""Bytes of messages a second that are listened to, after one line of the longest kind: whoever says
more waits in the socket. Each message counts as LEAST or more, since handling it costs as much."""

LEAST = 4096
_CHUNK = 64 * 1024


class Talk:
    """One end of a conversation. `closed(why)` is called once, when it is over."""

    def __init__(
        self,
        loop: Loop,
        end: End,
        *,
        received: bytes = b"",
        message: Callable[[dict[str, Any]], None],
        closed: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._end = end
        self._message = message
        self._closed: Callable[[str], None] | None = closed
        self._in = bytearray(received)
        self._searched = 0
        """How much of it is known to hold no end of a line."""
        self._out = bytearray()
        self._heard = self._counted = loop.now
        self._may = MAX_LINE
        """Bytes that may be listened to now; PACE more each second."""
        self._silence = Deadline(self._due)
        self._patience = Deadline(self._go_on)
        loop.register(end.fd, self._happened, _EVENTS)
        loop.at(loop.now + SILENCE, self._silence)
        # Of what came with the preface, and of what TLS still holds, no event tells.
        loop.soon(self._read)

    @property
    def is_open(self) -> bool:
        """Whether anything can still be said."""
        return self._closed is not None

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._out += data
        self._write()

    def say(self, message: dict[str, Any]) -> None:
        """Send one message; whoever does not take them is given up."""
        if len(self._out) > MAX_LINE:
            self.close("the other side takes nothing any more")
            return
        self.raw(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def close(self, why: str) -> None:
        """End it."""
        closed, self._closed = self._closed, None
        if closed is None:
            return
        self._loop.cancel(self._silence)
        self._loop.cancel(self._patience)
        self._loop.forget(self._end.fd)
        self._end.close()
        closed(why)

    def _happened(self, events: int) -> None:
        self._write()
        self._read()
        # What was read may have been the last of the handshake for which the rest has waited.
        self._write()

    def _write(self) -> None:
        if self._closed is None:
            return
        try:
            while self._out:
                del self._out[: self._end.sock.send(bytes(self._out[:65536]))]
            if not self._end.plain:
                self._end.sock.flush()  # type: ignore[attr-defined]
        except BlockingIOError:
            return
        except OSError as error:
            self.close(_why(error))

    def _read(self) -> None:
        """Take one piece and what is whole in it; the next piece has its turn a round later."""
        if self._closed is None or not self._take_lines():
            return
        try:
            got = self._end.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(_why(error))
            return
        if not got:
            self.close("the other side ended it")
            return
        self._heard = self._loop.now
        self._in += got
        if self._take_lines():
            if len(self._in) > MAX_LINE:
                self.close("a line is too long")
                return
            self._loop.soon(self._read)

    def _take_lines(self) -> bool:
        """Handle the messages that are whole; False if it is over, or enough for now."""
        self._may = min(MAX_LINE, self._may + int((self._loop.now - self._counted) * PACE))
        self._counted = self._loop.now
        start, searched, self._searched = 0, self._searched, 0
        try:
            while self._may > 0:
                end = self._in.find(b"\n", max(start, searched))
                if end < 0:
                    self._searched = len(self._in) - start
                    return True
                line = bytes(self._in[start:end])
                start = end + 1
                self._may -= max(len(line), LEAST)
                try:
                    message = json.loads(line)
                except (ValueError, RecursionError):
                    message = None
                if not isinstance(message, dict):
                    self.close("what came is no message")
                    return False
                self._message(message)
                if self._closed is None:
                    return False
        finally:
            # Also where handling it was a mistake of ours: it is not made twice.
            del self._in[:start]
        self._loop.at(self._loop.now - self._may / PACE, self._patience)
        return False

    def _go_on(self, _: float) -> None:
        self._read()

    def _due(self, now: float) -> float | None:
        if self._heard + SILENCE > now:
            return self._heard + SILENCE
        self.close("the other side said nothing for too long")
        return None


def _why(error: OSError) -> str:
    return error.strerror or str(error)


_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
