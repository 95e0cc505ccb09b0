"""BGP EVPN by FRR: what it is told, its life, and how its sessions are.

    vteps, frr ──> bgpd.conf ──> zebra, bgpd (`frr_daemons`) ──> the kernel's forwarding tables
                                      └── sessions, asked with vtysh

RFC 7432 and RFC 8365: each host tells the others which MACs, and which addresses, are behind its
VTEPs, so that none has to be learned from frames that are flooded.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from diversion.setup import SetupError, frr_daemons
from diversion.setup.firewall.nft import Runner
from diversion.setup.settings import FrrSettings
from diversion.setup.things import Routing

_PACKAGE: Final = "apt-get install frr"
_FILE: Final = "bgpd.conf"

# Of a file of the daemons: a thousand neighbours take a tenth of it.
_LONGEST: Final = 1 << 20

# FRR's directory for the last words of each process; watchfrr leaves an empty one behind.
_CRASHES: Final = Path("/var/tmp/frr")  # noqa: S108


def configuration(name: str, settings: FrrSettings) -> str:
    """What bgpd is told, in its own words.

    FRR's profile `datacenter` has short timers, and takes and tells routes without a policy for
    each; all VNIs of the host are told.
    """
    lines = [
        "frr defaults datacenter",
        f"hostname {name}",
        "log syslog warnings",
        f"router bgp {settings.asn}",
        f" bgp router-id {settings.router_id}",
        " no bgp default ipv4-unicast",
    ]
    for one in settings.neighbours:
        lines.append(f" neighbor {one.address} remote-as {one.asn or settings.asn}")
    lines.append(" address-family l2vpn evpn")
    lines += [f"  neighbor {one.address} activate" for one in settings.neighbours]
    lines.append("  advertise-all-vni")
    if not settings.flood:
        lines.append("  flooding disable")
    return "\n".join([*lines, " exit-address-family", "exit"]) + "\n"


def obstacle(name: str) -> str | None:
    """What stands in the way of the topology's daemons, and what helps."""
    if not (frr_daemons.PROGRAMS / "watchfrr").exists() or shutil.which("vtysh") is None:
        return f"FRR is not installed; {_PACKAGE}"
    own = frr_daemons.space(name)
    for one in frr_daemons.processes():
        if one.space == own and not one.here:
            what = f"FRR runs for a topology {name} in another network of this host"
            return f"{what} (process {one.pid}); take another name"
        if one.program == "zebra" and one.space != own and one.here:
            whose = f"of {one.space}" if one.space else "this host's own"
            return (
                f"zebra runs in this network already ({whose}, process {one.pid}), and two change "
                "each other's routes; end it (systemctl disable --now frr), or write what frr has "
                "here into its configuration"
            )
    return None


def look(name: str) -> Routing | None:
    """The daemons that run, with what they were told: nothing if one of them is missing."""
    running = {one.program for one in frr_daemons.of(name)} - {frr_daemons.JOB}
    if not running:
        return None
    whole = running == set(frr_daemons.ALL)
    return Routing("", name, _read(name, _FILE) if whole else "")


def start(thing: Routing) -> None:
    """Write the configuration and start the daemons and their watcher; SetupError with a reason."""
    name = thing.name
    if frr_daemons.of(name):
        raise SetupError(f"FRR's daemons of {name} run already", was_there=True)
    files = {"zebra.conf": f"hostname {name}\nlog syslog warnings\n", _FILE: thing.bgpd}
    try:
        user = pwd.getpwnam("frr")
        _remove(name)
        frr_daemons.RUN.mkdir(mode=0o755, exist_ok=True)
        frr_daemons.directory(name).mkdir(mode=0o750)
        with _opened(name) as here:
            for file, text in files.items():
                _write(here, file, text, user)
            os.fchown(here, user.pw_uid, user.pw_gid)
        for program in frr_daemons.WATCHED:
            frr_daemons.launch(name, program)
        starter = frr_daemons.watch(name)
        with _opened(name) as here:
            _write(here, "starter", str(starter))
    except KeyError:
        raise SetupError(f"there is no user frr; {_PACKAGE}") from None
    except (OSError, SetupError):
        stop(thing)
        raise


@contextlib.contextmanager
def _opened(name: str) -> Iterator[int]:
    """The directory of the daemons: /run/frr is not root's, so what is written goes to no link."""
    where = frr_daemons.directory(name)
    here = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield here
    finally:
        os.close(here)


def _write(here: int, file: str, text: str, user: pwd.struct_passwd | None = None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags, 0o640, dir_fd=here), "w") as opened:
        opened.write(text)
        if user is not None:
            os.fchown(opened.fileno(), user.pw_uid, user.pw_gid)


def _read(name: str, file: str) -> str:
    """A file of the directory; empty where there is none, or another thing in its place."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with _opened(name) as here, os.fdopen(os.open(file, flags, dir_fd=here), "rb") as opened:
            return opened.read(_LONGEST).decode(errors="replace")
    except OSError:
        return ""


def stop(thing: Routing) -> None:
    """End them, and remove their files."""
    frr_daemons.end(thing.name)
    if left(thing.name):
        _remove(thing.name)


def left(name: str) -> bool:
    """Whether there is anything of the topology's daemons in this network."""
    everywhere = [one for one in frr_daemons.processes() if one.space == frr_daemons.space(name)]
    if everywhere:
        return any(one.here for one in everywhere)
    return frr_daemons.directory(name).exists()


def _remove(name: str) -> None:
    starter = _read(name, "starter")
    if starter.isascii() and starter.isdigit():
        shutil.rmtree(_CRASHES / f"watchfrr.{starter}", ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(frr_daemons.directory(name))


# --- Sessions -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """A neighbour as bgpd sees it; `seconds` since when, None if never; routes taken from it."""

    neighbour: str
    state: str
    seconds: int | None = None
    routes: int = 0

    @property
    def stands(self) -> bool:
        """Whether routes are told over it."""
        return self.state == "Established"


def sessions(run: Runner, name: str, neighbours: Iterable[str]) -> list[Session]:
    """Ask bgpd for its sessions with these neighbours."""
    words = "show bgp l2vpn evpn summary json"
    asked = list(neighbours)
    try:
        peers = json.loads(run("", ["vtysh", "-N", frr_daemons.space(name), "-c", words]))
        return [_session(address, peers.get("peers", {}).get(address, {})) for address in asked]
    except (SetupError, ValueError, AttributeError, TypeError):
        return [Session(address, "bgpd does not answer") for address in asked]


def _session(address: str, peer: dict[str, Any]) -> Session:
    since = int(peer.get("peerUptimeMsec") or 0) // 1000
    ever = peer.get("peerUptime", "never") != "never"
    routes = int(peer.get("pfxRcd") or 0)
    state = str(peer.get("state", "unknown to bgpd"))
    return Session(address, state, since if ever else None, routes)


def commands(thing: Routing, *, add: bool) -> list[str]:
    """What a person would have typed."""
    here = frr_daemons.directory(thing.name)
    if not add:
        ended = " ".join(f"$(cat {here}/{one}.pid)" for one in frr_daemons.ALL)
        return [f"kill {ended}", f"rm -r {here}"]
    of_space = f"-d -N {frr_daemons.space(thing.name)}"
    lines = [
        f"install -d -o frr -g frr {here}",
        f"cat > {here}/bgpd.conf <<'END'",
        *thing.bgpd.splitlines(),
        "END",
        f"echo hostname {thing.name} > {here}/zebra.conf",
    ]
    for one in frr_daemons.WATCHED:
        lines.append(f"{frr_daemons.PROGRAMS}/{one} {of_space} -f {here}/{one}.conf")
    watched = " ".join(frr_daemons.WATCHED)
    return [*lines, f"{frr_daemons.PROGRAMS}/watchfrr {of_space} {watched}"]
