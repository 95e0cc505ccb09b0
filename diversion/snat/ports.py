"""Local ports of connections to decoys: which comes next, and which are in use.

Nobody but this host sees them: SNAT puts the peer's port into the packets. They only tell
connections to one decoy apart, so a port serves one connection to each decoy at a time, and serves
the next one while the last is in TIME_WAIT:

    bind(2)     to a port that is named, with SO_REUSEADDR on both sockets
    connect(2)  takes the place of the one in TIME_WAIT if both ends of that had timestamps
                (RFC 6191; tcp_twsk_unique in the kernel), and says EADDRNOTAVAIL if not

A port that is asked for by number 0 would be its socket's alone, for all decoys, and for a minute
after its end: 28,000 of them are 470 connections a second.
"""

from __future__ import annotations

import errno
import secrets
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from diversion.proxy.addresses import Ends

_SYSCTL = Path("/proc/sys/net/ipv4")
_DEFAULT = 32_768, 60_999

OTHERS = 16
"""Of so many ports one is left to the host's other programs, which get none that is bound here."""


def usable() -> Sequence[int]:
    """The ports of net.ipv4.ip_local_port_range, without those of ip_local_reserved_ports."""
    try:
        first, last = map(int, (_SYSCTL / "ip_local_port_range").read_text().split())
        reserved = _ranges((_SYSCTL / "ip_local_reserved_ports").read_text())
    except (OSError, ValueError):
        (first, last), reserved = _DEFAULT, set()
    found = array("H", (at for at in range(first, last + 1) if at % OTHERS and at not in reserved))
    return found or array("H", range(first, last + 1))


def _ranges(text: str) -> set[int]:
    """Numbers as the kernel writes them: `8080,9148-9150`."""
    found: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return found


class Ports:
    """One after the other, so that each rests as long as there are others."""

    def __init__(self, all_ports: Callable[[], Sequence[int]] = usable) -> None:
        self._find = all_ports
        self._all = all_ports()
        # Not where one that was killed a moment ago has begun as well.
        self._at = secrets.randbelow(len(self._all))
        self._used: set[tuple[int, Ends]] = set()
        self._counts: dict[Ends, int] = {}

    def take(self, decoy: Ends) -> int:
        """The next port that no connection to this decoy has; OSError if there is none."""
        count = self._counts.get(decoy, 0)
        if count < len(self._all):
            for _ in range(2 * len(self._all)):
                if self._at >= len(self._all):
                    # The range may have been changed.
                    self._all, self._at = self._find(), 0
                port = self._all[self._at]
                self._at += 1
                if (port, decoy) not in self._used:
                    self._used.add((port, decoy))
                    self._counts[decoy] = count + 1
                    return port
        raise OSError(errno.EADDRINUSE, "all local ports are in use to this decoy")

    def give(self, port: int, decoy: Ends) -> None:
        """It is free again; nothing if it was not in use."""
        if (port, decoy) not in self._used:
            return
        self._used.remove((port, decoy))
        self._counts[decoy] -= 1
        if not self._counts[decoy]:
            del self._counts[decoy]
