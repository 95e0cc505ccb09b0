"""Decoys of every kind behind one gateway2: a container, a VM, a namespace; one forwarding logic.

gateway2 ── docker0 ── container   10.1.0.2        behind Docker's own firewall rules
         ── vm0     ── VM          172.16.30.2
         ── inner0  ── namespace   192.168.110.2
"""

from __future__ import annotations

import itertools

import pytest

from fixtures.chain import ATTACKER, DECOY, GATEWAY1, GATEWAY2, LEG_PORT, Chain
from fixtures.programs import bracketed
from tests.netns.proxies.conftest import Started

pytestmark = [
    pytest.mark.netns,
    pytest.mark.tool("nft", "iptables", "nginx", "curl"),
    pytest.mark.xdist_group("chain-decoys"),
]

KINDS = {
    "container": {4: "10.1.0.2", 6: "fd00:10:1::2"},
    "vm": {4: "172.16.30.2", 6: "fd00:30::2"},
    "namespace": DECOY,
}
_ports = itertools.count(27_000)

DOCKER = [
    "-t nat -A POSTROUTING -s 10.1.0.0/16 ! -o docker0 -j MASQUERADE",
    "-P FORWARD DROP",
    "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
]
"""What dockerd sets up on its host for a network, in its words."""


@pytest.fixture(scope="module")
def kinds(chain: Chain) -> Chain:
    """The chain with a container and a VM beside the decoy, each with nginx."""
    lab = chain.lab
    container, machine = lab.namespace("container"), lab.namespace("vm")
    docker0 = lab.bridge(chain.gateway2, "docker0")
    lab.address(chain.gateway2, "docker0", "10.1.0.1/16", "fd00:10:1::1/64")
    lab.attach(container, "eth0", docker0, addresses=["10.1.0.2/16", "fd00:10:1::2/64"])
    lab.connect(
        (chain.gateway2, "vm0", ["172.16.30.1/24", "fd00:30::1/64"]),
        (machine, "eth0", ["172.16.30.2/24", "fd00:30::2/64"]),
    )
    for place, kind, via in (
        (container, "container", ("10.1.0.1", "fd00:10:1::1")),
        (machine, "vm", ("172.16.30.1", "fd00:30::1")),
    ):
        for default, gateway in zip(("0.0.0.0/0", "::/0"), via, strict=True):
            lab.route(place, default, interface="eth0", via=gateway)
        chain.serve_http(place, list(KINDS[kind].values()))
    for rule in DOCKER:
        chain.gateway2.run(["iptables", *rule.split()])
    return chain


@pytest.mark.parametrize("source", ["nftables", "iptables", "transparent"])
def test_each_kind_of_decoy_sees_the_peer(kinds: Chain, started: Started, source: str) -> None:
    chain = kinds
    ports = {kind: LEG_PORT + at for at, kind in enumerate(KINDS)}
    legs = [
        {
            "address": f"{GATEWAY2[4]}:{ports[kind]}",
            "decoy": [bracketed((address, 80)) for address in addresses.values()],
        }
        for kind, addresses in KINDS.items()
    ]
    two = {"listen": legs, "trusted": [GATEWAY1[4]], "source": source}
    chain.file(
        "rules.yaml",
        {
            "decoys": {kind: {"gateway2": f"{GATEWAY2[4]}:{port}"} for kind, port in ports.items()},
            "rules": [
                {
                    "agent": "edge",
                    "listen": [bracketed((address, port)) for address in DECOY.values()],
                    "decoy": kind,
                }
                for kind, port in ports.items()
            ],
        },
    )
    started(
        chain.start_gateway(chain.gateway2, chain.file("gateway2.yaml", {"gateway2": two})),
        chain.start_gateway(chain.gateway1, chain.gateway1_file()),
        chain.start_agent(chain.agent_file()),
    )
    chain.wait(chain.gateway2, *ports.values())
    chain.wait_agent(*ports.values())
    for kind, addresses in KINDS.items():
        for family in (4, 6):
            own = next(_ports)
            seen = chain.whom(family, own, to=ports[kind])
            assert seen == f"{ATTACKER[family]} {own}", kind
            line = chain.wait_line("gateway2", peer=bracketed((ATTACKER[family], own)))
            assert line["to"] == bracketed((addresses[family], 80))
