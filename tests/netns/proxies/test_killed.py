"""The chain's processes killed under load and started again: what is left, who gets through."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
from collections.abc import Callable

import pytest

from fixtures.chain import ATTACKER, ENTRY_PORT, LEG_PORT, Chain, stop
from fixtures.netns import wait_until
from tests.netns.proxies.conftest import Started

pytestmark = [
    pytest.mark.netns,
    pytest.mark.tool("nft", "iptables", "nginx", "curl"),
    pytest.mark.xdist_group("chain-killed"),
]


def elements(chain: Chain) -> int:
    """How many connections are in gateway2's maps."""
    listed = json.loads(chain.gateway2.run(["nft", "-j", "list", "table", "inet", TABLE]))
    return sum(len(one["map"].get("elem", [])) for one in listed["nftables"] if "map" in one)


def firewall_rules(chain: Chain) -> int:
    """How many connections have a rule of gateway2's."""
    programs = ("iptables", "ip6tables")
    listed = [chain.gateway2.run([program, "-w", "-t", "nat", "-S"]) for program in programs]
    return b"".join(listed).count(b"-j SNAT")


def routing_rules(chain: Chain) -> int:
    """How many routing rules there are too many or too few: one for each family's decoys."""
    listed = [
        chain.gateway2.run(["ip", version, "rule", "show", "priority", "9310"])
        for version in ("-4", "-6")
    ]
    return abs(len(b"".join(listed).splitlines()) - len(DECOYS))


TABLE = "peeltap_gateway2"
DECOYS = ("192.168.110.0/24", "2001:db8:110::/64", "192.168.110.2:80")
"""What `Chain.gateway2_file` lets gateway2 connect to."""
LEFT: dict[str, Callable[[Chain], int]] = {
    "nftables": elements,
    "iptables": firewall_rules,
    "transparent": routing_rules,
}
"""What there is for connections, which must be nothing when none is left."""


@pytest.mark.parametrize("source", LEFT)
def test_every_process_is_killed_under_load(chain: Chain, started: Started, source: str) -> None:
    """kill -9 and start again, one after the other; the load never stops."""
    left = LEFT[source]
    chain.rules()
    running = dict(
        zip(
            ("gateway2", "gateway1", "agent"),
            chain.start_all(gateway2={"source": source}),
            strict=True,
        )
    )
    again: dict[str, Callable[[], subprocess.Popen[bytes]]] = {
        "gateway2": lambda: chain.start_gateway(chain.gateway2, chain.gateway2_file(source=source)),
        "agent": lambda: chain.start_agent(chain.agent_file()),
        "gateway1": lambda: chain.start_gateway(chain.gateway1, chain.gateway1_file()),
    }
    ports = {"gateway2": LEG_PORT, "gateway1": ENTRY_PORT, "agent": 80}
    chain.wait_agent(80)
    held = {
        (family, own): chain.hold(family=family, own=own)
        for family in (4, 6)
        for own in (next(_ports), next(_ports))
    }
    wait_until(lambda: sockets(chain, LEG_PORT) == len(held), "the connections")
    load = chain.load(20_000, at_a_time=20, families=(4, 6))
    try:
        for name, start in again.items():
            before = served(chain)
            wait_until(lambda before=before: served(chain) > before, "the load")  # type: ignore[misc]
            stop(running[name], number=signal.SIGKILL)
            if name == "gateway2" and source != "transparent":
                assert left(chain) >= len(held), "what a killed process leaves"
            running[name] = start()
            chain.wait(getattr(chain, name), ports[name])
        before = served(chain)
        wait_until(lambda: served(chain) > before, "the load to go on")
    finally:
        started(*running.values())
        load.terminate()
    for connection in held.values():
        assert connection.ask("/whom") == b"", "the peer is told that it is over"
    assert chain.load_result(load)["wrong"] == 0
    assert chain.load_result(chain.load(100, families=(4, 6))) == RIGHT
    # The ports of those that were cut are nobody's any more.
    for family, own in held:
        seen = chain.whom(family, own).split()
        assert seen[0] == ATTACKER[family]
        # The killed gateway2's own socket had this port, and may be in TIME_WAIT.
        assert int(seen[1]) == own or source == "transparent"
    wait_until(lambda: left(chain) == 0, "what was for connections to go")


_ports = itertools.count(26_001)
RIGHT = {"right": 100, "wrong": 0, "failed": 0}


def served(chain: Chain) -> int:
    """How many connections gateway2 has brought to their end."""
    return (chain.directory / "gateway2.log").read_bytes().count(b'"end": "closed"')


def sockets(chain: Chain, port: int) -> int:
    """How many connections gateway2 has open at a port."""
    return chain.gateway2.sockets().count((1, port))
