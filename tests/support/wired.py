"""Machines of a world, joined as a topology file says."""

from __future__ import annotations

from diversion.namespaces import Space, World
from pipeline import setup, topology_file

BRIDGED = """
name: wired
bridges:
  br1: {addresses: [172.16.23.1/24, "2001:db8::1/64"]}
machines:
  one:
    interfaces: {eth0: {on: br1, addresses: [172.16.23.2/24, "2001:db8::2/64"]}}
    low_ports: true
  other:
    interfaces: {eth0: {on: br1, addresses: [172.16.23.3/24, "2001:db8::3/64"]}}
    low_ports: true
"""
"""Two machines and the host, on a bridge."""


def wired(world: World, text: str = BRIDGED) -> dict[str, Space]:
    """Make what the topology file says; the machines, by name."""
    file = topology_file.parse(text, "wired.yaml")
    setup.up(file, world.directory / "setup")
    return {name: world.named(name) for name in file.settings.machines}
