"""The chain when something changes or breaks: rules, certificates, processes, diverted peers."""

from __future__ import annotations

import datetime
import json
import resource
import socket
import subprocess
import time
from pathlib import Path

import pytest
import trustme

from fixtures.chain import ATTACKER, DECOY, ENTRY, ENTRY_PORT, Chain, stop
from fixtures.netns import LabError, wait_until
from tests.netns.proxies.conftest import RESET, Started

pytestmark = [
    pytest.mark.netns,
    pytest.mark.tool("nft", "nginx", "curl"),
    pytest.mark.xdist_group("chain-trouble"),
]

TABLE = ["nft", "-j", "list", "map", "inet", "peeltap_gateway2", "peers4"]


def elements(chain: Chain) -> int:
    """How many connections gateway2's map has."""
    listed = json.loads(chain.gateway2.run(TABLE))
    [found] = [one["map"] for one in listed["nftables"] if "map" in one]
    return len(found.get("elem", []))


# --- Rules ---------------------------------------------------------------------------------------


def test_rules_are_pushed_under_load(chain: Chain, started: Started) -> None:
    chain.rules()
    started(*chain.start_all())
    chain.wait_agent(80)
    # It lives through all of it, on a listener that goes.
    held = chain.hold()
    chain.wait_line("gateway1", event="agent here")
    wait_until(lambda: elements(chain) == 1, "the connection")
    load = chain.load(600)
    for port in range(8080, 8086):
        more = {"agent": "edge", "listen": [f"{DECOY[4]}:{port}"], "decoy": "http"}
        chain.rules(more=[more])
        chain.wait_agent(port)
    counts = chain.load_result(load)
    assert counts == {"right": 600, "wrong": 0, "failed": 0}
    # The last set alone counts: the listeners in between are gone again.
    listening = {port for state, port in chain.agent.sockets() if state == 10}
    assert listening == {80, 8085}
    # What is wrong as a whole changes nothing.
    chain.file("rules.yaml", {"decoys": {}, "rules": [{"listen": ["1.2.3.4:1"], "decoy": "no"}]})
    refused = chain.wait_line("gateway1", event="rules refused, the old ones stay")
    assert "rules.yaml:1:" in refused["why"]
    assert "'no' is not in decoys" in refused["why"]
    chain.rules(services=())
    wait_until(lambda: (10, 80) not in chain.agent.sockets(), "the listener to go")
    assert held.ask("/big") == bytes(range(256)) * 40_000


def test_a_listener_that_cannot_be_opened_is_reported(chain: Chain, started: Started) -> None:
    more = {"agent": "edge", "name": "far", "listen": ["192.0.2.99:80"], "decoy": "http"}
    lost = {**more, "name": "lost", "listen": ["192.0.2.98:80"], "netns": "/run/netns/none"}
    chain.rules(more=[more, lost])
    started(*chain.start_all())
    line = chain.wait_line("gateway1", event="agent's listeners")
    assert line["up"] == 2
    assert "192.0.2.99:80: Cannot assign requested address" in line["failed"]
    assert "192.0.2.98:80 in /run/netns/none: No such file or directory" in line["failed"]
    # It comes up by itself when its address is there.
    chain.lab.address(chain.agent, "lo", "192.0.2.99/32")
    wait_until(lambda: chain.lines("gateway1")[-1].get("up") == 3, "the report")


def test_the_agent_starts_from_the_last_good_rules(chain: Chain, started: Started) -> None:
    chain.rules()
    gateway2, gateway1, agent = chain.start_all()
    started(gateway2, gateway1, agent)
    chain.wait_agent(80)
    wait_until((chain.directory / "agent-rules.json").exists, "the rules to be kept")
    stop(agent, gateway1)
    again = chain.start_agent(chain.agent_file())
    started(again)
    chain.wait_agent(80)
    # gateway1 is down: the peer gets what a closed port would say.
    with pytest.raises(LabError, match=RESET):
        chain.whom(4, 20_001)
    started(chain.start_gateway(chain.gateway1, chain.gateway1_file()))
    chain.wait(chain.gateway1, ENTRY_PORT)
    assert chain.whom(4, 20_002) == f"{ATTACKER[4]} 20002"


# --- Many ----------------------------------------------------------------------------------------

MANY = 1_500


def test_many_connections_fit_into_each_process(chain: Chain, started: Started) -> None:
    """So many at a time, each of which has taken the peer's address; 10,000 would fit as well."""
    chain.rules()
    gateway2, gateway1, agent = chain.start_all()
    started(gateway2, gateway1, agent)
    chain.wait_agent(80)
    programs = {"agent": agent, "gateway1": gateway1, "gateway2": gateway2}
    held: list[socket.socket] = []

    def hold(count: int) -> None:
        for _ in range(count):
            held.append(socket.create_connection((DECOY[4], 80), timeout=60))
            held[-1].sendall(b"GET /whom HTTP/1.0\r\n")

    try:
        chain.attacker.call(hold, 100)
        wait_until(lambda: elements(chain) == len(held), "the connections")
        before = {name: resident(program) for name, program in programs.items()}
        chain.attacker.call(hold, MANY - len(held))
        wait_until(lambda: elements(chain) == MANY, "the connections")
        for name, program in programs.items():
            each = (resident(program) - before[name]) / (MANY - 100)
            assert before[name] + 10_000 * each < 300 << 20, name
        # Each of them still has its own way.
        for sock in held:
            sock.sendall(b"\r\n")
        for sock in held:
            said = b""
            while more := sock.recv(4096):
                said += more
            seen = f"\r\n\r\n{ATTACKER[4]} {sock.getsockname()[1]}\n"
            assert said.endswith(seen.encode())
    finally:
        for sock in held:
            sock.close()
    wait_until(lambda: elements(chain) == 0, "the elements to go")


def resident(program: subprocess.Popen[bytes]) -> int:
    """A process's resident memory in bytes."""
    pages = Path(f"/proc/{program.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def tls_refusal(chain: Chain) -> str:
    """Why gateway1 has refused somebody."""
    return str(chain.wait_line("gateway1", end="tls_refused")["why"]).replace("_", " ").lower()


# --- Certificates --------------------------------------------------------------------------------


class Papers:
    """Certificates in files, as gateway1 and an agent have them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(directory / "ca.pem")

    def issue(
        self, name: str, *, ca: trustme.CA | None = None, expired: bool = False
    ) -> dict[str, str]:
        past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        more = (
            {"not_before": past, "not_after": past + datetime.timedelta(days=1)} if expired else {}
        )
        issued = (ca or self.ca).issue_cert(f"{name}.example", common_name=name, **more)
        file = self._directory / f"{name}-{time.monotonic_ns()}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(file)
        return {"certificate": str(file), "key": str(file), "ca": str(self._directory / "ca.pem")}


def test_agents_with_certificates(chain: Chain, started: Started) -> None:
    chain.directory.joinpath("papers").mkdir()
    papers = Papers(chain.directory / "papers")
    chain.rules()
    one = papers.issue("gateway1")
    good = {**papers.issue("edge"), "name": "gateway1.example"}
    gateway2, gateway1, agent = chain.start_all(
        gateway1={"tls": one, "agents": {"edge": {}}}, agent={"tls": good}
    )
    started(gateway2, gateway1)
    chain.wait_agent(80)
    assert chain.whom(4, 24_001) == f"{ATTACKER[4]} 24001"
    got = chain.attacker.run(["curl", "-sS", "-m", "60", f"http://{DECOY[4]}/big"])
    assert got == bytes(range(256)) * 40_000
    load = chain.load_result(chain.load(100))
    assert load == {"right": 100, "wrong": 0, "failed": 0}
    stop(agent)
    bad = {
        "of another authority": papers.issue("edge", ca=trustme.CA()),
        "expired": papers.issue("edge", expired=True),
        "of a stranger": papers.issue("stranger"),
    }
    own = 24_100
    for what, tls in bad.items():
        chain.forget("gateway1")
        agent = chain.start_agent(chain.agent_file(tls={**tls, "name": "gateway1.example"}))
        chain.wait_agent(80)  # from the rules that it has kept
        own += 1
        with pytest.raises(LabError, match=RESET):
            chain.whom(4, own)
        end = "untrusted" if what == "of a stranger" else "tls_refused"
        assert chain.wait_line("gateway1", end=end)["why"], what
        stop(agent)
    # Whoever has no certificate at all.
    chain.forget("gateway1")
    curl = ["curl", "-sk", "-m", "5", f"https://{ENTRY}:{ENTRY_PORT}/"]
    chain.agent.run(curl, ok=range(1, 100))
    assert "did not return a certificate" in tls_refusal(chain)
    # And an agent that speaks no TLS at all, or expects another gateway1.
    chain.forget("gateway1")
    agent = chain.start_agent(chain.agent_file())
    chain.wait_agent(80)
    with pytest.raises(LabError, match=RESET):
        chain.whom(4, 24_200)
    chain.wait_line("gateway1", end="tls_refused")
    stop(agent)
    chain.forget("agent")
    agent = chain.start_agent(chain.agent_file(tls={**good, "name": "other.example"}))
    chain.wait_agent(80)
    with pytest.raises(LabError, match=RESET):
        chain.whom(4, 24_300)
    assert "mismatch" in chain.wait_line("agent", end="tls_refused")["why"]
    stop(agent)
    # gateway1's own certificate is no better than an agent's.
    agent = chain.start_agent(chain.agent_file(tls=good))
    started(agent)
    for own, why, tls in (
        (24_400, "unable to get local issuer", papers.issue("gateway1", ca=trustme.CA())),
        (24_401, "expired", papers.issue("gateway1", expired=True)),
    ):
        stop(gateway1)
        file = chain.gateway1_file(tls=tls, agents={"edge": {}})
        gateway1 = chain.start_gateway(chain.gateway1, file)
        started(gateway1)
        chain.wait(chain.gateway1, ENTRY_PORT)
        chain.wait_agent(80)
        chain.forget("agent")
        with pytest.raises(LabError, match=RESET):
            chain.whom(4, own)
        assert why in chain.wait_line("agent", end="tls_refused")["why"]
