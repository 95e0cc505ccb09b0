"""What the proxies need: who may connect, and the way back to sockets in peers' names."""

from __future__ import annotations

import pytest

from tests.support.plumbing import ATTACKER, ROOT, plumbed, with_backend

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft", "iptables", "ipset")]

EXAMPLE = ROOT / "fixtures/topologies/proxies.yaml"

# A connection to a decoy, made with the peer's address as gateway2 makes it (IP_TRANSPARENT).
AS_PEER = f"""
import socket
with socket.socket() as made:
    made.settimeout(60)
    made.setsockopt(socket.IPPROTO_IP, 19, 1)
    made.bind(("{ATTACKER}", 0))
    made.connect(("172.16.23.2", 80))
    print(made.recv(100).decode(), end="")
"""


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_a_decoy_answers_a_peer_and_gateway2_gets_it(backend: str) -> None:
    with plumbed() as host:
        host.serve(host.vms[0], 80)
        topology = host.written("proxies.yaml", with_backend(EXAMPLE, backend))
        assert host.setup("up", topology)["state"] == "up"
        python = ["env", f"--chdir={ROOT}", f"{ROOT}/.venv/bin/python", "-c", AS_PEER]
        assert host.host.run(python).decode() == f"{ATTACKER}\n"
        # gateway1 and gateway2 accept whom they are told to, and nobody else.
        host.serve(host.host, 7000, 9000)
        assert host.ask(host.attacker, "203.0.113.1", 7000) == ATTACKER
        host.lab.address(host.attacker, "eth0", "203.0.113.66/24")
        stranger = ("-s", "203.0.113.66")
        assert host.ask(host.attacker, "203.0.113.1", 7000, *stranger, answers=False) == ""
        assert host.ask(host.host, "172.16.23.1", 9000) == "172.16.23.1"
        assert host.ask(host.vms[0], "172.16.23.1", 9000, answers=False) == ""
        undone = host.setup("down", topology)
        assert undone["again"] == undone["trace"] == []
        assert undone["state"] == "up"
