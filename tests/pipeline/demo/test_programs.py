"""The demo's programs: what is missing is named, and headers stand only where they are peeled."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from diversion.namespaces import NamespaceError, World
from pipeline.demo import programs
from pipeline.demo.network import AGENT, DECOYS, GATEWAY1, SERVICES, TAP, build
from tests.support import ordinary

pytestmark = pytest.mark.tool("haproxy")


def test_what_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    here = shutil.which
    absent = {"haproxy", "ssh", "ssh-keygen"}
    monkeypatch.setattr(
        shutil, "which", lambda name, path=None: None if name in absent else here("true")
    )
    assert programs.missing() == (
        "haproxy, ssh, ssh-keygen not installed (Debian: apt-get install haproxy openssh-client)"
    )
    absent = {"dumpcap"}
    assert programs.missing() is None
    assert programs.missing("dumpcap") == "dumpcap not installed (Debian: apt-get install tshark)"


def test_a_header_that_is_sent_is_accepted_at_the_other_end() -> None:
    every = [hop for place in programs.PROXIES for hop in programs.hops(place)]
    accepting = {hop.listen for hop in every if hop.accepts}
    assert {hop.to for hop in every if hop.sends} == accepting
    assert len({hop.listen for hop in every}) == len(every)


def test_every_service_is_reached_through_its_proxies() -> None:
    outer = {hop.listen: hop for place in ("host", "agent") for hop in programs.hops(place)}
    inner = {hop.listen: hop for vm in DECOYS for hop in programs.hops(vm)}
    for service in SERVICES:
        hop = outer[service.decoy]
        if service.agent:
            hop = outer[hop.to]
        assert hop.to == service.leg
        assert inner[hop.to].to == service.decoy


def chain(world: World) -> int:
    """What gateway2's machine is sent over br1, byte by byte, and what comes out in front of it."""
    network = build(world)
    for place in ("host", "agent"):
        programs.haproxy(network.spaces[place], programs.hops(place))
    [ssh] = [service for service in SERVICES if service.name == "ssh"]
    with network.spaces[ssh.vm].entered():
        door = socket.create_server(ssh.leg)
    with network.spaces["guesser"].entered():
        caller = socket.create_connection(ssh.decoy, 5, ("198.51.100.23", 40000))
    met, peer = door.accept()
    caller.sendall(b"hello")
    data = b""
    while not data.endswith(b"hello"):
        data += met.recv(4096)
    print(peer[0] == GATEWAY1, data[:12].hex(), data[12:16].hex())
    print(socket.inet_ntoa(data[16:20]), socket.inet_ntoa(data[20:24]), AGENT)
    print(int.from_bytes(data[24:26]), int.from_bytes(data[26:28]), data[28:])
    return 0


@pytest.mark.netns
def test_the_leg_carries_one_header_that_names_the_attacker() -> None:
    assert ordinary.in_world(__name__, "chain").splitlines() == [
        "True 0d0a0d0a000d0a515549540a 2111000c",
        "198.51.100.23 192.168.120.2 172.16.24.2",
        "40000 22 b'hello'",
    ]


def serve(world: World) -> int:
    """The decoys answer in their own machines."""
    network = build(world)
    programs.decoys(network)
    for vm in DECOYS:
        print(vm, sorted(network.spaces[vm].listening()))
    web = network.spaces["vm1"].command(["curl", "-s", "http://[2001:db8:110::2]/"])
    print(subprocess.check_output(web, text=True).strip())
    with network.spaces["vm2"].entered():
        for port in (22, 25):
            with socket.create_connection(("192.168.120.2", port), 5) as caller:
                print(caller.recv(100).decode().split()[0])
    return 0


@pytest.mark.netns
def test_the_decoys_serve() -> None:
    said = ordinary.in_world(__name__, "serve").splitlines()
    assert said[:3] == [
        "vm1 [80, 443]",
        "vm2 [22, 25]",
        "<html><title>Intranet</title><p>Staff only.</html>",
    ]
    assert said[3].startswith("SSH-2.0-OpenSSH")
    assert said[4] == "220"


def broken(world: World) -> int:
    """A proxy that cannot start says why."""
    network = build(world)
    hop = programs.Hop(("203.0.113.200", 80), ("172.16.23.2", 80))
    try:
        programs.haproxy(network.host, [hop])
    except NamespaceError as error:
        print(error)
    return 0


@pytest.mark.netns
def test_a_program_that_does_not_start_is_told_with_its_last_words() -> None:
    said = ordinary.in_world(__name__, "broken")
    assert said.startswith("host: haproxy ended with 1: ")


def configure(world: World) -> int:
    network = build(world)
    from suricata.settings import SuricataSettings

    settings = SuricataSettings(rules=[Path("/rules")], home_net=["172.16.23.2/32"])
    written = programs.configuration(network, settings, Path("/events.json"))
    print(network.real_tap, (Path("/sys/class/net") / TAP).exists())
    print(written.read_text())
    return 0


@pytest.mark.netns
def test_the_configuration_is_what_an_operator_would_write() -> None:
    said = ordinary.in_world(__name__, "configure")
    assert said.startswith("True True\n")
    whole = yaml.safe_load(said.partition("\n")[2])
    assert [gateway["headers"] for gateway in whole["gateways"]] == [["proxy-v2"]] * 2
    assert whole["capture"] == {"interface": "br1"}
    assert whole["tap"] == {"name": "vtap0"}


@pytest.mark.netns
def test_without_a_tap_there_is_an_interface_to_inject_into() -> None:
    said = ordinary.in_world(__name__, "configure", makes_taps=False)
    assert said.startswith("False True\n")
    assert yaml.safe_load(said.partition("\n")[2])["tap"] == {"interface": "vtap0"}
