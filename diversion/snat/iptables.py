"""SNAT by iptables: a rule a connection, in a chain of its own; for hosts without nftables.

Each round's changes are one `iptables-restore --noflush`, some milliseconds in which nothing else
happens, and the kernel tries the rules one after the other: fit for hundreds of connections at a
time. With nftables there is one rule, whatever their number.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence

from diversion.proxy.addresses import Ends, show_ends
from diversion.proxy.loop import Loop
from diversion.snat.claim import Claim
from diversion.snat.conntrack import Conntrack
from diversion.snat.reserve import Mapping, Reservations, tell
from diversion.snat.source import Go, Lease, SourceError

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
        self._name = name
        self._claim = Claim(self._chain)

    @property
    def port_changed(self) -> int:
        """As of a `Source`."""
        return self._reserved.port_changed

    def open(self) -> None:
        """Make the chain, empty where a killed process has left one; SourceError."""
        if not self._claim.take():
            raise SourceError(
                f"source iptables: another gateway2 of the name {self._name} runs in this network "
                "namespace; give one of them another `name`"
            )
        jump = ["POSTROUTING", "-p", "tcp", "-j", self._chain]
        for program in PROGRAMS.values():
            # Naming a chain in a restore makes it, and flushes it if it is there.
            why = _run([f"{program}-restore", "--noflush", "-w"], self._script([]))
            if why is None and _run([program, "-w", "-t", "nat", "-C", *jump]) is not None:
                why = _run([program, "-w", "-t", "nat", "-I", *jump])
            if why is not None:
                raise SourceError(f"source iptables: {why}; it needs iptables and CAP_NET_ADMIN")
        self._reserved.open()
        self._conntrack = Conntrack()

    def close(self) -> None:
        """Take the chain away."""
        if self._conntrack is not None:
            self._conntrack.close()
            self._conntrack = None
        if not self._claim.held:
            return  # the chain may be another process's
        for program in PROGRAMS.values():
            nat = [program, "-w", "-t", "nat"]
            _run([*nat, "-D", "POSTROUTING", "-p", "tcp", "-j", self._chain])
            _run([*nat, "-F", self._chain])
            _run([*nat, "-X", self._chain])
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
        return Lease(lambda: self._over(mapping))

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
        try:
            for version, program in PROGRAMS.items():
                new = [one for one in adding if one.version == version]
                old = [one for one in removing if one.version == version and one.made]
                if new or old:
                    self._change(program, new, old)
        finally:
            for one in removing:
                # What is put back keeps its place until its rule is gone.
                if one not in self._removing:
                    self._reserved.free(one)

    def _change(self, program: str, new: Sequence[Mapping], old: Sequence[Mapping]) -> None:
        try:
            if self._conntrack is not None:
                self._conntrack.forget(
                    [(one.peer, one.decoy) for one in new], [(one.local, one.decoy) for one in new]
                )
        except OSError as error:
            tell(self._loop, new, f"conntrack: {error.strerror or error}")
            new = []
        restore = [f"{program}-restore", "--noflush", "-w"]
        add = [f"-A {self._chain} {_rule(one)}" for one in new]
        delete = [f"-D {self._chain} {_rule(one)}" for one in old]
        why = _run(restore, _restore(delete + add)) if delete or add else None
        if why is not None and old:
            # One rule that somebody has taken away undoes the whole.
            left = [one for one in old if not self._delete(program, one)]
            # They are tried again with the next change; until then a new one might meet them.
            self._removing += left
            if add and not left:
                why = _run(restore, _restore(add))
        for one in new:
            one.made = why is None
        tell(self._loop, new, why)

    def _delete(self, program: str, one: Mapping) -> bool:
        """Whether its rule is gone now."""
        nat = [program, "-w", "-t", "nat"]
        rule = [self._chain, *_rule(one).split()]
        return _run([*nat, "-D", *rule]) is None or _run([*nat, "-C", *rule]) is not None

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
    except subprocess.TimeoutExpired:
        return f"{argv[0]} does not end"
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    if done.returncode == 0:
        return None
    return f"{argv[0]}: {done.stderr.decode(errors='replace').strip()[:400]}"
