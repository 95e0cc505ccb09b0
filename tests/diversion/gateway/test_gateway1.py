"""gateway1 on loopback: whose headers count, where they lead, what goes onward."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from diversion.gateway.gateway1 import Gateway1
from diversion.gateway.rules import Rules, RuleSet
from diversion.gateway.settings import GatewaySettings
from diversion.proxy.addresses import Ends, show_ends
from diversion.proxy.control import PREFACE
from diversion.proxy.headers import emit_v1, emit_v2
from tests.diversion.running import Running, assert_reset, read_exactly, running, server

PEER: Ends = ("203.0.113.7", 46421)
ATTACKED: Ends = ("198.51.100.7", 80)


def free_port() -> Ends:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return "127.0.0.1", found.getsockname()[1]


class Place:
    """A gateway1, where it listens, and a socket in gateway2's place."""

    def __init__(self, relay: Running, listening: socket.socket, trusted: str) -> None:
        self.relay = relay
        self.gateway2 = listening
        self.at, self.own = free_port(), free_port()
        one = {
            "listen": [{"address": show_ends(self.at)}],
            "agents": {"edge": {"from": [trusted], "headers": ["proxy-v2", "proxy-v1"]}},
            "rules": "unused",
            "codec": "proxy-v1",
        }
        settings = GatewaySettings.model_validate({"gateway1": one})
        to = show_ends(listening.getsockname())
        rules = {
            "decoys": {"web": {"gateway2": to}, "v2": {"gateway2": to, "codec": "proxy-v2"}},
            "rules": [
                {"agent": "edge", "listen": [show_ends(ATTACKED)], "decoy": "web"},
                {"agent": "edge", "destinations": ["198.51.100.8"], "decoy": "v2"},
                {"listen": [show_ends(self.own)], "decoy": "web"},
            ],
        }
        self.gateway1 = Gateway1(settings, relay.hub, RuleSet(Rules.model_validate(rules)))
        relay.do(self.gateway1.start)

    def say(self, data: bytes) -> socket.socket:
        """A connection of an agent that begins with `data`."""
        made = socket.create_connection(self.at, timeout=10)
        made.sendall(data)
        return made

    def arrived(self, count: int) -> bytes:
        """What gateway2 gets first."""
        sock, _ = self.gateway2.accept()
        with sock:
            sock.settimeout(10)
            return read_exactly(sock, count)


@contextmanager
def place(trusted: str = "127.0.0.1") -> Iterator[Place]:
    with running() as relay, server() as (listening, _):
        made = Place(relay, listening, trusted)
        yield made
        relay.do(made.gateway1.stop)


@pytest.mark.parametrize("emit", [emit_v1, emit_v2])
def test_a_header_is_taken_and_another_goes_onward(emit: Any) -> None:
    onward = emit_v1(PEER, ATTACKED) + b"payload"
    with place() as here:
        with here.say(emit(PEER, ATTACKED) + b"payload"):
            assert here.arrived(len(onward)) == onward
        line = here.relay.line(agent="edge")
        assert (line["peer"], line["destination"]) == ("203.0.113.7:46421", "198.51.100.7:80")


def test_each_decoy_has_its_codec() -> None:
    destination = ("198.51.100.8", 4711)
    onward = emit_v2(PEER, destination)
    with place() as here, here.say(emit_v1(PEER, destination)):
        assert here.arrived(len(onward)) == onward


def test_what_looks_like_another_header_is_payload() -> None:
    onward = emit_v1(PEER, ATTACKED) + emit_v1(("10.9.9.9", 1), ATTACKED)
    with place() as here, here.say(emit_v2(PEER, ATTACKED) + emit_v1(("10.9.9.9", 1), ATTACKED)):
        assert here.arrived(len(onward)) == onward


@pytest.mark.parametrize(
    ("said", "how"),
    [
        (emit_v2(PEER, ("192.0.2.99", 80)), "no_rule"),
        (b"GET / HTTP/1.0\r\n\r\n", "header_malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0", "local"),
    ],
)
def test_what_goes_nowhere(said: bytes, how: str) -> None:
    with place() as here, here.say(said):
        here.relay.line(end=how)


def test_a_stranger_is_refused_before_he_has_said_anything() -> None:
    with place(trusted="192.0.2.1") as here:
        assert_reset(here.at)
        here.relay.line(end="untrusted")


def test_own_connections_have_the_rules_of_nobody() -> None:
    with place() as here, socket.create_connection(here.own, timeout=10) as peer:
        onward = emit_v1(peer.getsockname(), here.own)
        assert here.arrived(len(onward)) == onward


@pytest.mark.parametrize("pieces", [1, 5, 100])
def test_a_conversation_is_told_from_a_header(pieces: int) -> None:
    with place() as here, here.say(b"") as agent:
        agent.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = PREFACE + b'{"hello":{}}\n'
        for start in range(0, len(said), pieces):
            agent.sendall(said[start : start + pieces])
        assert b'"listen":"198.51.100.7:80"' in agent.recv(10_000)
        assert here.gateway1.agents.present() == {"edge"}
        assert here.relay.hub.counters.open == 0


def test_rules_change_under_live_connections() -> None:
    with place() as here, here.say(emit_v2(PEER, ATTACKED)) as first:
        decoy, _ = here.gateway2.accept()
        decoy.settimeout(10)
        none = RuleSet(Rules.model_validate({"decoys": {}, "rules": []}))
        here.relay.do(lambda: here.gateway1.change(none))
        first.sendall(b"still")
        wanted = len(emit_v1(PEER, ATTACKED)) + 5
        assert read_exactly(decoy, wanted)[-5:] == b"still"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(here.own, timeout=10)
        with here.say(emit_v2(PEER, ATTACKED)):
            here.relay.line(end="no_rule")
        decoy.close()
