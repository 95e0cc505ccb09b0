"""SNAT by nftables: one table with one rule for each IP version, one map element a connection.

    chain source { type nat hook postrouting priority srcnat - 10;
      snat ip to ip saddr . tcp sport . ip daddr . tcp dport map @peers4 }

The local port is reserved by bind(2) before the element is made, and the element is there before
the SYN: no packet can leave with gateway2's address, and no other connection can match. What many
connections want in one round of the loop is one transaction.

A killed process leaves its table behind; `open` begins with a new one, so nothing outlives a start.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable

from diversion.proxy.addresses import Ends
from diversion.proxy.loop import Loop
from diversion.snat.conntrack import Conntrack
from diversion.snat.elements import Elements, key, value
from diversion.snat.reserve import Mapping, Reservations
from diversion.snat.source import Go, SourceError

MAPS = {4: "peers4", 6: "peers6"}
SIZE = 1 << 20
"""Elements at most in each map; the kernel makes room as it goes."""

_TABLE = """\
table inet {table} {{}}
delete table inet {table}
table inet {table} {{
  map peers4 {{
    type ipv4_addr . inet_service . ipv4_addr . inet_service : ipv4_addr . inet_service
    size {size}
  }}
  map peers6 {{
    type ipv6_addr . inet_service . ipv6_addr . inet_service : ipv6_addr . inet_service
    size {size}
  }}
  chain source {{
    type nat hook postrouting priority srcnat - 10; policy accept;
    meta nfproto ipv4 meta l4proto tcp \\
      snat ip to ip saddr . tcp sport . ip daddr . tcp dport map @peers4
    meta nfproto ipv6 meta l4proto tcp \\
      snat ip6 to ip6 saddr . tcp sport . ip6 daddr . tcp dport map @peers6
  }}
}}
"""


class NftSource:
    """See the module; `name` tells this gateway2's table from others'."""

    def __init__(self, loop: Loop, name: str) -> None:
        self._loop = loop
        self._table = f"peeltap_{name}"
        self._elements: Elements | None = None
        self._conntrack: Conntrack | None = None
        self._reserved = Reservations()
        self._adding: list[Mapping] = []
        self._removing: list[Mapping] = []
        self._pending = False

    @property
    def port_changed(self) -> int:
        """As of a `Source`."""
        return self._reserved.port_changed

    def open(self) -> None:
        """Make the table, anew where a killed process has left one; SourceError."""
        self._nft(_TABLE.format(table=self._table, size=SIZE))
        self._elements = Elements(self._table)
        self._conntrack = Conntrack()

    def close(self) -> None:
        """Take the table away; conntrack keeps what it knows of connections that still live."""
        if self._elements is not None:
            self._elements.close()
            self._elements = None
        if self._conntrack is not None:
            self._conntrack.close()
            self._conntrack = None
            self._nft(f"delete table inet {self._table}\n")

    def rebind(self, sock: socket.socket, peer: Ends) -> bool:
        """As of a `Source`."""
        return False

    def begin(self, sock: socket.socket, peer: Ends, decoy: Ends, go: Go) -> Callable[[], None]:
        """As of a `Source`."""
        try:
            mapping = self._reserved.reserve(sock, peer, decoy, go)
        except OSError as error:
            go(f"no local port for it: {error.strerror}")
            return lambda: None
        self._adding.append(mapping)
        self._later()
        return lambda: self._over(mapping)

    def _over(self, mapping: Mapping) -> None:
        mapping.over = True
        self._removing.append(mapping)
        self._later()

    def _later(self) -> None:
        if not self._pending:
            self._pending = True
            self._loop.soon(self._flush)

    def _flush(self) -> None:
        """Make all elements that this round has asked for, and take away those that are over."""
        self._pending = False
        elements, conntrack = self._elements, self._conntrack
        adding, self._adding = self._adding, []
        removing, self._removing = self._removing, []
        if elements is None or conntrack is None:
            return
        for version, name in MAPS.items():
            here = [one for one in adding if one.version == version and not one.over]
            try:
                if here:
                    conntrack.forget([(one.peer, one.decoy) for one in here])
                    elements.add(
                        name, [(key(one.local, one.decoy), value(one.peer)) for one in here]
                    )
            except OSError as error:
                for one in here:
                    one.go(f"nftables takes no element: {error.strerror}")
                continue
            for one in here:
                one.made = True
                one.go(None)
        for version, name in MAPS.items():
            gone = [one for one in removing if one.version == version and one.made]
            if gone:
                elements.remove(name, [key(one.local, one.decoy) for one in gone])
        for one in removing:
            self._reserved.free(one)

    def _nft(self, script: str) -> None:
        try:
            done = subprocess.run(
                ["nft", "-f", "-"],  # noqa: S607
                input=script.encode(),
                capture_output=True,
                timeout=30,
            )
        except FileNotFoundError:
            raise SourceError(
                "source nftables: the program nft is not installed; install nftables, or use "
                "source: iptables or transparent"
            ) from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise SourceError(
                f"source nftables: nft refused the table ({said[:400]}); it needs "
                "CAP_NET_ADMIN and a kernel with nftables' NAT"
            )
