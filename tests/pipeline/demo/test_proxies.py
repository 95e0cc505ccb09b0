"""The demo's own proxies: a connection reaches the decoy as the attacker who made it."""

from __future__ import annotations

import subprocess
import time
from functools import partial

import pytest

from diversion.namespaces import World
from pipeline.demo import programs, proxies
from pipeline.demo.network import build
from tests.support import ordinary

pytestmark = [pytest.mark.netns, pytest.mark.tool("haproxy")]


def test_gateway2_of_one_machine_stays_haproxy() -> None:
    stays = programs.PROXIES["vm2"]
    assert isinstance(stays, partial)
    assert (stays.func, stays.keywords) == (programs.haproxy, {"as_peer": True})
    assert {
        "vm1": proxies.gateway2,
        "vm2": stays,
        "host": proxies.gateway1,
        "agent": proxies.agent,
    } == programs.PROXIES


def visits(world: World) -> int:
    """An attack on a virtual address of the host, and one on an address that the agent has."""
    network = build(world)
    programs.decoys(network)
    programs.proxies(network)
    for who, port, address in (
        ("scanner", 40001, "192.168.110.2"),
        ("robot", 40002, "2001:db8:110::2"),
    ):
        get = ["nc", "-N", "-w", "60", "-p", str(port), address, "80"]
        command = network.spaces[who].command(get)
        said = subprocess.run(command, input=b"GET / HTTP/1.0\r\n\r\n", capture_output=True)
        assert b"Staff only" in said.stdout
    mail = ["nc", "-N", "-w", "60", "-p", "40003", "192.168.120.2", "25"]
    command = network.spaces["guesser"].command(mail)
    subprocess.run(command, input=b"QUIT\r\n", check=True, capture_output=True)
    directory = network.world.directory
    for line in (directory / "nginx-access.log").read_text().splitlines():
        print(line.split()[0])
    # One connection of the guesser's, as the agent and as HAProxy behind it have seen it.
    for log, words in (
        ("agent.log", '"198.51.100.23:40003"'),
        ("haproxy-vm2.log", "onward 198.51.100.23:"),
    ):
        while words not in (directory / log).read_text():
            time.sleep(0.05)
        print(log)
    return 0


def test_decoys_see_the_attackers() -> None:
    assert ordinary.in_world(__name__, "visits").splitlines() == [
        "203.0.113.7",
        "2001:db8:bad::7",
        "agent.log",
        "haproxy-vm2.log",
    ]
