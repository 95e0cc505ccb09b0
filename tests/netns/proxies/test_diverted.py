"""Peers that a firewall diverts: one socket for many addresses, at the agent and at gateway1."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from fixtures.chain import AGENT, AGENT6, ATTACKER, DECOY, ENTRY, ENTRY6, LEG_PORT, Chain
from fixtures.netns import Namespace
from fixtures.programs import bracketed
from tests.netns.proxies.conftest import Started

pytestmark = [
    pytest.mark.netns,
    pytest.mark.tool("nft", "iptables", "ipset", "nginx", "curl"),
    pytest.mark.xdist_group("chain-diverted"),
]

_ports = itertools.count(22_000)

PAIRS = [
    (f"198.51.{net}.{host}", port)
    for net in range(100)
    for host in range(1, 101)
    for port in (21, 80, 8080, 9200, 27017)
]


def by_nft(place: Namespace) -> None:
    """50,000 pairs in a set of nftables."""
    script = place.directory / "divert.nft"
    pairs = ",\n".join(f"{address} . {port}" for address, port in PAIRS)
    script.write_text(
        f"table ip divert {{\n  set decoys {{ type ipv4_addr . inet_service; elements = {{ {pairs}"
        " } }\n  chain to { type nat hook prerouting priority dstnat;\n"
        "    ip daddr . tcp dport @decoys redirect to :7001\n  }\n}\n"
    )
    place.run(["nft", "-f", script])


def by_ipset(place: Namespace) -> None:
    """50,000 pairs in an ipset, for iptables."""
    lines = ["create decoys hash:ip,port maxelem 65536"]
    lines += [f"add decoys {address},tcp:{port}" for address, port in PAIRS]
    place.run(["ipset", "restore"], stdin="\n".join(lines).encode() + b"\n")
    rule = ["-p", "tcp", "-m", "set", "--match-set", "decoys", "dst,dst"]
    target = ["-j", "REDIRECT", "--to-ports", "7001"]
    place.run(["iptables", "-t", "nat", "-A", "PREROUTING", *rule, *target])


def undo(place: Namespace) -> None:
    """Both are gone again."""
    for argv in (
        ["nft", "delete", "table", "ip", "divert"],
        ["iptables", "-t", "nat", "-F", "PREROUTING"],
        ["ipset", "destroy"],
    ):
        place.run(argv, ok=range(256))


def test_50_000_addresses_and_ports_are_served_by_one_socket(
    chain: Chain, started: Started
) -> None:
    """A set of 50,000 pairs is diverted; who is attacked comes from conntrack."""
    assert len(PAIRS) == 50_000
    rule = {
        "agent": "edge",
        "listen": ["0.0.0.0:7001"],
        "accept": "redirect",
        "destinations": ["198.51.0.0/16:1-65535"],
        "decoy": "http",
    }
    chain.rules(services=(), more=[rule])
    started(*chain.start_all())
    chain.wait_agent(7001)
    for first, divert in ((0, by_nft), (1, by_ipset)):
        divert(chain.agent)
        try:
            seen = [
                (f"198.51.{net}.{net + 1}", port)
                for net in range(first, 100, 10)
                for port in (21, 9200)
            ]
            for at, port in seen:
                own = next(_ports)
                assert chain.whom(4, own, at=at, to=port) == f"{ATTACKER[4]} {own}"
            for at, port in seen:
                chain.wait_line("gateway2", destination=f"{at}:{port}", end="closed")
        finally:
            undo(chain.agent)
    assert len([state for state, _ in chain.agent.sockets() if state == 10]) == 1


# --- Each way of diverting, in both places, of both versions --------------------------------------

NETS = {
    ("agent", "redirect"): ("198.51.100.0/24", "2001:db8:198:1::/64"),
    ("agent", "tproxy"): ("198.51.101.0/24", "2001:db8:198:2::/64"),
    ("gateway1", "redirect"): ("198.51.102.0/24", "2001:db8:198:3::/64"),
    ("gateway1", "tproxy"): ("198.51.103.0/24", "2001:db8:198:4::/64"),
}
"""What is diverted where; nobody has any of these addresses."""


def rules_of(place: str) -> str:
    """The firewall of a place: it diverts its networks to ports 7001 and 7002."""
    redirected, proxied = NETS[place, "redirect"], NETS[place, "tproxy"]
    lines = [
        "table inet divert {",
        "  chain nat { type nat hook prerouting priority dstnat;",
        f"    ip daddr {redirected[0]} meta l4proto tcp redirect to :7001",
        f"    ip6 daddr {redirected[1]} meta l4proto tcp redirect to :7001",
        "  }",
        "  chain mangle { type filter hook prerouting priority mangle;",
        f"    ip daddr {proxied[0]} meta l4proto tcp tproxy ip to :7002 meta mark set 1 accept",
        f"    ip6 daddr {proxied[1]} meta l4proto tcp tproxy ip6 to :7002 meta mark set 1 accept",
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def divert(place: Namespace) -> None:
    """Diversion as an operator sets it up, with the route that TPROXY needs."""
    script = place.directory / f"divert-{place.name}.nft"
    script.write_text(rules_of(place.name))
    place.run(["nft", "-f", script])
    for ip in (["ip"], ["ip", "-6"]):
        place.run([*ip, "rule", "add", "fwmark", "1", "lookup", "100"])
        place.run([*ip, "route", "add", "local", "default", "dev", "lo", "table", "100"])


def undivert(place: Namespace) -> None:
    """As before."""
    place.run(["nft", "delete", "table", "inet", "divert"])
    for ip in (["ip"], ["ip", "-6"]):
        place.run([*ip, "rule", "del", "fwmark", "1", "lookup", "100"])
        place.run([*ip, "route", "flush", "table", "100"])


def listening(place: str, accept: str, port: int) -> dict[str, object]:
    """The rule for one port of a place, both versions."""
    rule: dict[str, object] = {
        "listen": [f"0.0.0.0:{port}", f"[::]:{port}"],
        "accept": accept,
        "destinations": list(NETS[place, accept]),
        "decoy": "http",
    }
    return {"agent": "edge", **rule} if place == "agent" else rule


def test_redirect_and_tproxy_at_the_agent_and_at_gateway1(chain: Chain, started: Started) -> None:
    chain.lab.route(chain.attacker, "2001:db8:198::/48", interface="eth0", via="2001:db8::1")
    for nets in (NETS["gateway1", "redirect"], NETS["gateway1", "tproxy"]):
        for network, via in zip(nets, (ENTRY, ENTRY6), strict=True):
            chain.lab.route(chain.agent, network, interface="up0", via=via)
    chain.lab.route(chain.gateway1, "203.0.113.0/24", interface="agent0", via=AGENT)
    chain.lab.route(chain.gateway1, "2001:db8::/64", interface="agent0", via=AGENT6)
    rules = [
        listening(place, accept, {"redirect": 7001, "tproxy": 7002}[accept])
        for place, accept in NETS
    ]
    chain.rules(services=(), more=rules)
    decoy = {"destination": "2001:db8:198::/48", "decoy": [f"[{DECOY[6]}]:80"]}
    started(*chain.start_all(gateway2={"more_decoys": [decoy]}))
    chain.wait(chain.gateway1, 7001, 7002)
    chain.wait_agent(7001, 7002)
    places: Sequence[Namespace] = (chain.agent, chain.gateway1)
    for place in places:
        divert(place)
    try:
        for where, nets in NETS.items():
            for family, network in zip((4, 6), nets, strict=True):
                attacked = str(ip_network(network)[77])
                own = next(_ports)
                seen = chain.whom(family, own, at=attacked, to=4711)
                assert seen == f"{ATTACKER[family]} {own}", where
                line = chain.wait_line(
                    "gateway2", destination=bracketed((attacked, 4711)), end="closed"
                )
                assert line["peer"].endswith(f":{own}")
    finally:
        for place in places:
            undivert(place)


def test_gateway1_has_listeners_of_its_own_and_agents_some_elsewhere(
    chain: Chain, started: Started
) -> None:
    """A rule without agent is gateway1's; one with netns opens its socket there, by setns."""
    other = chain.lab.namespace("other")
    chain.lab.connect(
        (other, "eth0", ["10.1.0.2/24"]), (chain.attacker, "to-other", ["10.1.0.7/24"])
    )
    own = {"listen": [f"{ENTRY}:8080"], "destinations": [f"{ENTRY}:8080"]}
    there = {"agent": "edge", "listen": ["10.1.0.2:80"], "netns": other.path}
    chain.file(
        "rules.yaml",
        {
            "decoys": {"http": {"gateway2": f"172.16.23.2:{LEG_PORT}"}},
            "rules": [{**own, "decoy": "http"}, {**there, "decoy": "http"}],
        },
    )
    decoy = {"destination": "0.0.0.0/0", "decoy": [f"{DECOY[4]}:80"]}
    started(*chain.start_all(gateway2={"more_decoys": [decoy]}))
    chain.wait(chain.gateway1, 8080)
    chain.wait(other, 80)
    said = chain.agent.run(["curl", "-sS", "-m", "30", f"http://{ENTRY}:8080/whom"])
    assert said.decode().split()[0] == AGENT
    said = chain.attacker.run(["curl", "-sS", "-m", "30", "http://10.1.0.2/whom"])
    assert said.decode().split()[0] == "10.1.0.7"
