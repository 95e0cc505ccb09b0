"""What happened, as numbers and as one line a connection.

A connection's line is a JSON object:

    {"time": "2026-01-01T00:00:00.000Z", "peer": "203.0.113.7:46421", "destination":
     "192.168.110.2:80", "to": "172.16.23.2:9080", "bytes_to_decoy": 78, "bytes_to_peer": 512,
     "seconds": 0.031, "end": "closed"}
"""

from __future__ import annotations

import json
import os
import select
import time
from collections import deque
from typing import Any

ENDS = {
    "closed": "both sides ended, each in its own time",
    "reset_by_peer": "the peer's side sent RST, which was passed on",
    "reset_by_decoy": "the decoy's side sent RST, which was passed on",
    "refused": "nothing listens at the other end: the peer got RST, as from a closed port",
    "unreachable": "no connection onward could be made",
    "connect_timeout": "the other end did not answer in time",
    "idle": "nothing was said for too long",
    "drained": "the proxy was told to stop and waited long enough",
    "header_timeout": "the header did not come in time",
    "header_malformed": "what came is no header that is accepted here",
    "header_cut": "the connection ended within its header",
    "local": "a health check: a header that names nobody",
    "untrusted": "the address may not send headers here",
    "tls_refused": "no TLS, or none with a certificate that is accepted",
    "no_rule": "no rule says which decoy this is",
    "no_family": "the decoy has no address of the peer's IP version",
    "no_header": "the codec cannot carry these addresses",
    "source_failed": "the peer's address could not be taken as the source",
    "limit_total": "too many connections at a time",
    "limit_peer": "too many connections of this peer at a time",
    "limit_source": "too many connections at a time that have sent no header",
    "limit_files": "no descriptors left",
}
"""How a connection can end, by the words that stand in its line and in the metrics."""

UNTOLD = frozenset(("limit_total", "limit_source", "limit_files"))
"""Ends that are counted only: a flood must not become a flood of lines."""


class Counters:
    """Numbers that only grow, and those of now. Written by the loop's thread, read by any."""

    def __init__(self) -> None:
        self.accepted = 0
        self.open = 0
        self.to_decoy = 0
        self.to_peer = 0
        self.lines_lost = 0
        self.mistakes = 0
        self.ends = dict.fromkeys(ENDS, 0)

    def as_dict(self) -> dict[str, Any]:
        """A copy, as JSON would have it."""
        return {
            "accepted": self.accepted,
            "open": self.open,
            "bytes_to_decoy": self.to_decoy,
            "bytes_to_peer": self.to_peer,
            "lines_lost": self.lines_lost,
            "mistakes": self.mistakes,
            "ends": {name: count for name, count in self.ends.items() if count},
        }


_LONGEST = (2000, 1000, 200, 20)
"""Characters of a text in a line, and of the texts of a list together: the first that fits."""


def _cut(more: dict[str, Any], longest: int) -> dict[str, Any]:
    """The values of a line with their texts cut; of a traceback the end is what counts."""
    found = {}
    for key, value in more.items():
        if isinstance(value, str):
            value = value[-longest:] if "\n" in value else value[:longest]
        elif isinstance(value, (list, tuple)):
            value = [str(one)[: longest // 5] for one in value[:5]]
        found[key] = value
    return found


class Lines:
    """Lines to a descriptor, written at the end of a round and never waited for.

    Each is at most PIPE_BUF bytes long, so that it is one write, before or behind those of others
    on the same pipe. A reader that does not read costs lines, at most `room` bytes of them kept,
    not the relay.
    """

    def __init__(self, fd: int, counters: Counters, *, room: int = 1 << 20) -> None:
        self._fd = fd
        self._counters = counters
        self._room = room
        self._held = 0
        self._lines: deque[bytes] = deque()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def put(self, line: str) -> None:
        """Keep a line until `flush`; one that is no single write of a pipe is lost."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if len(data) > select.PIPE_BUF or self._held + len(data) > self._room:
            self._counters.lines_lost += 1
            return
        self._held += len(data)
        self._lines.append(data)

    def say(self, level: str, event: str, **more: Any) -> None:
        """A line about the service itself; what is too long in it is cut."""
        head = {"time": timestamp(), "level": level, "event": event}
        line = json.dumps({**head, **more})
        for longest in _LONGEST:
            if len(line) < select.PIPE_BUF:
                break
            line = json.dumps({**head, **_cut(more, longest), "cut": True})
        self.put(line)

    def flush(self) -> bool:
        """Write what can be written at once; True if nothing is left."""
        while self._lines:
            if not self._poll.poll(0):
                return False
            # A pipe that is ready takes PIPE_BUF bytes without waiting.
            chunk = [self._lines.popleft()]
            size = len(chunk[0])
            while self._lines and size + len(self._lines[0]) <= select.PIPE_BUF:
                chunk.append(self._lines.popleft())
                size += len(chunk[-1])
            self._held -= size
            try:
                os.write(self._fd, b"".join(chunk))
            except OSError:
                self._counters.lines_lost += len(chunk)  # nobody reads any more
        return True


_second = (0, "")
"""The last second for which a time was written, and its text."""


def timestamp() -> str:
    """Now, in UTC, to the millisecond."""
    global _second
    milliseconds = time.time_ns() // 1_000_000
    second = milliseconds // 1000
    known, text = _second
    if known != second:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _second = (second, text)
    return f"{text}.{milliseconds % 1000:03d}Z"
