"""SNAT by nftables: one table with one rule for each IP version, one map element a connection.

    chain source { type nat hook postrouting priority srcnat - 10;
      snat ip to ip saddr . tcp sport . ip daddr . tcp dport map @peers4 }

The local port is reserved by bind(2) before the element is made, and the element is there before
the SYN: no packet can leave with gateway2's address, and no other connection can match. What many
connections want in one round of the loop is one transaction.

A killed process leaves its table behind; `open` begins with a new one, so nothing outlives a start.
A name is one process's at a time, so nobody takes away the table of another that lives.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from diversion.proxy.addresses import Ends
from diversion.proxy.loop import Loop
from diversion.snat.claim import Claim
from diversion.snat.conntrack import Conntrack
from diversion.snat.elements import Elements, key, value
from diversion.snat.reserve import Mapping, Reservations, tell
from diversion.snat.source import Go, Lease, SourceError

MAPS = {4: "peers4", 6: "peers6"}
SIZE = 1 << 20
"""Elements at most in each map; the kernel makes room as it goes."""

_NO_TABLE = """\
table inet {table} {{}}
delete table inet {table}
"""
_TABLE = (
    _NO_TABLE
    + """\
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
)


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
        self._name = name
        self._claim = Claim(self._table)

    @property
    def port_changed(self) -> int:
        """As of a `Source`."""
        return self._reserved.port_changed

    def open(self) -> None:
        """Make the table, anew where a killed process has left one; SourceError."""
        if not self._claim.take():
            raise SourceError(
                f"source nftables: another gateway2 of the name {self._name} runs in this network "
                "namespace; give one of them another `name`"
            )
        self._nft(_TABLE.format(table=self._table, size=SIZE))
        self._reserved.open()
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
        if self._claim.held:
            # It may have been deleted by somebody; what cannot be, the next start removes.
            with suppress(SourceError):
                self._nft(_NO_TABLE.format(table=self._table))
            self._reserved.close()
            self._claim.give()

    def begin(self, sock: socket.socket, peer: Ends, decoy: Ends, go: Go) -> Lease:
        """As of a `Source`."""
        try:
            mapping = self._reserved.reserve(sock, peer, decoy, go)
        except OSError as error:
            go(f"no local port for it: {error.strerror}")
            return Lease()
        self._adding.append(mapping)
        self._later()
        return Lease(lambda: self._over(mapping), lambda other: self._rebind(other, mapping))

    def _over(self, mapping: Mapping) -> None:
        mapping.over = True
        self._removing.append(mapping)
        self._later()

    def _rebind(self, sock: socket.socket, mapping: Mapping) -> bool:
        """Another local port: the decoy has no timestamps, and the last connection to it from this
        one is in TIME_WAIT."""
        elements, conntrack = self._elements, self._conntrack
        if elements is None or conntrack is None:
            return False
        name = MAPS[mapping.version]
        before = key(mapping.local, mapping.decoy)
        try:
            self._reserved.move(sock, mapping)
        except OSError:
            return False
        _take_out(elements, name, [before])
        return _put_one(elements, conntrack, name, mapping) is None

    def _later(self) -> None:
        if not self._pending:
            self._pending = True
            self._loop.soon(self._flush)

    def _flush(self) -> None:
        """Take away the elements that are over, then make those that this round has asked for.

        In this order: a port that was given up may be another connection's in the same round, and
        then both have one key.
        """
        self._pending = False
        elements, conntrack = self._elements, self._conntrack
        adding, self._adding = self._adding, []
        removing, self._removing = self._removing, []
        try:
            if elements is None or conntrack is None:
                return
            for version, name in MAPS.items():
                gone = [one for one in removing if one.version == version and one.made]
                _take_out(elements, name, [key(one.local, one.decoy) for one in gone])
            for version, name in MAPS.items():
                here = [one for one in adding if one.version == version and not one.over]
                if here:
                    self._put_in(elements, conntrack, name, here)
        finally:
            for one in removing:
                self._reserved.free(one)

    def _put_in(
        self, elements: Elements, conntrack: Conntrack, name: str, here: Sequence[Mapping]
    ) -> None:
        for one in here:
            one.made = True
        try:
            _put(elements, conntrack, name, here)
        except TimeoutError as error:
            # A kernel that does not answer is not asked once for each of them.
            tell(self._loop, here, _refused(error))
        except OSError:
            # One that is refused undoes its whole batch.
            for one in here:
                tell(self._loop, [one], _put_one(elements, conntrack, name, one))
        else:
            tell(self._loop, here, None)

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


def _put(elements: Elements, conntrack: Conntrack, name: str, mappings: Sequence[Mapping]) -> None:
    conntrack.forget(
        [(one.peer, one.decoy) for one in mappings], [(one.local, one.decoy) for one in mappings]
    )
    elements.add(name, [(key(one.local, one.decoy), value(one.peer)) for one in mappings])


def _put_one(elements: Elements, conntrack: Conntrack, name: str, one: Mapping) -> str | None:
    """None, or what went wrong."""
    try:
        try:
            _put(elements, conntrack, name, [one])
        except FileExistsError:
            # Its port is its own, so this is left of one that is over.
            elements.remove(name, [key(one.local, one.decoy)])
            _put(elements, conntrack, name, [one])
    except OSError as error:
        return _refused(error)
    return None


def _take_out(elements: Elements, name: str, keys: Sequence[bytes]) -> None:
    """An element that stays all the same is replaced when its port is used again."""
    try:
        elements.remove(name, keys)
    except TimeoutError:
        return
    except OSError:
        for one in keys:
            with suppress(OSError):
                elements.remove(name, [one])


def _refused(error: OSError) -> str:
    return f"nftables takes no element: {error.strerror or error}"
