"""Privileges, kernel, clock and directories: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.doctor.finding import Finding, fail, ok, warn

NEEDED: Final = ("CAP_NET_ADMIN", "CAP_NET_RAW")

MIB: Final = 1 << 20
LEAST_FREE: Final = 64 * MIB
"""With less than this free a burst of events fills the rest within a minute."""
LITTLE_FREE: Final = 1024 * MIB
LITTLE_INODES: Final = 1000


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that the service writes to; `used_for` is a clause.

    `path` may not be there yet: then the nearest that is was looked at (`exists` False).
    `error`: why it cannot be written to by whoever asks, or None. `user`: who that is.
    """

    path: str
    used_for: str
    exists: bool
    error: str | None
    user: str
    free_bytes: int | None = None
    free_inodes: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine offers whoever asks. Each `*_error` is a clause, None where all is well."""

    capabilities: frozenset[str]
    user: str
    release: str
    ring_error: str | None
    tun_error: str | None
    drop_error: str | None
    clock_synchronised: bool | None
    directories: Sequence[Directory] = ()
    run_as: str | None = None
    run_as_error: str | None = None


def findings(machine: Machine, *, makes_tap: bool, service_runs: bool) -> Iterator[Finding]:
    """All about the machine. `service_runs`: it has its privileges, whatever we have."""
    yield from _privileges(machine, service_runs)
    yield from _kernel(machine, makes_tap)
    yield from _clock(machine)
    for directory in machine.directories:
        yield from _directory(directory)


def of_workers(machine: Machine) -> Iterator[Finding]:
    """All about the machine that workers need, who capture nothing."""
    yield from _clock(machine)
    for directory in machine.directories:
        yield from _directory(directory)


def _privileges(machine: Machine, service_runs: bool) -> Iterator[Finding]:
    topic = "privileges"
    missing = [name for name in NEEDED if name not in machine.capabilities]
    if not missing:
        yield ok(topic, f"{machine.user} has {' and '.join(NEEDED)}")
    elif service_runs:
        yield warn(
            topic,
            f"{machine.user} lacks {' and '.join(missing)}: the service runs, but not all of it "
            "can be looked at",
            "run peeltap doctor as root",
        )
    else:
        yield fail(
            topic,
            f"{machine.user} lacks {' and '.join(missing)}, without which nothing is captured or "
            "injected",
            "run as root, or by the systemd unit, which gives these two (AmbientCapabilities=)",
        )
    if machine.run_as_error is not None:
        yield fail(
            topic,
            f"run_as: {machine.run_as}: {machine.run_as_error}",
            "make the user (useradd --system NAME), or name another",
        )


def _kernel(machine: Machine, makes_tap: bool) -> Iterator[Finding]:
    topic = "kernel"
    found = False
    if machine.ring_error is not None:
        found = True
        yield fail(
            topic,
            f"no capture ring: {machine.ring_error}",
            "it needs CAP_NET_RAW, CONFIG_PACKET, and TPACKET_V3 (Linux 3.2)",
        )
    if makes_tap and machine.tun_error is not None:
        found = True
        yield fail(
            topic,
            f"no tap can be made: {machine.tun_error}",
            "modprobe tun; in a container, pass /dev/net/tun to it; chmod 0666 /dev/net/tun, as "
            "udev does",
        )
    if makes_tap and machine.drop_error is not None:
        found = True
        yield warn(
            topic,
            f"nftables cannot drop what arrives on the tap: {machine.drop_error}",
            "modprobe nf_tables (CONFIG_NF_TABLES_NETDEV); otherwise BPF does it, for which the "
            "service must be started with CAP_BPF",
        )
    if not found:
        what = "capture ring, tap and drop are there" if makes_tap else "the capture ring is there"
        yield ok(topic, f"Linux {machine.release}: {what}")


def _clock(machine: Machine) -> Iterator[Finding]:
    topic = "clock"
    if machine.clock_synchronised:
        yield ok(topic, "it is synchronised")
    elif machine.clock_synchronised is None:
        yield warn(topic, "the kernel does not tell whether it is right", "compare it by hand")
    else:
        yield warn(
            topic,
            "nobody keeps it right: events' times will not agree with other machines'",
            "run chrony or systemd-timesyncd",
        )


def _directory(directory: Directory) -> Iterator[Finding]:
    topic, path, used_for = "directories", directory.path, directory.used_for
    if directory.error is not None:
        yield fail(
            topic,
            f"{path} ({used_for}) cannot be written to by {directory.user}: {directory.error}",
            f"install -d -o {directory.user} {path}",
        )
        return
    free = directory.free_bytes
    if free is not None and free < LEAST_FREE:
        yield fail(
            topic,
            f"{path} ({used_for}) has {free // MIB} MiB free",
            "make room, or put it on another file system",
        )
    elif free is not None and free < LITTLE_FREE:
        yield warn(
            topic,
            f"{path} ({used_for}) has only {free // MIB} MiB free",
            "make room, and have logs rotated",
        )
    elif directory.free_inodes is not None and directory.free_inodes < LITTLE_INODES:
        yield warn(
            topic,
            f"{path} ({used_for}) has only {directory.free_inodes} inodes free",
            "remove files; bytes are not what is lacking",
        )
    else:
        made = "" if directory.exists else "; it will be made"
        room = "" if free is None else f", {free / (1 << 30):.1f} GiB free"
        yield ok(topic, f"{path} ({used_for}) is writable{room}{made}")
