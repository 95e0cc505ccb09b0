"""IP_TRANSPARENT: the socket towards the decoy has the peer's own address and port.

What the decoy answers is addressed to the peer, and has to come back to that socket. Policy routing
does it, without any state in the firewall: what comes from a decoy's address and service port is
looked up in a table whose only route says that everything is local.

    ip rule add from DECOY ipproto tcp sport PORT lookup TABLE priority PRIORITY
    ip route add local default dev lo table TABLE

The decoy's route to its peers must lead to this host, as it would without a proxy.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from diversion.proxy.addresses import Ends, Range
from diversion.proxy.listener import make_transparent
from diversion.snat.claim import Claim
from diversion.snat.source import Go, Lease, SourceError, Tuples

PRIORITY = 9310
"""Of the routing rules: behind the table of local addresses, before the main one."""

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class TransparentSource:
    """See the module; `decoys` are all addresses and ports that may be connected to."""

    def __init__(self, decoys: Sequence[Range], table: int) -> None:
        self._decoys = decoys
        self._table = table
        self._tuples = Tuples()
        self._claim = Claim(f"table-{table}")
        self.port_changed = 0

    def open(self) -> None:
        """Make the return route, anew where a killed process has left one; SourceError."""
        if not self._claim.take():
            raise SourceError(
                f"source transparent: the routing table {self._table} is another gateway2's, which "
                "runs in this network namespace; give one of them another `table`"
            )
        try:
            with IPRoute() as netlink:
                self._remove(netlink)
                for version in sorted({one.network.version for one in self._decoys}):
                    self._add_route(netlink, version)
                for one in dict.fromkeys(self._decoys):
                    netlink.rule("add", **self._rule(one))
        except (NetlinkError, OSError) as error:
            raise SourceError(
                f"source transparent: the return route cannot be made ({error}); "
                "it needs CAP_NET_ADMIN and a kernel with policy routing"
            ) from None

    def close(self) -> None:
        """Take the return route away."""
        if not self._claim.held:
            return  # it may be another process's
        with suppress(NetlinkError, OSError), IPRoute() as netlink:
            self._remove(netlink)
        self._claim.give()

    def begin(self, sock: socket.socket, peer: Ends, decoy: Ends, go: Go) -> Lease:
        """As of a `Source`."""
        ours = self._tuples.take(peer, decoy)
        try:
            make_transparent(sock)
            # Another connection of the same peer to another decoy has the same address and port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                if not ours:
                    raise OSError(errno.EADDRINUSE, "")
                sock.bind(peer)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                sock.bind((peer[0], 0))
                self.port_changed += 1
        except OSError as error:
            if ours:
                self._tuples.give(peer, decoy)
            go(f"cannot take {peer[0]}: {error.strerror}")
            return Lease()
        lease = Lease(rebind=lambda other: self._rebind(other, peer))
        go(None)
        return lease._replace(over=lambda: self._tuples.give(peer, decoy)) if ours else lease

    def _rebind(self, sock: socket.socket, peer: Ends) -> bool:
        """The last connection with these addresses is in TIME_WAIT here."""
        try:
            make_transparent(sock)
            sock.bind((peer[0], 0))
        except OSError:
            return False
        self.port_changed += 1
        return True

    def _add_route(self, netlink: Any, version: int) -> None:
        [lo] = netlink.link_lookup(ifname="lo")
        netlink.route(
            "replace",
            family=_FAMILIES[version],
            dst="default",
            oif=lo,
            table=self._table,
            type="local",
            scope="host",
        )

    def _rule(self, one: Range) -> dict[str, Any]:
        rule: dict[str, Any] = {
            "family": _FAMILIES[one.network.version],
            "src": str(one.network.network_address),
            "src_len": one.network.prefixlen,
            "ip_proto": socket.IPPROTO_TCP,
            "table": self._table,
            "priority": PRIORITY,
        }
        if (one.first, one.last) != (0, 0xFFFF):
            rule["sport_range"] = f"{one.first}:{one.last}"
        return rule

    def _remove(self, netlink: Any) -> None:
        for family in _FAMILIES.values():
            for rule in netlink.get_rules(family=family, table=self._table):
                if rule.get("priority") == PRIORITY:
                    netlink.rule("del", **_again(rule, family, self._table))
            with suppress(NetlinkError):
                netlink.flush_routes(family=family, table=self._table)


def _again(rule: Any, family: int, table: int) -> dict[str, Any]:
    """A rule that was listed, as it is named to be deleted."""
    named = {"family": family, "table": table, "priority": PRIORITY}
    if rule.get("src") is not None:
        named |= {"src": rule.get("src"), "src_len": rule["src_len"]}
    if rule.get("ip_proto") is not None:
        named["ip_proto"] = rule.get("ip_proto")
    if rule.get("sport_range") is not None:
        named["sport_range"] = rule.get("sport_range")
    return named
