"""The demo's machines: each a network namespace, but for the host, which is the world's own.

The setup stage makes them all, with what joins them, the firewalls, and the tap, from a topology
file: fixtures/topologies/demo.yaml. What is named here is what the play has to know of it.

    scanner  203.0.113.7      ┐
    guesser  198.51.100.23    ├─ internet ─┬──────── host: gateway1 ─ br1 ─┬─ vm1: gateway2, nginx
    robot    2001:db8:bad::7  │            │          │                    └─ vm2: gateway2, sshd,
    visitor  192.0.2.44       ┘            └─ agent ──┘                            SMTP server

The virtual addresses of vm1's decoy are the host's own, gateway1 accepts them itself; those of
vm2's lie on another machine, whose agent hands them to gateway1. Who comes from outside has an
address of those that are for documentation (RFC 5737, RFC 3849).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diversion.namespaces import Space, World
from pipeline import setup, topology_file
from pipeline.demo.offline import FIXTURES
from pipeline.topology_file import TopologyFile

Ends = tuple[str, int]
"""An address and a port."""

TOPOLOGY: Final = FIXTURES / "topologies" / "demo.yaml"

APPLIED: Final = "topology.yaml"
"""What of it was applied, in the world's directory."""

TAP: Final = "vtap0"
BRIDGE: Final = "br1"
GATEWAY1: Final = "172.16.23.1"
"""The host's address on br1: whom Suricata blames for everything."""
AGENT: Final = "172.16.24.2"
GATEWAY1_FOR_AGENT: Final = "172.16.24.1"

OUTSIDE: Final = {
    "scanner": "203.0.113.7",
    "guesser": "198.51.100.23",
    "robot": "2001:db8:bad::7",
    "visitor": "192.0.2.44",
}
"""Who comes from outside, and his address."""

VMS: Final = {"vm1": "172.16.23.2", "vm2": "172.16.23.3"}
"""gateway2's address on br1, in each VM."""

DECOYS: Final = {"vm1": ("192.168.110.2", "2001:db8:110::2"), "vm2": ("192.168.120.2",)}
"""The addresses that attackers know: of the decoy in the VM, and virtual ones outside of it."""


@dataclass(frozen=True)
class Service:
    """One service of a decoy, and its way: accepted by gateway1 or by the agent, then over br1."""

    name: str
    decoy: Ends
    vm: str
    leg_port: int
    agent: bool = False

    @property
    def leg(self) -> Ends:
        """Where gateway2 listens for it."""
        return VMS[self.vm], self.leg_port


SERVICES: Final = (
    Service("http", (DECOYS["vm1"][0], 80), "vm1", 9080),
    Service("https", (DECOYS["vm1"][0], 443), "vm1", 9443),
    Service("http6", (DECOYS["vm1"][1], 80), "vm1", 9680),
    Service("ssh", (DECOYS["vm2"][0], 22), "vm2", 9022, agent=True),
    Service("smtp", (DECOYS["vm2"][0], 25), "vm2", 9025, agent=True),
)


@dataclass(frozen=True)
class Network:
    """The machines, by name, and the file that they were made from."""

    world: World
    spaces: dict[str, Space]
    topology: TopologyFile | None = None
    steps: int = 0
    """How many the setup stage has taken."""

    @property
    def host(self) -> Space:
        """Where br1, gateway1, Peeltap and both Suricatas are."""
        return self.world.host

    @property
    def real_tap(self) -> bool:
        """Whether vtap0 is a tap; a pair's end where this user may make none."""
        tap = self.topology.settings.tap if self.topology is not None else None
        return tap is not None and tap.kind == "tap"


def build(world: World) -> Network:
    """Make the machines and join them; nothing runs on them yet.

    The topology file, as it was applied, and the setup stage's journal are in the world's
    directory. Raises ConfigError, RunError.
    """
    file = _topology(world.directory / APPLIED)
    made = setup.up(file, journals(world))
    spaces = {name: world.named(name) for name in file.settings.machines}
    return Network(world, {"host": world.host, **spaces}, file, len(made.steps))


def take_back(network: Network) -> None:
    """Unmake them; what runs in them goes on until it ends. Raises RunError."""
    if network.topology is not None:
        setup.down(network.topology, journals(network.world))
        shutil.rmtree(journals(network.world))


def journals(world: World) -> Path:
    """Where the setup stage has its journal."""
    return world.directory / "setup"


def _topology(path: Path) -> TopologyFile:
    """The file as it fits this machine, written to `path`."""
    text = TOPOLOGY.read_text()
    if not _makes_taps():
        text = text.replace("kind: tap", "kind: veth")
    path.write_text(text)
    return topology_file.load(path)


def _makes_taps() -> bool:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
