"""Virtual addresses: the attacker reaches the service by them, the service sees the attacker."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from fixtures.netns import Namespace
from tests.support.plumbing import ATTACKER, ROOT, Host, plumbed, with_backend

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft", "iptables", "ipset")]

EXAMPLES = ROOT / "fixtures/topologies"
BACKENDS = ("nftables", "iptables")


def _mac(client: Namespace, address: str) -> str:
    neighbours = json.loads(client.run(["ip", "-j", "neigh", "show", address]))
    return str(neighbours[0]["lladdr"])


def _sent(namespace: Namespace, link: str) -> int:
    [told] = json.loads(namespace.run(["ip", "-j", "-s", "link", "show", link]))
    return int(told["stats64"]["tx"]["packets"])


@pytest.fixture(scope="module")
def one_vm() -> Iterator[Host]:
    with plumbed() as host:
        host.serve(host.vms[0], 22, 80, 81, 8005)
        yield host


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_style_leads_to_the_service_and_keeps_the_attackers_address(
    one_vm: Host, backend: str
) -> None:
    topology = one_vm.written("virtual.yaml", with_backend(EXAMPLES / "virtual.yaml", backend))
    made = one_vm.setup("up", topology)
    assert made["done"] == made["planned"]
    assert made["state"] == "up"
    attacker = one_vm.attacker
    # The bridge's own MAC is that of its lowest port, and another one each time.
    attacker.run(["ip", "neigh", "flush", "all"])
    for address, port, answer in (
        ("203.0.113.10", 22, ATTACKER),
        ("203.0.113.10", 80, ATTACKER),
        ("203.0.113.10", 8005, ATTACKER),
        ("203.0.113.10", 81, ""),
        ("203.0.113.20", 80, ATTACKER),
        ("203.0.113.21", 80, ATTACKER),
        ("203.0.113.21", 22, ""),
        ("203.0.113.30", 80, ATTACKER),
    ):
        said = one_vm.ask(attacker, address, port, answers=bool(answer))
        assert said == answer, (address, port)
    # An address with a MAC of its own is answered from it as well.
    assert _mac(attacker, "203.0.113.10") == "02:50:cb:00:71:0a"
    assert _mac(attacker, "203.0.113.30") == "02:50:cb:00:71:1e"
    assert _mac(attacker, "203.0.113.21") == _mac(attacker, "203.0.113.20")
    assert _sent(one_vm.host, "pvcb00710a") > 8
    assert _sent(one_vm.host, "ptcb00711e") > 2
    undone = one_vm.setup("down", topology)
    assert undone == {"again": [], "state": "up", "after": "down", "trace": [], "files": ["lock"]}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_duplicate_of_a_vms_address_on_the_outer_network_changes_nothing(backend: str) -> None:
    with plumbed(vms=2) as host:
        for vm in host.vms:
            host.serve(vm, 80)
        # The outer network has the VM's address as well, and serves something else there.
        host.lab.address(host.attacker, "eth0", "172.16.23.2/24")
        host.serve(host.attacker, 8080)
        topology = host.written("vms.yaml", with_backend(EXAMPLES / "vm-network.yaml", backend))
        assert host.setup("up", topology)["state"] == "up"
        for address in ("203.0.113.12", "203.0.113.13"):
            assert host.ask(host.attacker, address, 80, "-s", ATTACKER) == ATTACKER
        # The host itself, too, finds the VM and not the duplicate.
        assert host.ask(host.host, "172.16.23.2", 80) == "172.16.23.1"
        assert host.ask(host.host, "172.16.23.2", 8080, answers=False) == ""
        undone = host.setup("down", topology)
        assert undone["again"] == undone["trace"] == []
