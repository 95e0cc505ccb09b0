"""gateway1's conversations with agents: rules go at hello and on change, reports are kept."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from diversion.gateway import agents as module
from diversion.gateway.agents import Agents, Report, read_report
from diversion.gateway.rules import Rules, RuleSet
from diversion.proxy.pump import End
from tests.diversion.running import Running, running


def rules(*ports: int) -> RuleSet:
    listen = [f"192.0.2.1:{port}" for port in ports]
    rule = {"agent": "edge", "listen": listen, "destinations": ["192.0.2.1"], "decoy": "a"}
    decoys = {"a": {"gateway2": "172.16.23.2:9000"}}
    return RuleSet(Rules.model_validate({"decoys": decoys, "rules": [rule]}))


class Gateway1:
    """What is left of a gateway1 without its listeners."""

    def __init__(self, relay: Running) -> None:
        self.relay = relay
        self.rules = rules(80)
        self.agents = Agents(relay.hub, lambda: self.rules)

    def join(self, name: str) -> socket.socket:
        """An agent's end of a new conversation."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(60)
        self.relay.do(lambda: self.agents.join(name, End(ours), b'{"hello": {}}\n'))
        return theirs


@pytest.fixture
def gateway1() -> Iterator[Gateway1]:
    with running() as relay:
        made = Gateway1(relay)
        yield made
        relay.do(made.agents.stop)


def listens(line: bytes) -> list[str]:
    return [one["listen"] for one in json.loads(line)["rules"]["listeners"]]


def test_rules_at_hello_and_when_they_change(gateway1: Gateway1) -> None:
    with gateway1.join("edge") as edge, gateway1.join("other") as other:
        file = edge.makefile("rb")
        assert listens(file.readline()) == ["192.0.2.1:80"]
        assert listens(other.makefile("rb").readline()) == []
        gateway1.rules = rules(80, 81)
        gateway1.relay.do(gateway1.agents.push)
        assert listens(file.readline()) == ["192.0.2.1:80", "192.0.2.1:81"]
        assert gateway1.agents.present() == {"edge", "other"}
        file.close()
    gateway1.relay.line(event="agent gone", agent="edge")
    gateway1.relay.line(event="agent gone", agent="other")
    assert gateway1.agents.present() == set()


def test_failed_listeners_are_told_once(gateway1: Gateway1) -> None:
    with gateway1.join("edge") as edge:
        report = {"listeners": [{"up": True}, {"up": False, "error": "taken"}, 7]}
        for _ in range(3):
            edge.sendall(json.dumps({"report": report}).encode() + b"\n")
        line = gateway1.relay.line(event="agent's listeners")
        assert (line["up"], line["failed"], line["level"]) == (1, ["taken"], "warning")
        edge.sendall(b'{"report": {"listeners": "odd"}}\n')
        gateway1.relay.line(event="agent's listeners", level="info")
        told = [one for one in gateway1.relay.lines() if one.get("event") == "agent's listeners"]
        assert len(told) == 2
        assert gateway1.agents.reports["edge"] == Report()


def test_conversations_are_bounded(gateway1: Gateway1, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TALKS", 1)
    with gateway1.join("edge") as edge, gateway1.join("edge") as one_more:
        assert edge.recv(10) != b""
        assert one_more.recv(10) == b""
        gateway1.relay.line(event="too many conversations with agents")


def test_a_new_conversation_ends_the_oldest_of_the_same_agent(gateway1: Gateway1) -> None:
    edges = [gateway1.join("edge") for _ in range(module.MAX_OF_ONE + 1)]
    gateway1.relay.line(event="agent gone", why="begun anew")
    assert edges[0].makefile("rb").read().count(b"\n") == 1, "the rules, and then the end"
    assert edges[-1].recv(10) != b""
    for edge in edges:
        edge.close()


def test_of_many_reports_at_once_the_last_counts(gateway1: Gateway1) -> None:
    """An agent that says another thing each time must not fill the log."""
    with gateway1.join("edge") as edge:
        reports = [{"report": {"listeners": [{"error": str(at)}]}} for at in range(100)]
        edge.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in reports))
        gateway1.relay.line(event="agent's listeners", failed=["99"])
        told = [one for one in gateway1.relay.lines() if one.get("event") == "agent's listeners"]
        # All of them lie in the socket before the first look, and may be read in two turns.
        assert len(told) <= 2


def test_only_the_first_hello_is_answered(gateway1: Gateway1) -> None:
    with gateway1.join("edge") as edge:
        edge.sendall(b'{"hello": {}}\n' * 5 + b'{"report": {}}\n')
        edge.shutdown(socket.SHUT_WR)
        assert edge.makefile("rb").read().count(b'"rules"') == 1


@pytest.mark.parametrize(
    ("said", "report"),
    [
        ({}, Report()),
        ({"listeners": 1, "counters": []}, Report()),
        ({"listeners": [1, {"up": "yes"}], "counters": {"accepted": "many"}}, Report(0, 2, ("",))),
        ({"counters": {"accepted": -1}}, Report()),
        ({"counters": {"accepted": 1 << 80}}, Report()),
        (
            {"listeners": [{"up": True}, {"error": "taken"}], "counters": {"accepted": 9}},
            Report(1, 1, ("taken",), 9),
        ),
        ({"listeners": [{"error": ["x"] * 9}]}, Report(0, 1, ("",))),
        ({"listeners": [{"error": "x" * 500}] * 30}, Report(0, 30, ("x" * 200,) * 20)),
    ],
)
def test_an_agent_may_say_anything(said: dict[str, Any], report: Report) -> None:
    assert read_report(said) == report
