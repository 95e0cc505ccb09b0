"""The conversation with gateway1, as the agent leads it: what it says, takes, and begins anew."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from diversion.agent import channel as channels
from diversion.agent.channel import Channel
from diversion.proxy.control import PREFACE
from diversion.proxy.listeners import Listener
from diversion.proxy.pump import End
from tests.diversion.running import Running, running


class Gateway1:
    """A listening socket in gateway1's place, and a channel that comes to it."""

    def __init__(self, relay: Running) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(60)
        self.rules: list[tuple[str, tuple[Listener, ...]]] = []
        self.said: list[dict[str, Any]] = []
        at = self.listening.getsockname()

        def connect() -> End:
            sock = relay.hub.socket_to(at)
            sock.connect_ex(at)
            return End(sock)

        self.channel = Channel(
            relay.loop,
            connect,
            hello=lambda: {"name": "edge"},
            rules=lambda serial, listeners: self.rules.append((serial, listeners)),
            report=lambda: {"serial": "s"},
            say=lambda level, event, **more: self.said.append({"event": event, **more}),
        )
        relay.do(self.channel.start)
        self.accept()

    def accept(self) -> None:
        """Take the next conversation, up to its hello."""
        self.sock, _ = self.listening.accept()
        self.sock.settimeout(60)
        self.file = self.sock.makefile("rb")
        assert self.file.readline() == PREFACE
        assert json.loads(self.file.readline()) == {"hello": {"name": "edge"}}

    def send(self, message: object) -> None:
        """Say something."""
        self.sock.sendall(json.dumps(message).encode() + b"\n")


@pytest.fixture
def gateway1(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway1]:
    monkeypatch.setattr(channels, "FIRST_PAUSE", 0.05)
    with running() as relay:
        made = Gateway1(relay)
        yield made
        relay.do(made.channel.stop)
        made.sock.close()
        made.listening.close()


def test_rules_are_taken_and_answered_with_a_report(gateway1: Gateway1) -> None:
    listener = Listener("web", ("192.0.2.1", 80))
    gateway1.send({"rules": {"serial": "one", "listeners": [listener.as_dict()]}})
    assert json.loads(gateway1.file.readline()) == {"report": {"serial": "s"}}
    assert gateway1.rules == [("one", (listener,))]


@pytest.mark.parametrize(
    "rules", [1, {"serial": 1, "listeners": []}, {"serial": "x"}, {"serial": "x", "listeners": [1]}]
)
def test_rules_that_are_wrong_change_nothing(gateway1: Gateway1, rules: object) -> None:
    gateway1.send({"rules": rules})
    gateway1.send({"rules": {"serial": "right", "listeners": []}})
    assert json.loads(gateway1.file.readline()) == {"report": {"serial": "s"}}
    assert gateway1.rules == [("right", ())]
    assert gateway1.said[0]["event"] == "rules refused"


def test_it_comes_again(gateway1: Gateway1) -> None:
    gateway1.sock.close()
    gateway1.file.close()
    gateway1.accept()
    assert gateway1.said == [
        {"event": "no conversation with gateway1", "why": "the other side ended it"}
    ]


def test_stopping_while_it_connects_leaves_nothing_open() -> None:
    # A full accept queue: loopback drops the SYN, as a host that is down would.
    with running() as relay, socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        made: list[End] = []

        def connect() -> End:
            sock = relay.hub.socket_to(full.getsockname())
            assert sock.connect_ex(full.getsockname()) == errno.EINPROGRESS
            made.append(End(sock))
            return made[0]

        channel = Channel(
            relay.loop,
            connect,
            hello=dict,
            rules=lambda *_: None,
            report=dict,
            say=lambda *_, **__: None,
        )
        relay.do(channel.start)
        assert made[0].sock.fileno() >= 0
        relay.do(channel.stop)
        assert made[0].sock.fileno() == -1
        for filler in fillers:
            filler.close()
