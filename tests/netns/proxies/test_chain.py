"""Agent, gateway1 and gateway2 in namespaces, with real decoys: whom a decoy sees, and who is told.

Each kind of header, each way of taking the peer's address, both IP versions; HAProxy in each place,
with the configuration that we print for it.
"""

from __future__ import annotations

import itertools
import re

import pytest

from diversion.proxy.addresses import show_ends
from fixtures.chain import (
    ATTACKER,
    CODECS,
    DECOY,
    ENTRY_PORT,
    GATEWAY1,
    GATEWAY2,
    LEG_PORT,
    Chain,
)
from fixtures.netns import LabError, wait_until
from tests.netns.proxies.conftest import RESET, Started

pytestmark = [
    pytest.mark.netns,
    pytest.mark.tool("nft", "iptables", "haproxy", "nginx", "curl", "sshd"),
    pytest.mark.xdist_group("chain"),
]

LEGS = [(codec, leg) for codec in ("proxy-v2", "proxy-v1", "magic", "line") for leg in (4, 6)]
"""Codecs, and IP versions of the way across br1."""
_ports = itertools.count(21_000)


@pytest.mark.parametrize(
    ("source", "agent_codec"),
    [
        ("nftables", "proxy-v2"),
        ("transparent", "proxy-v1"),
        ("iptables", "magic"),
        ("nftables", "line"),
    ],
)
def test_a_decoy_sees_the_peer(
    chain: Chain, started: Started, source: str, agent_codec: str
) -> None:
    """Eight legs, two of each codec, behind eight ports of the decoy's addresses."""
    ends = {
        (codec, leg): show_ends((GATEWAY2[leg], LEG_PORT + at))
        for at, (codec, leg) in enumerate(LEGS)
    }
    ports = {one: 81 + at for at, one in enumerate(LEGS)}
    legs = [
        {
            "address": address,
            "headers": [codec],
            "decoy": [f"{DECOY[4]}:80", f"[{DECOY[6]}]:80"],
        }
        for (codec, _), address in ends.items()
    ]
    two = {"listen": legs, "trusted": list(GATEWAY1.values()), "source": source}
    chain.file(
        "rules.yaml",
        {
            "decoys": {
                f"{codec}-{leg}": {"gateway2": address, "codec": codec}
                for (codec, leg), address in ends.items()
            },
            "rules": [
                {
                    "agent": "edge",
                    "listen": [f"{DECOY[4]}:{port}", f"[{DECOY[6]}]:{port}"],
                    "decoy": f"{codec}-{leg}",
                }
                for (codec, leg), port in ports.items()
            ],
        },
    )
    started(
        chain.start_gateway(
            chain.gateway2, chain.file("gateway2.yaml", {"gateway2": two, "codecs": CODECS})
        ),
        chain.start_gateway(chain.gateway1, chain.gateway1_file(agent_codec=agent_codec)),
        chain.start_agent(chain.agent_file(codec=agent_codec)),
    )
    chain.wait(chain.gateway2, *range(LEG_PORT, LEG_PORT + len(LEGS)))
    chain.wait_agent(*ports.values())
    for family in (4, 6):
        for one, port in ports.items():
            own = next(_ports)
            assert chain.whom(family, own, to=port) == f"{ATTACKER[family]} {own}", one


@pytest.mark.parametrize(("source", "leg"), [("nftables", 4), ("iptables", 6), ("transparent", 6)])
def test_ssh_and_mail_see_the_peer(chain: Chain, started: Started, source: str, leg: int) -> None:
    """What their logs say of it."""
    chain.serve_ssh()
    chain.serve_smtp()
    chain.rules(services=("ssh", "smtp"), leg=leg)
    started(*chain.start_all(gateway2={"source": source, "leg": leg}))
    chain.wait_agent(22, 25)
    for family in (4, 6):
        peer, decoy = ATTACKER[family], DECOY[family]
        ssh = ["ssh", "-b", peer, "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"]
        ssh += ["-o", "UserKnownHostsFile=/dev/null", f"root@{decoy}", "true"]
        chain.forget("sshd")
        chain.attacker.run(ssh, ok=(255,))
        seen = re.compile(rf"Connection closed by .*{re.escape(peer)} port \d+")
        wait_until(lambda seen=seen: bool(seen.search(log(chain, "sshd"))), f"sshd to see {peer}")  # type: ignore[misc]
        own = next(_ports)
        nc = ["nc", "-N", "-s", peer, "-p", str(own), "-w", "60", decoy, "25"]
        said = chain.attacker.run(nc, stdin=b"EHLO me\r\nQUIT\r\n")
        assert said.startswith(b"220")
        wait_until(
            lambda peer=peer, own=own: f"peer {peer} {own}" in log(chain, "smtpd"),  # type: ignore[misc]
            f"the mail server to see {peer}",
        )


@pytest.mark.parametrize("codec", ["proxy-v2", "proxy-v1"])
@pytest.mark.parametrize("place", ["agent", "gateway1", "gateway2"])
def test_haproxy_in_each_place(chain: Chain, started: Started, place: str, codec: str) -> None:
    listeners = [
        {"name": f"web{family}", "listen": listen}
        for family, listen in ((4, f"{DECOY[4]}:80"), (6, f"[{DECOY[6]}]:80"))
    ]
    chain.rules()
    agent = chain.agent_file(codec=codec, rules=False, listeners=listeners)
    one = chain.gateway1_file(agent_codec=codec, codec=codec)
    two = chain.gateway2_file(codec=codec, source="transparent")
    if place == "gateway2":
        chain.return_route()
        started(chain.start_haproxy(chain.gateway2, "gateway", two))
    else:
        started(chain.start_gateway(chain.gateway2, two))
    if place == "gateway1":
        started(chain.start_haproxy(chain.gateway1, "gateway", one))
    else:
        started(chain.start_gateway(chain.gateway1, one))
    if place == "agent":
        started(chain.start_haproxy(chain.agent, "agent", agent))
    else:
        started(chain.start_agent(agent))
    chain.wait(chain.gateway2, LEG_PORT)
    chain.wait(chain.gateway1, ENTRY_PORT)
    chain.wait_agent(80)
    try:
        for family in (4, 6):
            own = next(_ports)
            assert chain.whom(family, own) == f"{ATTACKER[family]} {own}"
    finally:
        if place == "gateway2":
            chain.no_return_route()


def test_a_header_of_the_peers_own_is_payload(chain: Chain, started: Started) -> None:
    chain.serve_smtp()
    chain.rules(services=("smtp",))
    started(*chain.start_all())
    chain.wait_agent(25)
    own = next(_ports)
    forged = b"PROXY TCP4 10.9.9.9 192.168.110.2 1 25\r\nEHLO me\r\nQUIT\r\n"
    nc = ["nc", "-N", "-s", ATTACKER[4], "-p", str(own), "-w", "60", DECOY[4], "25"]
    said = chain.attacker.run(nc, stdin=forged)
    assert b'500 Error: command "PROXY" not recognized' in said
    wait_until(lambda: f"peer {ATTACKER[4]} {own}" in log(chain, "smtpd"), "the mail server")
    line = chain.wait_line("gateway2", end="closed", peer=f"{ATTACKER[4]}:{own}")
    assert line["bytes_to_decoy"] == len(forged)


def test_who_is_not_trusted_is_refused(chain: Chain, started: Started) -> None:
    chain.rules()
    started(*chain.start_all())
    forged = b"PROXY TCP4 10.9.9.9 192.168.110.2 1 80\r\nGET /whom HTTP/1.0\r\n\r\n"
    # The host on br1 is no gateway1, and not every address of the agent's network an agent.
    chain.lab.address(chain.host, "br1", "172.16.23.9/24")
    nc = ["nc", "-N", "-w", "3", GATEWAY2[4], str(LEG_PORT)]
    assert chain.host.run(nc, stdin=forged, ok=(0, 1)) == b""
    line = chain.wait_line("gateway2", end="untrusted")
    assert line["peer"].startswith("172.16.23.9:")
    chain.lab.address(chain.agent, "up0", "172.16.24.66/24")
    nc = ["nc", "-N", "-w", "3", "-s", "172.16.24.66", "172.16.24.1", str(ENTRY_PORT)]
    assert chain.agent.run(nc, stdin=forged, ok=(0, 1)) == b""
    assert chain.wait_line("gateway1", end="untrusted")["peer"].startswith("172.16.24.66:")


def test_a_dead_decoy_is_a_closed_port(chain: Chain, started: Started) -> None:
    rules = {"agent": "edge", "listen": [f"{DECOY[4]}:99"], "decoy": "http"}
    chain.rules(more=[rules])
    started(*chain.start_all())
    chain.wait_agent(99)
    with pytest.raises(LabError, match=RESET):
        chain.whom(4, next(_ports), to=99)
    for name in ("gateway2", "gateway1", "agent"):
        chain.wait_line(name, destination=f"{DECOY[4]}:99")
    assert chain.wait_line("gateway2", destination=f"{DECOY[4]}:99")["end"] == "refused"
    assert chain.wait_line("agent", destination=f"{DECOY[4]}:99")["end"] == "reset_by_decoy"


def test_many_megabytes_arrive_as_they_were(chain: Chain, started: Started) -> None:
    chain.rules()
    started(*chain.start_all())
    chain.wait_agent(80)
    got = chain.attacker.run(["curl", "-sS", "-m", "60", f"http://{DECOY[4]}/big"])
    assert got == bytes(range(256)) * 40_000
    line = chain.wait_line("gateway2", end="closed")
    assert line["bytes_to_peer"] > len(got)


def test_the_peer_comes_again_from_the_same_port(chain: Chain, started: Started) -> None:
    """What the last connection left in conntrack or TIME_WAIT is not in the way."""
    chain.rules()
    started(*chain.start_all())
    chain.wait_agent(80)
    own = next(_ports)
    # The client that closes first keeps TIME_WAIT; this one is closed by its server.
    ask = ["nc", "-s", ATTACKER[4], "-p", str(own), "-w", "60", DECOY[4], "80"]
    for _ in range(3):
        said = chain.attacker.run(ask, stdin=b"GET /whom HTTP/1.0\r\n\r\n")
        seen, port = said.split()[-2:]
        assert seen.decode() == ATTACKER[4]
        assert port.isdigit()


def log(chain: Chain, name: str) -> str:
    return (chain.directory / f"{name}.log").read_text()
