"""gateway1 on loopback: whose headers count, where they lead, what goes onward."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from diversion.gateway.gateway1 import Gateway1
from diversion.gateway.rules import Rules, RuleSet
from diversion.gateway.settings import GatewaySettings
from diversion.proxy.addresses import Ends, show_ends
from diversion.proxy.control import PREFACE
from diversion.proxy.headers import emit_v1, emit_v2
from diversion.proxy.tls import client_context
from tests.diversion.running import Running, assert_reset, read_exactly, running, server

PEER: Ends = ("203.0.113.7", 46421)
ATTACKED: Ends = ("198.51.100.7", 80)


def free_port() -> Ends:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return "127.0.0.1", found.getsockname()[1]


class Place:
    """A gateway1, where it listens, and a socket in gateway2's place."""

    def __init__(self, relay: Running, listening: socket.socket, trusted: str, **more: Any) -> None:
        self.relay = relay
        self.gateway2 = listening
        self.at, self.own = free_port(), free_port()
        agents: dict[str, Any] = {"edge": {"from": [trusted], "headers": ["proxy-v2", "proxy-v1"]}}
        one = {
            "listen": [{"address": show_ends(self.at), "tls": more.get("tls")}],
            "agents": more.get("agents", agents),
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
        made = socket.create_connection(self.at, timeout=60)
        made.sendall(data)
        return made

    def arrived(self, count: int) -> bytes:
        """What gateway2 gets first."""
        sock, _ = self.gateway2.accept()
        with sock:
            sock.settimeout(60)
            return read_exactly(sock, count)


@contextmanager
def place(trusted: str = "127.0.0.1", **more: Any) -> Iterator[Place]:
    with running(**more.get("limits", {})) as relay, server() as (listening, _):
        made = Place(relay, listening, trusted, **more)
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
    with place() as here, socket.create_connection(here.own, timeout=60) as peer:
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
        decoy.settimeout(60)
        none = RuleSet(Rules.model_validate({"decoys": {}, "rules": []}))
        here.relay.do(lambda: here.gateway1.change(none))
        first.sendall(b"still")
        wanted = len(emit_v1(PEER, ATTACKED)) + 5
        assert read_exactly(decoy, wanted)[-5:] == b"still"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(here.own, timeout=60)
        with here.say(emit_v2(PEER, ATTACKED)):
            here.relay.line(end="no_rule")
        decoy.close()


class Papers:
    """Certificates of one authority: gateway1's, and those of who connects."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(directory / "ca.pem")

    def issue(self, name: str) -> dict[str, str]:
        """Files with the certificate and key of a name."""
        path = self._directory / f"{name}.pem"
        issued = self._ca.issue_cert(f"{name}.example", common_name=name)
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        return {
            "certificate": str(path),
            "key": str(path),
            "ca": str(self._directory / "ca.pem"),
        }


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.mark.parametrize(
    ("name", "emit", "how"),
    [
        ("edge", emit_v2, None),
        ("edge", emit_v1, "header_malformed"),
        ("other", emit_v1, None),
        ("other", emit_v2, "header_malformed"),
        ("stranger", emit_v2, "untrusted"),
    ],
)
def test_over_tls_each_agent_has_the_headers_of_its_own(
    papers: Papers, name: str, emit: Any, how: str | None
) -> None:
    agents = {"edge": {"headers": ["proxy-v2"]}, "other": {"headers": ["proxy-v1"]}}
    context = client_context(**papers.issue(name))
    with (
        place(tls=papers.issue("gateway1"), agents=agents) as here,
        socket.create_connection(here.at, timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="gateway1.example") as sock,
    ):
        sock.sendall(emit(PEER, ATTACKED) + b"payload")
        if how is not None:
            here.relay.line(end=how)
        elif name == "edge":
            onward = emit_v1(PEER, ATTACKED) + b"payload"
            assert here.arrived(len(onward)) == onward
        else:
            # Its header is read, and no rule is for it.
            assert here.relay.line(end="no_rule")["agent"] == "other"


@pytest.mark.parametrize(
    ("agents", "handshake"),
    [
        ({"edge": {"from": ["192.0.2.1"]}}, False),
        ({"edge": {"from": ["192.0.2.1"]}, "other": {}}, True),
        ({"edge": {"from": ["192.0.2.1", "127.0.0.1"]}}, True),
    ],
)
def test_a_stranger_has_no_handshake_where_each_agent_has_addresses(
    papers: Papers, agents: dict[str, Any], handshake: bool
) -> None:
    context = client_context(**papers.issue("edge"))
    with place(tls=papers.issue("gateway1"), agents=agents) as here:
        if not handshake:
            assert_reset(here.at)
            assert "why" not in here.relay.line(end="untrusted")
            return
        with (
            socket.create_connection(here.at, timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="gateway1.example") as sock,
        ):
            assert sock.version() is not None


def test_handshakes_of_one_address_are_bounded(papers: Papers) -> None:
    """Before a name is known an address is all there is to count."""
    with place(tls=papers.issue("gateway1"), agents={"edge": {}}, limits={"unheaded": 3}) as here:
        silent = [socket.create_connection(here.at, timeout=60) for _ in range(3)]
        assert_reset(here.at)
        here.relay.do(lambda: None)  # it counts after it has closed
        assert here.relay.hub.counters.ends["limit_source"] == 1
        for sock in silent:
            sock.close()
