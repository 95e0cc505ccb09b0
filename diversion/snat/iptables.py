"""SNAT by iptables: a rule a connection, in a chain of its own; for hosts without nftables.

Each round's changes are one `iptables-restore --noflush`, some milliseconds in which nothing else
happens, and the kernel tries the rules one after the other: fit for hundreds of connections at a
time. With nftables there is one rule, whatever their number.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Sequence

from diversion.proxy.addresses import Ends, show_ends
from diversion.proxy.loop import Loop
from diversion.snat.conntrack import Conntrack
from diversion.snat.reserve import Mapping, Reservations
from diversion.snat.source import Go, SourceError

PROGRAMS = {4: "iptables", 6: "ip6tables"}


class IptablesSource:
    """See the module; `name` tells this gateway2's chain from others'."""

    def __init__(self, loop: Loop, name: str) -> None:
        self._loop = loop
        self._chain = f"PEELTAP-{name.upper()}"
        self._reserved = Reservations()
        self._conntrack: Conntrack | None = None
        self._adding: list[Mapping] = []
        self._removing: list[Mapping] = []
        self._pending = False

    @property
    def port_changed(self) -> int:
        """As of a `Source`."""
        return self._reserved.port_changed

    def open(self) -> None:
        """Make the chain, empty where a killed process has left one; SourceError."""
        jump = ["POSTROUTING", "-p", "tcp", "-j", self._chain]
        for program in PROGRAMS.values():
            # Naming a chain in a restore makes it, and flushes it if it is there.
            why = _run([f"{program}-restore", "--noflush", "-w"], self._script([]))
            if why is None and _run([program, "-w", "-t", "nat", "-C", *jump]) is not None:
                why = _run([program, "-w", "-t", "nat", "-I", *jump])
            if why is not None:
                raise SourceError(f"source iptables: {why}; it needs iptables and CAP_NET_ADMIN")
        self._conntrack = Conntrack()

    def close(self) -> None:
        """Take the chain away."""
        if self._conntrack is not None:
            self._conntrack.close()
            self._conntrack = None
        for program in PROGRAMS.values():
            nat = [program, "-w", "-t", "nat"]
            _run([*nat, "-D", "POSTROUTING", "-p", "tcp", "-j", self._chain])
            _run([*nat, "-F", self._chain])
            _run([*nat, "-X", self._chain])

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
        self._pending = False
        adding = [one for one in self._adding if not one.over]
        removing, self._adding, self._removing = self._removing, [], []
        for version, program in PROGRAMS.items():
            new = [one for one in adding if one.version == version]
            old = [one for one in removing if one.version == version and one.made]
            if not new and not old:
                continue
            if self._conntrack is not None:
                self._conntrack.forget([(one.peer, one.decoy) for one in new])
            lines = [f"-A {self._chain} {_rule(one)}" for one in new]
            lines += [f"-D {self._chain} {_rule(one)}" for one in old]
            why = _run([f"{program}-restore", "--noflush", "-w"], _restore(lines))
            for one in new:
                one.made = why is None
                one.go(why)
        for one in removing:
            self._reserved.free(one)

    def _script(self, lines: Sequence[str]) -> str:
        return _restore([f":{self._chain} - [0:0]", *lines])


def _rule(one: Mapping) -> str:
    # All values are addresses and ports that were parsed; none can hold a space.
    return (
        f"-s {one.local[0]} -d {one.decoy[0]} -p tcp --sport {one.local[1]} "
        f"--dport {one.decoy[1]} -j SNAT --to-source {show_ends(one.peer)}"
    )


def _restore(lines: Sequence[str]) -> str:
    return "\n".join(["*nat", *lines, "COMMIT", ""])


def _run(argv: Sequence[str], script: str = "") -> str | None:
    """Run a program to its end; None, or what went wrong."""
    try:
        done = subprocess.run(argv, input=script.encode(), capture_output=True, timeout=30)
    except FileNotFoundError:
        return f"the program {argv[0]} is not installed"
    if done.returncode == 0:
        return None
    return f"{argv[0]}: {done.stderr.decode(errors='replace').strip()[:400]}"
